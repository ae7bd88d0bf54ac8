from __future__ import annotations

import random
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_core.errors import EngineError, StoreUnavailableError, UnreadableAudioError
from stt_core.jobs.claims import Claim, describe_error, ensure_claim
from stt_core.jobs.job import JobError, JobModel, JobStage, JobStatus, Lane, Priority
from stt_core.jobs.leasing import lease_due_jobs
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.recovery import backoff_seconds, cancel_job, enqueue_job, recover_failed_run, restore_queue
from stt_core.jobs.repository import JobRepository
from stt_core.settings import Settings
from stt_core.stores.database import Database
from stt_core.stores.documents import utc_now
from tests.core.jobs.conftest import count_leases, store_job

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def claim(jobs: JobRepository, database: Database, queue: JobQueue) -> Claim:
    job = store_job(database, status="queued", attempt=1, queued_at=NOON)
    enqueue_job(queue, job)
    claim = ensure_claim(jobs, job.job_id, "run-1", attempt=1)
    queue.remove(job.member)
    return claim


def _recover(
    jobs: JobRepository,
    queue: JobQueue,
    settings: Settings,
    job_id: str,
    *,
    run_id: str = "run-1",
    attempt: int = 1,
    error: JobError | None = None,
) -> JobModel:
    reason = "the worker was killed"
    return recover_failed_run(
        jobs, queue, settings, job_id=job_id, run_id=run_id, attempt=attempt, reason=reason, error=error
    )


def test_recover_when_the_run_never_claimed_gives_the_next_attempt_for_free(
    jobs: JobRepository, queue: JobQueue, settings: Settings, database: Database
) -> None:
    job = store_job(database, status="queued", attempt=1, queued_at=NOON)
    enqueue_job(queue, job)

    recovered = _recover(jobs, queue, settings, job.job_id)

    assert (recovered.status, recovered.attempt, recovered.failures) == (JobStatus.QUEUED, 2, 0)
    assert recovered.queued_at == NOON  # it keeps its place
    assert recovered.not_before is not None
    assert recovered.not_before > utc_now()
    assert recovered.member in queue.members()


def test_recover_when_runs_never_claim_for_weeks_waits_longer_but_never_gives_up(
    jobs: JobRepository, queue: JobQueue, settings: Settings, database: Database
) -> None:
    job = store_job(database, status="queued", attempt=5000, queued_at=NOON)

    recovered = _recover(jobs, queue, settings, job.job_id, attempt=5000)

    assert recovered.status is JobStatus.QUEUED
    assert recovered.not_before is not None
    wait = (recovered.not_before - utc_now()).total_seconds()
    assert settings.retry_backoff_max_seconds / 2 - 5 < wait <= settings.retry_backoff_max_seconds


def test_recover_when_the_error_was_transient_gives_the_next_attempt(
    jobs: JobRepository, queue: JobQueue, settings: Settings, claim: Claim
) -> None:
    claim.fail(describe_error(EngineError("died")))

    recovered = _recover(jobs, queue, settings, claim.job_id)

    assert (recovered.status, recovered.attempt, recovered.failures) == (JobStatus.QUEUED, 2, 1)
    assert (recovered.run_id, recovered.stage) == (None, None)
    assert recovered.error is not None
    assert recovered.error.kind == "engine-failed"
    assert recovered.attempts[0].error == recovered.error
    assert queue.members() == {recovered.member}
    assert ensure_claim(jobs, claim.job_id, "run-2", attempt=2).attempt == 2


def test_recover_when_the_run_left_no_word_counts_as_a_crash_and_tries_again(
    jobs: JobRepository, queue: JobQueue, settings: Settings, claim: Claim
) -> None:
    recovered = _recover(jobs, queue, settings, claim.job_id)

    assert (recovered.status, recovered.failures) == (JobStatus.QUEUED, 1)
    assert recovered.error is not None
    assert (recovered.error.kind, recovered.error.message) == ("run-crashed", "the worker was killed")
    assert recovered.attempts[0].ended_at is not None


def test_recover_when_the_error_was_permanent_leaves_the_job_failed(
    jobs: JobRepository, queue: JobQueue, settings: Settings, claim: Claim
) -> None:
    failed = claim.fail(describe_error(UnreadableAudioError("damaged")))

    assert _recover(jobs, queue, settings, claim.job_id) == failed
    assert queue.members() == set()


