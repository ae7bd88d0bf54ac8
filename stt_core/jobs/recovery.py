"""What becomes of a job whose run is over without a transcript: the next attempt, or the end.

Every way back into the queue is a compare-and-set that changes the attempt: whoever notices first takes it, so that two
observers never start a job twice.
"""

from __future__ import annotations

import random
from datetime import timedelta
from functools import partial

from stt_core import object_keys
from stt_core.errors import JobNotFoundError, QueueRefusedError, QueueUnavailableError
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs import transitions
from stt_core.jobs.job import Attempt, JobError, JobModel, JobStatus, JobUpdate, Lane
from stt_core.jobs.leasing import current_job
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.repository import JobRepository
from stt_core.logs import get_logger
from stt_core.settings import Settings
from stt_core.stores.documents import utc_now
from stt_core.stores.object_store import ObjectStore

logger = get_logger(__name__)

#: An upload that has not come further for so long, seconds, will not: the API that received it is gone.
_UPLOAD_SECONDS = 3600.0


def backoff_seconds(failures: int, settings: Settings) -> float:
    """Return how long to wait before the next attempt: exponential, with up to half taken off at random.

    The jitter keeps jobs that failed together (a server was away) from coming back together.
    """
    doublings = min(max(failures - 1, 0), 30)  # far beyond any ceiling, far below an overflow
    ceiling = min(settings.retry_backoff_max_seconds, settings.retry_backoff_seconds * 2.0**doublings)
    return ceiling * random.uniform(0.5, 1.0)


def recover_failed_run(
    jobs: JobRepository,
    queue: JobQueue,
    settings: Settings,
    *,
    job_id: str,
    run_id: str,
    attempt: int | None,
    reason: str,
    error: JobError | None = None,
) -> JobModel:
    """Decide what follows when a run is over and its job is not: called for every failed run, changes each job once.

    A job that the run never claimed, or lost to an outage, gets its next attempt for free. Otherwise it gets it while
    `MAX_ATTEMPTS` lasts and the error was transient (a run that left no error at all crashed, which is), and fails.

    Args:
        jobs: The truth.
        queue: Where the next attempt waits.
        settings: `MAX_ATTEMPTS` and the backoff.
        job_id: The job.
        run_id: The run that is over.
        attempt: The attempt that the run was launched for.
        reason: What Dagster says of its end.
        error: What the run itself said of it; what it could tell the job goes before.
    """

    def change(job: JobModel) -> JobUpdate | None:
        if job.status is JobStatus.QUEUED and job.attempt == attempt:
            logger.warning("job {}: run {} ended before it claimed the job: {}", job_id, run_id, reason)
            unclaimed = error or JobError(kind="run-not-begun", message=reason[:2000], transient=True, outage=True)
            past = Attempt(attempt=attempt, run_id=run_id, host="", ended_at=utc_now(), error=unclaimed)
            return _next_attempt(job, settings, job.failures, unclaimed, job.with_attempt(past))
        if job.status is not JobStatus.PROCESSING or job.run_id != run_id:
            return None
        last = job.error or error
        last = last or JobError(kind="run-crashed", message=reason[:2000], transient=True, stage=job.stage)
        failures = job.failures if last.outage else job.failures + 1
        if last.outage or (last.transient and failures < settings.max_attempts):
            logger.warning("job {}: failure {}/{}: {}", job_id, failures, settings.max_attempts, last.message)
            return _next_attempt(job, settings, failures, last, job.ended_attempts(run_id, last))
        logger.error("job {} failed for good after {} failures: {}", job_id, failures, last.message)
        return transitions.fail_for_good(job, failures=failures, error=last)

    job = jobs.modify_job(job_id, change)
    if job.status is JobStatus.QUEUED:
        enqueue_job(queue, job)
    return job


def cancel_job(jobs: JobRepository, job_id: str, *, run_id: str | None = None, attempt: int | None = None) -> JobModel:
    """Cancel a job that is not finished; its run sees it and stops.

    With `run_id`, only if that run has the job, or was launched for its waiting `attempt` and had not claimed it yet.
    """

    return jobs.modify_job(job_id, partial(transitions.cancel, run_id=run_id, attempt=attempt))


