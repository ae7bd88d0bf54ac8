"""Which job a run for an object works on: the one that was begun for these bytes and options, or a new one.

A version of an object's transcript is a job of the backfill lane. Two runs that open an object at once get the same
job, for `latest_job_id` is changed by compare-and-set before a job of that id is inserted; which of the runs has it is
decided by the claim. Where a run dies between the two writes, the next one inserts the job of that id.
"""

from __future__ import annotations

from stt_core.audio.formats import guess_format
from stt_core.backfill.objects import BucketObject, BucketObjects, ObjectUpdate
from stt_core.backfill.partitions import split_partition_key
from stt_core.errors import DatabaseUnavailableError, ObjectNotFoundError, PartitionNotFoundError
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs.job import JobModel, JobStatus, Lane, Priority, Source, new_job_id
from stt_core.jobs.recovery import cancel_job
from stt_core.logs import get_logger
from stt_core.options import JobOptions
from stt_core.processing.planning import is_short_size
from stt_core.services import Services
from stt_core.sources import BackfillSource, find_source
from stt_core.stores.documents import utc_now
from stt_core.stores.object_store import StoredObject
from stt_core.stores.writes import until_won

logger = get_logger(__name__)


def open_object(
    services: Services, partition: str, run_id: str, *, model: str | None = None, job_id: str | None = None
) -> JobModel:
    """Return the job that transcribes an object as it is now, for a run to claim.

    A job of these bytes and options that has not completed is taken again. One that waits for bytes that are gone is
    cancelled.

    Args:
        services: The core.
        partition: The object.
        run_id: The run; the job that it has already is its own.
        model: What to transcribe with; None follows the object's source.
        job_id: The job that the run was launched for, if it was for one.

    Raises:
        PartitionNotFoundError: No source has this object.
        ObjectNotFoundError: It is not in its bucket.
        TransientError: A server is away.
    """
    bucket, key = split_partition_key(partition)
    source = _source_of(services, partition)
    try:
        there = services.store.in_bucket(bucket).version(key)
    except ObjectNotFoundError as error:
        raise ObjectNotFoundError(
            f"{partition} is not in its bucket any more.", mend="Its partition goes when the discovery sensor comes by."
        ) from error
    return _open(services, partition, run_id, source, there, model=model, job_id=job_id)


def open_known_object(services: Services, partition: str, run_id: str, *, model: str | None = None) -> JobModel:
    """Do as `open_object` with the object as it was seen last, for a run that died before it could: nobody is asked.

    Whoever has the job then finds out whether the object is still that.

    Raises:
        PartitionNotFoundError: No source has this object, or it was never seen.
    """
    source, item = _source_of(services, partition), BucketObjects.of(services).get(partition)
    seen = StoredObject(item.key, item.size_bytes, item.last_modified, item.etag)
    return _open(services, partition, run_id, source, seen, model=model)


def is_short_object(services: Services, partition: str) -> bool:
    """Guess from its size whether an object lasts at most `IN_PROCESS_MAX_SECONDS`; one that is not known counts so.

    So does every one while MongoDB is away: a run is not to end over that before its steps, which try again.
    """
    try:
        item = BucketObjects.of(services).get(partition)
    except (PartitionNotFoundError, DatabaseUnavailableError) as error:
        logger.info("{}", error)
        return True
    audio_format = guess_format(item.key)
    return is_short_size(item.size_bytes, audio_format.name if audio_format else None, services.settings)


def _source_of(services: Services, partition: str) -> BackfillSource:
    bucket, key = split_partition_key(partition)
    source = find_source(services.settings.backfill_sources, bucket, key)
    if source is None:
        raise PartitionNotFoundError(
            f"{partition} belongs to no source.", mend="Add its bucket and prefix to BACKFILL_SOURCES, and start again."
        )
    return source


def _open(
    services: Services,
    partition: str,
    run_id: str,
    source: BackfillSource,
    there: StoredObject,
    *,
    model: str | None,
    job_id: str | None = None,
) -> JobModel:
    settings = services.settings
    options = source.job_options(
        default_language=settings.whisper_language, default_model=settings.whisper_model, model=model
    )

    def race() -> JobModel:
        item = _known(services, partition, source, there)
        promised = item.latest_job_id
        # Asked before the jobs are read: one that another run inserts in between is among them, and no second is made.
        if promised and services.jobs.get_endings([promised]):
            promised = None
        jobs = services.jobs.find_versions([partition])
        for job in jobs:
            if job.status is JobStatus.QUEUED and _etag(job) != there.etag:
                logger.warning("job {} is cancelled: {} was changed", job.job_id, partition)
                cancel_job(services.jobs, job.job_id)
        fitting = [job for job in jobs if _etag(job) == there.etag]
        for job in fitting:
            if job.job_id == job_id or (job.run_id == run_id and job.status is JobStatus.PROCESSING):
                return job
        latest = next((job for job in fitting if job.options == options), None)
        if latest is not None and latest.status not in (JobStatus.COMPLETED, JobStatus.CANCELLED):
            return latest
        return _create(services, item, there, options, promised)

    return until_won(race)


def _known(services: Services, partition: str, source: BackfillSource, there: StoredObject) -> BucketObject:
    """Return what is known of an object, which discovery need not have met yet."""
    try:
        return BucketObjects.of(services).get(partition)
    except PartitionNotFoundError as error:
        logger.info("{}", error)
    _, key = split_partition_key(partition)
    BucketObjects.of(services).add_many([BucketObject.found(partition, key, source, there)])
    return BucketObjects.of(services).get(partition)


def _create(
    services: Services, item: BucketObject, there: StoredObject, options: JobOptions, promised: str | None
) -> JobModel:
    """Create the object's next job: the one that was promised and is not there yet, or another.

    Raises:
        ConflictError: Another run does so in this moment.
    """
    job_id = promised or new_job_id()
    if promised is None:
        update = ObjectUpdate(
            latest_job_id=job_id, etag=there.etag, size_bytes=there.size_bytes, last_modified=there.modified_at
        )
        BucketObjects.of(services).update(item, update)
        failpoint(Failpoint.JOB_PROMISED)
    audio_format = guess_format(item.key)
    job = services.jobs.insert_job(
        JobModel(
            job_id=job_id,
            status=JobStatus.QUEUED,
            lane=Lane.BACKFILL,
            partition=item.partition,
            priority=Priority.LOW,
            filename=item.key.rpartition("/")[2],
            options=options,
            source=Source(
                filename=item.key.rpartition("/")[2],
                bucket=item.bucket,
                key=item.key,
                etag=there.etag,
                format=audio_format.name if audio_format else "unknown",
                content_type=audio_format.content_type if audio_format else "application/octet-stream",
                size_bytes=there.size_bytes,
            ),
            attempt=1,
            queued_at=utc_now(),
        )
    )
    failpoint(Failpoint.JOB_OPENED)
    return job


def _etag(job: JobModel) -> str | None:
    return job.source.etag if job.source else None