def test_recover_when_every_attempt_failed_ends_the_job_and_keeps_their_history(
    jobs: JobRepository, queue: JobQueue, settings: Settings, claim: Claim
) -> None:
    for attempt in range(1, settings.max_attempts + 1):
        held = ensure_claim(jobs, claim.job_id, f"run-{attempt}", attempt=attempt)
        held.fail(describe_error(EngineError(f"died {attempt}")))
        recovered = _recover(jobs, queue, settings, claim.job_id, run_id=f"run-{attempt}", attempt=attempt)

    assert (recovered.status, recovered.failures) == (JobStatus.FAILED, settings.max_attempts)
    assert recovered.completed_at is not None
    assert recovered.error is not None
    assert recovered.error.message == "died 3"
    assert [past.error.message for past in recovered.attempts if past.error] == ["died 1", "died 2", "died 3"]


def test_recover_when_two_observers_come_at_once_counts_one_failure(
    jobs: JobRepository, queue: JobQueue, settings: Settings, claim: Claim
) -> None:
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: _recover(jobs, queue, settings, claim.job_id), range(6)))

    job = jobs.get_job(claim.job_id)
    assert (job.attempt, job.failures) == (2, 1)
    assert queue.members() == {job.member}


@pytest.mark.parametrize("status", ["pending", "completed", "failed", "cancelled"])
def test_recover_when_the_job_is_none_of_that_runs_changes_nothing(
    jobs: JobRepository, queue: JobQueue, settings: Settings, database: Database, status: str
) -> None:
    job = store_job(database, status=status, attempt=1, run_id="run-1")

    assert _recover(jobs, queue, settings, job.job_id) == job
    assert queue.members() == set()


def test_recover_when_a_superseded_run_fails_leaves_the_job_to_the_one_that_has_it(
    jobs: JobRepository, queue: JobQueue, settings: Settings, claim: Claim
) -> None:
    taken = ensure_claim(jobs, claim.job_id, "run-2", attempt=1, is_reexecution=True)
    before = taken.job()

    assert _recover(jobs, queue, settings, claim.job_id) == before


