"""What is kept, and for how long: one sweep over jobs and objects, run every night.

    prepared audio, step outputs    until the job ends; of a failed job `AUDIO_DAYS` longer, so that its run can be
                                    re-executed from its failure
    results                         those that the job names; what other attempts wrote goes with the prepared audio
    texts of chunks                 `CHUNK_CACHE_DAYS`, and as long as a run at work relies on them
    a job that has ended            `RESULT_DAYS`, with its recording; what is left of it tells for `DELETED_JOB_DAYS`
                                    that it was deleted
    objects whose job is unknown    reported when a day old, removed where `SWEEP_ORPHANS` says so

Listings are read page by page, and MongoDB is asked about the jobs of each page, so that memory does not grow with what
is stored. Only keys of our own shape are touched, and repeating a sweep changes nothing. A job that is not over loses
nothing, and one is deleted by a compare-and-set: whoever sends it again in that moment wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from pydantic import BaseModel

from stt_core import object_keys
from stt_core.errors import ConflictError, JobNotFoundError
from stt_core.jobs.job import JobStatus
from stt_core.jobs.repository import JobEnding
from stt_core.logs import get_logger
from stt_core.services import Services
from stt_core.stores.documents import utc_now
from stt_core.stores.object_store import StoredObject
from stt_core.tasks.idempotency import IdempotencyKeys

logger = get_logger(__name__)

#: Objects looked at together: as many as S3 lists, and removes, with one request.
_PAGE = 1000
#: From this age on an object whose job is unknown is an orphan.
_ORPHAN_AGE = timedelta(days=1)
#: More jobs are never processing at once.
_MOST_JOBS = 1000


class SweepReport(BaseModel):
    """What a sweep did. Objects are counted by the first part of their key."""

    jobs_deleted: int = 0
    jobs_forgotten: int = 0
    objects_removed: dict[str, int] = {}
    bytes_removed: int = 0
    #: Removed too where `SWEEP_ORPHANS` says so.
    orphans: int = 0
    orphan_bytes: int = 0


def sweep(services: Services) -> SweepReport:
    """Remove what is kept no longer, and report orphans.

    Raises:
        TransientError: A server is away; the next sweep goes on.
    """
    settings, report = services.settings, SweepReport()
    if settings.result_days:
        report.jobs_deleted = _delete_jobs(services, _days_ago(settings.result_days))
    for prefix in object_keys.OF_JOBS:
        for page in _pages(services.store.iterate(prefix)):
            _remove(services, report, _of_no_use(services, report, page))
    if settings.chunk_cache_days:
        expired = _days_ago(settings.chunk_cache_days)
        for page in _pages(services.store.iterate(object_keys.CHUNK_RESULTS)):
            old = [one for one in page if one.modified_at < expired and object_keys.is_chunk_result(one.key)]
            in_use = _chunk_results_in_use(services) if old else set()
            _remove(services, report, [one for one in old if one.key not in in_use])
    if settings.deleted_job_days:  # last: by now their objects are gone
        report.jobs_forgotten = services.jobs.forget_deleted_jobs(_days_ago(settings.deleted_job_days))
    IdempotencyKeys(services.database).forget_expired()
    if report.orphans:
        logger.warning(
            "{} objects of {} bytes belong to no job{}",
            report.orphans, report.orphan_bytes,
            "" if settings.sweep_orphans else ": SWEEP_ORPHANS=true removes them",
        )  # fmt: skip
    logger.info("swept: {}", report)
    return report


def _delete_jobs(services: Services, before: datetime) -> int:
    """Delete the jobs that ended before then, but for their tombstones; their objects are removed after that."""
    count = 0
    for job in services.jobs.find_ended_jobs(before):
        try:
            services.jobs.bury_job(job, utc_now())
        except (ConflictError, JobNotFoundError) as error:
            logger.info("job {} is left to the next sweep: {}", job.job_id, error)
            continue
        count += 1
    return count


def _of_no_use(services: Services, report: SweepReport, page: list[StoredObject]) -> list[StoredObject]:
    """Return the objects of a page that may go; count the orphans among them all."""
    owned = [(one, job_id) for one in page if (job_id := object_keys.job_of(one.key))]
    endings = services.jobs.get_endings({job_id for _, job_id in owned})
    days = services.settings.audio_days
    re_executable = _days_ago(days) if days else None
    found = []
    for one, job_id in owned:
        if ending := endings.get(job_id):
            if not _is_needed(one.key, ending, re_executable):
                found.append(one)
        elif utc_now() - one.modified_at > _ORPHAN_AGE:
            report.orphans += 1
            report.orphan_bytes += one.size_bytes
            if services.settings.sweep_orphans:
                found.append(one)
    return found


def _is_needed(key: str, ending: JobEnding, re_executable: datetime | None) -> bool:
    """Tell whether an object is of use to its job; `re_executable` is since when failed jobs are (None: ever)."""
    if ending.is_deleted:
        return False
    if key.startswith(object_keys.UPLOADS):  # without a source it ended while its bytes arrived: that is a part
        return key == ending.source_key if ending.source_key else ending.completed_at is None
    if ending.prefix and key.startswith(ending.prefix):
        return True
    if ending.status in (JobStatus.COMPLETED, JobStatus.CANCELLED):
        return False
    if ending.status != JobStatus.FAILED or ending.completed_at is None:
        return True
    return re_executable is None or ending.completed_at > re_executable


def _chunk_results_in_use(services: Services) -> set[str | None]:
    """Return the keys of the texts that runs at work have found or made: they are read again by the merge."""
    at_work = services.jobs.list_jobs(status=JobStatus.PROCESSING, limit=_MOST_JOBS).jobs
    return {chunk.result_key for job in at_work for chunk in services.chunks.get_chunks(job.job_id)}


def _remove(services: Services, report: SweepReport, objects: list[StoredObject]) -> None:
    services.store.remove_all(one.key for one in objects)
    for one in objects:
        area = one.key.partition("/")[0]
        report.objects_removed[area] = report.objects_removed.get(area, 0) + 1
        report.bytes_removed += one.size_bytes


def _pages(objects: Iterable[StoredObject]) -> Iterator[list[StoredObject]]:
    stream = iter(objects)
    while page := list(islice(stream, _PAGE)):
        yield page


def _days_ago(days: float) -> datetime:
    return utc_now() - timedelta(days=days)
