"""What becomes of a job whose run is over without a transcript: the next attempt, or the end.

Every way back into the queue goes through `next_attempt`: the same compare-and-set for whoever notices first, so that
two observers never start a job twice.
"""

from __future__ import annotations

import random
from datetime import timedelta

from stt_core.errors import TransientError
from stt_core.jobs.models import JobError, JobModel, JobStatus, JobUpdate, utc_now
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.repository import JobRepository
from stt_core.logs import get_logger, logged
from stt_core.settings import Settings

logger = get_logger(__name__)


@logged
def backoff_seconds(failures: int, settings: Settings) -> float:
    """Return how long to wait before the next attempt: exponential, with up to half taken off at random.

    The jitter keeps jobs that failed together (a server was away) from coming back together.
    """
    ceiling = min(settings.retry_backoff_max_seconds, settings.retry_backoff_seconds * 2.0 ** max(failures - 1, 0))
    return ceiling * random.uniform(0.5, 1.0)


@logged
def recover_failed_run(
    jobs: JobRepository, queue: JobQueue, settings: Settings, *, job_id: str, run_id: str, attempt: int, reason: str
) -> JobModel:
    """Decide what follows when a run is over and its job is not: called for every failed run, changes each job once.

    A job that the run never claimed gets its next attempt for free. One that it claimed gets it while `MAX_ATTEMPTS`
    lasts and the error was transient (a run that left no error at all crashed, which is), and fails otherwise.
    """

    def change(job: JobModel) -> JobUpdate | None:
        if job.status is JobStatus.QUEUED and job.attempt == attempt:
            logger.warning("job {}: run {} ended before it claimed the job: {}", job_id, run_id, reason)
            return _requeued(job, failures=job.failures, delay=settings.retry_backoff_seconds)
        if job.status is not JobStatus.PROCESSING or job.run_id != run_id:
            return None
        failures = job.failures + 1
        error = job.error or JobError(kind="run-crashed", message=reason[:2000], transient=True, stage=job.stage)
        if error.transient and failures < settings.max_attempts:
            delay = backoff_seconds(failures, settings)
            logger.warning("job {}: failure {}/{}: {}", job_id, failures, settings.max_attempts, error.message)
            return _requeued(job, failures=failures, delay=delay, error=error)
        logger.error("job {} failed for good after {} failures: {}", job_id, failures, error.message)
        return JobUpdate(status=JobStatus.FAILED, failures=failures, error=error, completed_at=utc_now())

    job = jobs.modify_job(job_id, change)
    if job.status is JobStatus.QUEUED:
        enqueue_job(queue, job)
    return job


@logged
def restore_queue(jobs: JobRepository, queue: JobQueue, limit: int = 1000) -> int:
    """Enqueue again what MongoDB says is waiting and Redis does not have; return how many jobs that were."""
    waiting = queue.members()
    missing = [job for job in jobs.get_pending_jobs(limit) if job.member not in waiting]
    for job in missing:
        logger.warning("job {} was waiting, but not in the queue: enqueued again", job.member)
        enqueue_job(queue, job)
    return len(missing)


@logged
def enqueue_job(queue: JobQueue, job: JobModel) -> None:
    """Put an accepted, queued job into the queue; when Redis is away, `restore_queue` does it later."""
    if job.queued_at is None:
        raise ValueError(f"job {job.job_id} is {job.status} without queued_at")
    try:
        queue.enqueue(job.member, job.priority, job.queued_at, bounded=False)
    except TransientError as error:
        logger.warning("job {} waits in MongoDB until the queue is back: {}", job.member, error)


def _requeued(job: JobModel, *, failures: int, delay: float, error: JobError | None = None) -> JobUpdate:
    return JobUpdate(
        status=JobStatus.QUEUED,
        stage=None,
        attempt=job.attempt + 1,
        failures=failures,
        run_id=None,
        error=error,
        not_before=utc_now() + timedelta(seconds=delay),
    )