def test_recover_when_redis_is_down_leaves_the_job_waiting_in_mongodb(
    jobs: JobRepository, queue: JobQueue, settings: Settings, claim: Claim
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    away = JobQueue(settings.model_copy(update={"redis_port": port}))

    assert _recover(jobs, away, settings, claim.job_id).status is JobStatus.QUEUED
    assert restore_queue(jobs, queue) == 1
    assert queue.members() == {f"{claim.job_id}:2"}


@given(failures=st.integers(0, 10_000), seed=st.integers())
def test_backoff_stays_between_half_and_whole_of_its_ceiling(failures: int, seed: int) -> None:
    settings = Settings.model_validate({"RETRY_BACKOFF_SECONDS": 2, "RETRY_BACKOFF_MAX_SECONDS": 100})
    random.seed(seed)

    ceiling = min(100, 2 * 2 ** min(max(failures - 1, 0), 20))
    assert ceiling / 2 <= backoff_seconds(failures, settings) <= ceiling


# Cancelling


@pytest.mark.parametrize("status", ["pending", "queued", "processing"])
def test_cancel_job_when_it_is_not_over_cancels_it(jobs: JobRepository, database: Database, status: str) -> None:
    job = store_job(database, status=status, run_id="run-1")

    cancelled = cancel_job(jobs, job.job_id)

    assert cancelled.status is JobStatus.CANCELLED
    assert cancelled.completed_at is not None


@pytest.mark.parametrize(("status", "run_id"), [("completed", "run-1"), ("failed", "run-1"), ("processing", "run-2")])
def test_cancel_job_when_it_is_over_or_another_runs_changes_nothing(
    jobs: JobRepository, database: Database, status: str, run_id: str
) -> None:
    job = store_job(database, status=status, run_id=run_id)

    assert cancel_job(jobs, job.job_id, run_id="run-1") == job


# The queue from the truth


def _store_waiting(database: Database, count: int) -> list[JobModel]:
    return [
        store_job(
            database,
            status="queued",
            attempt=1,
            priority=list(Priority)[index % 3],
            queued_at=NOON + timedelta(seconds=count - index),
        )
        for index in range(count)
    ]


def test_restore_queue_when_redis_lost_everything_rebuilds_the_same_order(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    for job in _store_waiting(database, 30):
        enqueue_job(queue, job)
    for status in JobStatus:
        if status is not JobStatus.QUEUED:
            store_job(database, status=status, attempt=1)
    before = queue.peek(100)
    for member in before:  # what a wiped Redis looks like to one queue; the server is shared by the tests
        queue.remove(member)
    assert queue.members() == set()

    assert restore_queue(jobs, queue) == 30

    assert queue.peek(100) == before
    assert restore_queue(jobs, queue) == 0


def test_restore_queue_when_more_are_missing_than_the_limit_goes_on_at_the_next_call(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    _store_waiting(database, 7)

    assert [restore_queue(jobs, queue, limit=3) for _ in range(4)] == [3, 3, 1, 0]


def test_restore_queue_when_the_queue_is_full_takes_accepted_jobs_all_the_same(
    jobs: JobRepository, settings: Settings, database: Database
) -> None:
    queue = JobQueue(settings.model_copy(update={"queue_max_size": 1}))
    _store_waiting(database, 3)

    assert restore_queue(jobs, queue) == 3
    assert sum(queue.statistics().values()) == 3
    queue.close()


def test_restore_queue_when_a_document_is_damaged_restores_the_others(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    good, bad = _store_waiting(database, 2)
    database.jobs.replace_one({"_id": bad.job_id}, {**bad.to_document(), "attempts": "three"})

    assert restore_queue(jobs, queue) == 1
    assert queue.members() == {good.member}


def test_restore_queue_when_entries_are_of_finished_or_unknown_jobs_removes_them(
    jobs: JobRepository, queue: JobQueue, database: Database
) -> None:
    (waiting,) = _store_waiting(database, 1)
    for status in JobStatus:
        if status is not JobStatus.QUEUED:
            queue.enqueue(store_job(database, status=status, attempt=1).member, Priority.HIGH, NOON)
    for member in ("unknown:1", "no-colon", f"{waiting.job_id}:7"):
        queue.enqueue(member, Priority.LOW, NOON)
    queue.lease("unknown:1", "sensor")

    assert restore_queue(jobs, queue) == 1
    assert queue.members() == {waiting.member}
    assert count_leases(queue) == 0


def test_jobs_of_the_backfill_lane_when_they_wait_are_never_in_the_queue(
    jobs: JobRepository, queue: JobQueue, settings: Settings, database: Database
) -> None:
    job = store_job(database, status="queued", attempt=1, queued_at=NOON, lane=Lane.BACKFILL)
    queue.enqueue(job.member, Priority.HIGH, NOON)

    enqueue_job(queue, _recover(jobs, queue, settings, job.job_id))

    assert restore_queue(jobs, queue) == 0
    assert queue.members() == set()


def test_restored_jobs_when_leased_are_the_same_jobs(jobs: JobRepository, queue: JobQueue, database: Database) -> None:
    (job,) = _store_waiting(database, 1)
    restore_queue(jobs, queue)

    assert lease_due_jobs(jobs, queue, count=1, owner="sensor") == [job]
    assert job.lane is Lane.UPLOAD


# Outages


def test_recover_when_a_server_was_away_burns_no_attempt_however_often(
    jobs: JobRepository, queue: JobQueue, settings: Settings, claim: Claim
) -> None:
    waits = []
    for attempt in range(1, 2 * settings.max_attempts + 1):
        held = ensure_claim(jobs, claim.job_id, f"run-{attempt}", attempt=attempt)
        held.fail(describe_error(StoreUnavailableError("away")))
        recovered = _recover(jobs, queue, settings, claim.job_id, run_id=f"run-{attempt}", attempt=attempt)
        assert recovered.not_before is not None
        waits.append((recovered.not_before - utc_now()).total_seconds())

    assert (recovered.status, recovered.failures) == (JobStatus.QUEUED, 0)
    assert recovered.error is not None
    assert (recovered.error.kind, recovered.error.outage) == ("store-unavailable", True)
    assert waits[-1] > 4 * waits[0]
    assert max(waits) <= settings.retry_backoff_max_seconds


def test_recover_when_the_job_could_not_be_told_takes_the_error_of_the_run(
    jobs: JobRepository, queue: JobQueue, settings: Settings, claim: Claim
) -> None:
    told = describe_error(UnreadableAudioError("damaged"), JobStage.PREPARING)

    recovered = _recover(jobs, queue, settings, claim.job_id, error=told)

    assert (recovered.status, recovered.error) == (JobStatus.FAILED, told)
    assert recovered.attempts[0].error == told


def test_recover_when_an_outage_lasts_for_weeks_keeps_the_latest_attempts_only(
    jobs: JobRepository, queue: JobQueue, settings: Settings, database: Database
) -> None:
    job = store_job(database, status="queued", attempt=1, queued_at=NOON)
    for attempt in range(1, 61):
        recovered = _recover(jobs, queue, settings, job.job_id, run_id=f"run-{attempt}", attempt=attempt)

    assert [past.run_id for past in recovered.attempts] == [f"run-{attempt}" for attempt in range(11, 61)]
    assert recovered.attempts[0].error is not None
    assert recovered.attempts[0].error.kind == "run-not-begun"
    assert recovered.attempts[0].ended_at is not None
