"""From a completed job to its object: whether its transcript is the current version, and the files beside the bucket.

A version becomes current where there is none, where the current one is of other bytes than the object's, or of the same
model and older. Any other waits until somebody promotes it. All of it can be repeated, by whoever finds it half done.
"""

from __future__ import annotations

from stt_core import object_keys
from stt_core.backfill.objects import BucketObject, BucketObjects, ObjectUpdate
from stt_core.backfill.partitions import split_partition_key
from stt_core.errors import PartitionNotFoundError
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs.job import JobModel
from stt_core.logs import get_logger
from stt_core.services import Services
from stt_core.sources import BackfillSource, find_source

logger = get_logger(__name__)


def release_transcript(services: Services, job: JobModel) -> bool:
    """Make a completed job's transcript its object's, if that is its due, and export it; return whether it is current.

    Raises:
        TransientError: A server is away; the reconciler tries again.
    """
    try:
        if make_current(services, job).current_job_id != job.job_id:
            return False
        return export_current(services, job).job_id == job.job_id
    except PartitionNotFoundError as gone:
        logger.warning("the transcript of job {} has no object any more: {}", job.job_id, gone)
        return False


def make_current(services: Services, job: JobModel) -> BucketObject:
    """Make a completed job the current version of its object, unless that has a better claim; return the object."""
    etag = job.source.etag if job.source else None

    def change(item: BucketObject) -> ObjectUpdate | None:
        if not _succeeds(services, item, job, etag):
            return None
        return ObjectUpdate(current_job_id=job.job_id, current_etag=etag)

    item = BucketObjects.of(services).change(job.partition or "", change)
    failpoint(Failpoint.VERSION_CURRENT)
    return item


def export_current(services: Services, job: JobModel) -> JobModel:
    """Export the transcript of a job that was made current; return the job that is current by the end of that.

    Raises:
        PartitionNotFoundError: The object is gone.
        StoreRefusedError: The output's bucket is not there, or not ours to write to.
    """
    while True:
        export_transcript(services, job)
        failpoint(Failpoint.TRANSCRIPT_EXPORTED)
        now = BucketObjects.of(services).get(job.partition or "").current_job_id
        if now in (None, job.job_id):
            return job
        job = services.jobs.get_job(now)  # it took the place meanwhile, and our files may lie over its own


def export_transcript(services: Services, job: JobModel) -> None:
    """Copy a completed job's transcript, in every format, to the output of its object's source.

    Raises:
        StoreRefusedError: The output's bucket is not there, or not ours to write to.
    """
    bucket, key = split_partition_key(job.partition or "")
    settings = services.settings
    source = find_source(settings.backfill_sources, bucket, key)
    to_bucket, prefix = (source or BackfillSource(bucket=bucket)).output_place(
        settings.minio_bucket, settings.backfill_output_prefix
    )
    output = services.store.in_bucket(to_bucket)
    if job.result is not None:
        for extension in job.result.formats:
            transcript = object_keys.transcript(job.result.prefix, extension)
            output.copy_from(services.store, transcript, object_keys.exported(prefix, bucket, key, extension))
            failpoint(Failpoint.FORMAT_EXPORTED)


def _succeeds(services: Services, item: BucketObject, job: JobModel, etag: str | None) -> bool:
    if item.current_job_id is None:
        return True
    if item.current_etag != etag:
        return item.current_etag != item.etag
    before = next(iter(services.jobs.get_jobs([item.current_job_id])), None)
    return before is None or (before.options.model_name == job.options.model_name and before.job_id < job.job_id)
