"""What becomes of a job whose run is over without a transcript: the next attempt, or the end.

Every way back into the queue goes through `next_attempt`: the same compare-and-set for whoever notices first, so that
two observers never start a job twice.
"""

from __future__ import annotations

import random
from datetime import timedelta

from stt_core.errors import QueueRefusedError, QueueUnavailableError
from stt_core.jobs.dispatch import current_job
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
    doublings = min(max(failures - 1, 0), 30)  # far beyond any ceiling, far below an overflow
    ceiling = min(settings.retry_backoff_max_seconds, settings.retry_backoff_seconds * 2.0**doublings)
    return ceiling * random.uniform(0.5, 1.0)


@logged
def recover_failed_run(
    jobs: JobRepository,
    queue: JobQueue,
    settings: Settings,
    *,
    job_id: str,
    run_id: str,
    attempt: int | None,
    reason: str,
) -> JobModel:
    """Decide what follows when a run is over and its job is not: called for every failed run, changes each job once.

    A job that the run never claimed gets its next attempt for free. One that it claimed gets it while `MAX_ATTEMPTS`
    lasts and the error was transient (a run that left no error at all crashed, which is), and fails otherwise.
    """

    def change(job: JobModel) -> JobUpdate | None:
        if job.status is JobStatus.QUEUED and job.attempt == attempt:
            logger.warning("job {}: run {} ended before it claimed the job: {}", job_id, run_id, reason)
            delay = backoff_seconds(job.attempt - job.failures, settings)
            return _requeued(job, failures=job.failures, delay=delay)
        if job.status is not JobStatus.PROCESSING or job.run_id != run_id:
            return None
        failures = job.failures + 1
        error = job.error or JobError(kind="run-crashed", message=reason[:2000], transient=True, stage=job.stage)
        if error.transient and failures < settings.max_attempts:
            delay = backoff_seconds(failures, settings)
            logger.warning("job {}: failure {}/{}: {}", job_id, failures, settings.max_attempts, error.message)
            return _requeued(job, failures=failures, delay=delay, error=error)
        logger.error("job {} failed for good after {} failures: {}", job_id, failures, error.message)
        return JobUpdate(
            status=JobStatus.FAILED,
            failures=failures,
            error=error,
            completed_at=utc_now(),
            attempts=job.ended_attempts(run_id, error),
        )

    job = jobs.modify_job(job_id, change)
    if job.status is JobStatus.QUEUED:
        enqueue_job(queue, job)
    return job


@logged
def cancel_job(jobs: JobRepository, job_id: str, *, run_id: str | None = None) -> JobModel:
    """Cancel a job that is not finished; with `run_id`, only if that run has it. Its run sees it and stops."""

    def change(job: JobModel) -> JobUpdate | None:
        if job.status.is_final or (run_id is not None and job.run_id != run_id):
            return None
        return JobUpdate(status=JobStatus.CANCELLED, stage=None, completed_at=utc_now())

    return jobs.modify_job(job_id, change)


@logged
def restore_queue(jobs: JobRepository, queue: JobQueue, limit: int = 1000) -> int:
    """Enqueue again what MongoDB says is waiting and Redis does not have; return how many jobs that were.

    At most `limit` jobs at a time, those queued first before the others; the next call goes on.
    """
    members = jobs.get_pending_members()
    waiting = queue.members()  # read second: a job that was queued meanwhile is seen in both
    restored = 0
    for member in members:
        if restored == limit:
            break
        job = None if member in waiting else current_job(jobs, member)
        if job is not None:
            logger.warning("job {} was waiting, but not in the queue: enqueued again", job.member)
            enqueue_job(queue, job)
            restored += 1
    return restored


@logged
def enqueue_job(queue: JobQueue, job: JobModel) -> None:
    """Put an accepted, queued job into the queue; where Redis does not take it, `restore_queue` does it later."""
    try:
        queue.enqueue(job.member, job.priority, job.queued_at or job.created_at, bounded=False)
    except (QueueUnavailableError, QueueRefusedError) as error:
        logger.warning("job {} waits in MongoDB until the queue is back: {}", job.member, error)


def _requeued(job: JobModel, *, failures: int, delay: float, error: JobError | None = None) -> JobUpdate:
    attempts = job.ended_attempts(job.run_id, error) if job.run_id else job.attempts
    return JobUpdate(
        status=JobStatus.QUEUED,
        stage=None,
        attempt=job.attempt + 1,
        failures=failures,
        attempts=attempts,
        run_id=None,
        error=error,
        not_before=utc_now() + timedelta(seconds=delay),
    )