def why_run_is_useless(jobs: JobRepository, *, job_id: str, run_id: str, attempt: int | None) -> str | None:
    """Return why a run that Dagster believes to be at work does nothing for its job, or None where it has the job.

    That is so for a moment at the begin and at the end of every run; one that stays so has no process any more.
    """
    try:
        job = jobs.get_job(job_id)
    except JobNotFoundError as error:
        logger.warning("run {} works for a job that is gone: {}", run_id, error)
        return "Its job was deleted."
    if job.status is JobStatus.PROCESSING and job.run_id == run_id:
        return None
    if job.status is JobStatus.QUEUED and attempt in (None, job.attempt):
        return "The run did not claim its job within START_TIMEOUT_SECONDS."
    return f"The job is {job.status} in attempt {job.attempt}: there is nothing left for this run to do."


def fail_broken_uploads(jobs: JobRepository, store: ObjectStore) -> int:
    """End jobs whose recording will not come any more, and remove what had arrived; return how many.

    Their upload was cut off by the death of the API, or their client never put it into the object store.
    """
    broken = jobs.find_broken_uploads(utc_now() - timedelta(seconds=_UPLOAD_SECONDS))
    for job in broken:
        end_broken_upload(jobs, store, job)
    return len(broken)


def end_broken_upload(jobs: JobRepository, store: ObjectStore, job: JobModel) -> None:
    """End a job whose recording did not arrive, unless it did in this moment, and remove what there is of it."""
    if give_up_upload(jobs, job.job_id):
        store.remove_prefix(object_keys.source_prefix(job.job_id))


def give_up_upload(jobs: JobRepository, job_id: str) -> bool:
    """End a job whose recording did not arrive; return whether what there is of that is of no use."""
    logger.warning("the upload of job {} was never finished", job_id)
    error = JobError(kind="upload-broken", message="The upload was never finished.", mend="Upload it again.")
    return jobs.modify_job(job_id, partial(transitions.give_up, error=error)).source is None


def restore_queue(jobs: JobRepository, queue: JobQueue, limit: int = 1000) -> int:
    """Hold the queue to the truth: enqueue what waits and is missing, remove what does not wait any more.

    At most `limit` jobs of each at a time, those queued first before the others; the next call goes on. Leases of
    entries that are gone end by themselves, within `QUEUE_LEASE_SECONDS`.

    Returns:
        How many jobs were enqueued again.
    """
    queue.drop_former()
    waiting = jobs.get_pending_members()
    entries = queue.members()  # read second: a job that was queued meanwhile is seen in both
    missing = [member for member in waiting if member not in entries][:limit]
    restored = 0
    for member in missing:
        if job := current_job(jobs, member):
            logger.warning("job {} was waiting, but not in the queue: enqueued again", job.member)
            enqueue_job(queue, job)
            restored += 1
    for member in list(entries.difference(waiting))[:limit]:
        if current_job(jobs, member) is None:  # else it was queued after the look at MongoDB
            logger.warning("queue entry {} is not a waiting attempt any more: removed", member)
            queue.remove(member)
    return restored


def enqueue_job(queue: JobQueue, job: JobModel) -> None:
    """Put an accepted, queued job into the queue; where Redis does not take it, `restore_queue` does it later.

    A job of the backfill lane has a run of its own and never waits there.
    """
    if job.lane is Lane.BACKFILL:
        return
    failpoint(Failpoint.JOB_QUEUED)
    try:
        queue.enqueue(job.member, job.priority, job.queued_at or job.created_at, bounded=False)
    except (QueueUnavailableError, QueueRefusedError) as error:
        logger.warning("job {} waits in MongoDB until the queue is back: {}", job.member, error)
    failpoint(Failpoint.JOB_ENQUEUED)


def dequeue_job(queue: JobQueue, job: JobModel) -> None:
    """Take a job that has a run, or needs none, out of the queue; where Redis is away, whoever meets the entry does."""
    try:
        queue.remove(job.member)
    except (QueueUnavailableError, QueueRefusedError) as error:
        logger.warning("entry {} stays in the queue until somebody meets it: {}", job.member, error)


def _next_attempt(
    job: JobModel, settings: Settings, failures: int, error: JobError, attempts: list[Attempt]
) -> JobUpdate:
    # An attempt that was free backs off by the free ones so far.
    delay = backoff_seconds(failures if failures > job.failures else job.attempt - failures, settings)
    return transitions.requeue(job, failures=failures, error=error, attempts=attempts, delay_seconds=delay)
