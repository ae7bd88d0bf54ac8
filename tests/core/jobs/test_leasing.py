from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from stt_core.jobs.claims import ensure_claim
from stt_core.jobs.job import JobModel, Priority
from stt_core.jobs.leasing import current_job, lease_due_jobs, wait_for_due_jobs
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.recovery import cancel_job, enqueue_job
from stt_core.jobs.repository import JobRepository
from stt_core.stores.database import Database
from stt_core.stores.documents import utc_now
from tests.core.jobs.conftest import store_job


def _waiting(database: Database, queue: JobQueue, **fields: Any) -> JobModel:
    job = store_job(database, **{"status": "queued", "attempt": 1, "queued_at": utc_now(), **fields})
    enqueue_job(queue, job)
    return job


def _ids(jobs: list[JobModel]) -> list[str]:
    return [job.job_id for job in jobs]


def test_lease_due_jobs_gives_the_next_ones_once_each(jobs: JobRepository, queue: JobQueue, database: Database) -> None:
    low = _waiting(database, queue, priority=Priority.LOW)
    high = _waiting(database, queue, priority=Priority.HIGH)
    normal = _waiting(database, queue, priority=Priority.NORMAL)

    assert _ids(lease_due_jobs(jobs, queue, count=2, owner="a")) == _ids([high, normal])
    assert _ids(lease_due_jobs(jobs, queue, count=2, owner="b")) == _ids([low])
    assert lease_due_jobs(jobs, queue, count=2, owner="c") == []
    assert len(queue.members()) == 3  # leasing removes nothing


def test_lease_due_jobs_when_two_sensors_look_at_once_gives_each_job_to_one(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    waiting = [_waiting(database, queue) for _ in range(12)]

    with ThreadPoolExecutor(4) as threads:
        shares = list(threads.map(lambda owner: lease_due_jobs(jobs, queue, count=12, owner=str(owner)), range(4)))

    assert sorted(job_id for share in shares for job_id in _ids(share)) == sorted(_ids(waiting))


def test_lease_due_jobs_when_entries_are_out_of_date_removes_them(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    cancelled, claimed, good = (_waiting(database, queue) for _ in range(3))
    cancel_job(jobs, cancelled.job_id)
    ensure_claim(jobs, claimed.job_id, "run-1", attempt=1)
    queue.enqueue("deleted:1", Priority.HIGH, utc_now())
    queue.enqueue(f"{good.job_id}:0", Priority.HIGH, utc_now())
    queue.enqueue("no-colon", Priority.HIGH, utc_now())

    assert _ids(lease_due_jobs(jobs, queue, count=5, owner="a")) == _ids([good])
    assert queue.members() == {good.member}


def test_lease_due_jobs_when_a_document_is_damaged_starts_the_others(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    bad = _waiting(database, queue, priority=Priority.HIGH)
    good = _waiting(database, queue)
    database.jobs.replace_one({"_id": bad.job_id}, {**bad.to_document(), "attempts": "three"})

    assert _ids(lease_due_jobs(jobs, queue, count=5, owner="a")) == _ids([good])


def test_lease_due_jobs_when_a_job_is_in_its_backoff_leaves_it_and_looks_past_it(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    later = _waiting(database, queue, not_before=utc_now() + timedelta(hours=1))
    over = _waiting(database, queue, not_before=utc_now() - timedelta(seconds=1))

    assert _ids(lease_due_jobs(jobs, queue, count=1, owner="a")) == _ids([over])
    assert later.member in queue.members()


def test_lease_due_jobs_when_hundreds_before_are_in_their_backoff_finds_the_one_that_is_due(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    for _ in range(300):
        _waiting(database, queue, not_before=utc_now() + timedelta(hours=1))
    due = _waiting(database, queue)

    assert _ids(lease_due_jobs(jobs, queue, count=2, owner="a")) == _ids([due])
    assert len(queue.members()) == 301


def test_lease_due_jobs_when_there_is_no_capacity_gives_none(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    job = _waiting(database, queue)

    assert lease_due_jobs(jobs, queue, count=0, owner="a") == []
    assert queue.peek(1) == [job.member]


def test_current_job_when_the_entry_is_current_gives_its_job(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    job = _waiting(database, queue)

    assert current_job(jobs, job.member) == job
    assert current_job(jobs, f"{job.job_id}:2") is None


def test_wait_for_due_jobs_when_one_waits_returns_at_once(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    job = _waiting(database, queue)
    started = time.monotonic()

    due = wait_for_due_jobs(jobs, queue, free_runs=lambda: 1, owner="a", timeout_seconds=20)

    assert _ids(due) == [job.job_id]
    assert time.monotonic() - started < 2


def test_wait_for_due_jobs_when_one_comes_wakes_within_half_a_second(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    looked = threading.Event()

    def slots() -> int:
        looked.set()
        return 2

    def wait() -> tuple[list[JobModel], float]:
        due = wait_for_due_jobs(jobs, queue, free_runs=slots, owner="a", timeout_seconds=20)
        return due, time.monotonic()

    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(wait)
        assert looked.wait(5)
        job = store_job(database, status="queued", attempt=1, queued_at=utc_now())
        rung = time.monotonic()
        enqueue_job(queue, job)
        due, woken = waiter.result(timeout=30)

    assert _ids(due) == [job.job_id]
    assert woken - rung < 0.5


def test_wait_for_due_jobs_when_nothing_comes_returns_empty_in_time(jobs: JobRepository, queue: JobQueue) -> None:
    started = time.monotonic()

    assert wait_for_due_jobs(jobs, queue, free_runs=lambda: 3, owner="a", timeout_seconds=0.3) == []
    assert 0.25 < time.monotonic() - started < 3


def test_wait_for_due_jobs_when_a_run_ends_takes_the_job_that_waited_for_it(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    job = _waiting(database, queue)
    answers = iter([0, 0])

    due = wait_for_due_jobs(jobs, queue, free_runs=lambda: next(answers, 1), owner="a", timeout_seconds=20)

    assert _ids(due) == [job.job_id]


def test_wait_for_due_jobs_when_there_is_never_capacity_leases_nothing(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    job = _waiting(database, queue)
    asked: list[int] = []

    def slots() -> int:
        asked.append(1)
        return -1

    assert wait_for_due_jobs(jobs, queue, free_runs=slots, owner="a", timeout_seconds=0.3) == []
    assert queue.peek(1) == [job.member]
    assert len(asked) < 5  # it waits, it does not spin


def test_wait_for_due_jobs_when_a_backoff_ends_meanwhile_takes_the_job(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    job = _waiting(database, queue, not_before=utc_now() + timedelta(seconds=0.5))

    due = wait_for_due_jobs(jobs, queue, free_runs=lambda: 1, owner="a", timeout_seconds=20)

    assert _ids(due) == [job.job_id]
