"""Which waiting jobs may start now: the reading side of the queue.

Peek, check against the truth, lease. Members that are no longer a job's current attempt are removed on the way.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from stt_core.errors import InvalidDocumentError, JobNotFoundError
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs.job import JobModel, JobStatus, Lane
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.repository import JobRepository
from stt_core.logs import get_logger
from stt_core.stores.documents import utc_now

logger = get_logger(__name__)

#: How soon free capacity is noticed while jobs wait for it, seconds; Dagster rings no bell when a run ends.
_CAPACITY_POLL_SECONDS = 1.0
#: How many members are looked at first beyond the free capacity: some may be in their backoff.
_LOOK_AHEAD = 64


def wait_for_due_jobs(
    jobs: JobRepository,
    queue: JobQueue,
    *,
    free_runs: Callable[[], int],
    owner: str,
    timeout_seconds: float,
) -> list[JobModel]:
    """Return the jobs to start now, leased to `owner`, at most as many as `free_runs` says there is room for.

    Waits up to `timeout_seconds` for the first: on the queue's bell while nothing waits, on capacity while something
    does. Returns an empty list when there was nothing.
    """
    deadline = time.monotonic() + timeout_seconds
    with queue.listen() as doorbell:
        while True:
            free = free_runs()
            due = lease_due_jobs(jobs, queue, count=free, owner=owner) if free > 0 else []
            remaining = deadline - time.monotonic()
            if due or remaining <= 0:
                return due
            doorbell.wait(min(remaining, _CAPACITY_POLL_SECONDS) if queue.peek(1) else remaining)


def lease_due_jobs(jobs: JobRepository, queue: JobQueue, *, count: int, owner: str) -> list[JobModel]:
    """Lease and return the next `count` jobs that are due, however many before them are in their backoff."""
    due: list[JobModel] = []
    looked_at: set[str] = set()
    window = count + _LOOK_AHEAD
    while True:
        members = queue.peek(window)
        fresh = [member for member in members if member not in looked_at]
        looked_at.update(fresh)
        waiting = {job.member: job for job in jobs.get_jobs(map(_job_id, fresh)) if _is_waiting(job)}
        for member in fresh:
            if len(due) == count:
                break
            job = waiting.get(member)
            if job is None:
                logger.warning("queue entry {} is not a waiting attempt any more: removed", member)
                queue.remove(member)
            elif not is_held_back(job) and queue.lease(member, owner):
                failpoint(Failpoint.JOB_LEASED)
                due.append(job)
        if len(due) == count or len(members) < window:
            return due
        window *= 4


def current_job(jobs: JobRepository, member: str) -> JobModel | None:
    """Return the job of a queue entry, or None where the entry is out of date."""
    try:
        job = jobs.get_job(_job_id(member))
    except (JobNotFoundError, InvalidDocumentError) as error:
        logger.warning("{}", error)
        return None
    return job if job.member == member and _is_waiting(job) else None


def _job_id(member: str) -> str:
    return member.rpartition(":")[0]


def _is_waiting(job: JobModel) -> bool:
    """Return whether the job waits in the queue; one of the backfill lane waits for nobody."""
    return job.status is JobStatus.QUEUED and job.lane is Lane.UPLOAD


def is_held_back(job: JobModel) -> bool:
    """Return whether the job's backoff, which began with its last change, is not over.

    Where that change is still to come by our clock, the clocks of two hosts differ, and nobody waits for that.
    """
    return job.not_before is not None and job.updated_at <= utc_now() < job.not_before
