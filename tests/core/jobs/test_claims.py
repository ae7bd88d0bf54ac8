from __future__ import annotations

from collections.abc import Callable

import pytest

from stt_core.errors import EngineError, InvalidTransitionError, SupersededError, UnreadableAudioError
from stt_core.jobs.claims import Claim, describe_error, ensure_claim
from stt_core.jobs.job import JobModel, JobResult, JobStage, JobStatus, JobUpdate
from stt_core.jobs.recovery import cancel_job
from stt_core.jobs.repository import JobRepository
from stt_core.stores.database import Database
from stt_core.stores.documents import utc_now
from tests.core.jobs.conftest import store_job

RESULT = JobResult(
    prefix="results/j/1/", formats=["json"], language="en", duration_seconds=9, words=2, segments=1, text_preview="hi"
)


@pytest.fixture
def queued(database: Database) -> JobModel:
    return store_job(database, status="queued", attempt=1, queued_at=utc_now())


@pytest.fixture
def claim(jobs: JobRepository, queued: JobModel) -> Claim:
    return ensure_claim(jobs, queued.job_id, "run-1", attempt=1)


def test_ensure_claim_when_the_job_waits_takes_it(jobs: JobRepository, queued: JobModel) -> None:
    claim = ensure_claim(jobs, queued.job_id, "run-1", attempt=1)

    job = claim.job()
    assert (job.status, job.stage, job.run_id, job.attempt) == (JobStatus.PROCESSING, JobStage.PREPARING, "run-1", 1)
    assert job.started_at is not None
    assert [(past.attempt, past.run_id, past.ended_at) for past in job.attempts] == [(1, "run-1", None)]


@pytest.mark.parametrize("attempt", [1, None])
def test_ensure_claim_when_a_later_step_or_a_retry_asks_confirms_it_and_writes_nothing(
    jobs: JobRepository, claim: Claim, attempt: int | None
) -> None:
    before = claim.job()

    assert ensure_claim(jobs, claim.job_id, "run-1", attempt=attempt) == claim
    assert claim.job() == before


def test_ensure_claim_when_the_run_was_launched_by_hand_takes_the_current_attempt(
    jobs: JobRepository, database: Database
) -> None:
    job = store_job(database, status="queued", attempt=4, queued_at=utc_now())

    assert ensure_claim(jobs, job.job_id, "run-1", attempt=None).attempt == 4


@pytest.mark.parametrize("attempt", [0, 2])
def test_ensure_claim_when_the_attempt_is_not_the_current_one_is_refused(
    jobs: JobRepository, queued: JobModel, attempt: int
) -> None:
    with pytest.raises(SupersededError):
        ensure_claim(jobs, queued.job_id, "run-1", attempt=attempt)

    assert jobs.get_job(queued.job_id) == queued


@pytest.mark.parametrize("attempt", [1, None])
def test_ensure_claim_when_another_run_has_it_is_refused(
    jobs: JobRepository, claim: Claim, attempt: int | None
) -> None:
    with pytest.raises(SupersededError, match="run-1"):
        ensure_claim(jobs, claim.job_id, "run-2", attempt=attempt)

    assert claim.job().run_id == "run-1"


@pytest.mark.parametrize("status", ["completed", "cancelled"])
@pytest.mark.parametrize("is_reexecution", [True, False])
def test_ensure_claim_when_the_job_is_over_is_refused(
    jobs: JobRepository, database: Database, status: str, is_reexecution: bool
) -> None:
    job = store_job(database, status=status, attempt=1)

    with pytest.raises(SupersededError, match=status):
        ensure_claim(jobs, job.job_id, "run-2", attempt=1, is_reexecution=is_reexecution)


def test_ensure_claim_when_the_upload_is_not_over_is_refused_even_to_a_reexecution(
    jobs: JobRepository, database: Database
) -> None:
    job = store_job(database, status="pending")

    with pytest.raises(SupersededError):
        ensure_claim(jobs, job.job_id, "run-2", attempt=None)
    with pytest.raises(InvalidTransitionError):
        ensure_claim(jobs, job.job_id, "run-2", attempt=None, is_reexecution=True)


def _failed(claim: Claim) -> None:
    claim.fail(describe_error(UnreadableAudioError("damaged")))


def _processing(claim: Claim) -> None:
    claim.enter_stage(JobStage.TRANSCRIBING)


@pytest.mark.parametrize("before", [_failed, _processing])
def test_ensure_claim_when_reexecuted_takes_the_next_attempt_once(
    jobs: JobRepository, claim: Claim, before: Callable[[Claim], None]
) -> None:
    before(claim)

    taken = ensure_claim(jobs, claim.job_id, "run-2", attempt=1, is_reexecution=True)
    again = ensure_claim(jobs, claim.job_id, "run-2", attempt=1, is_reexecution=True)

    job = taken.job()
    assert taken == again
    assert (job.attempt, job.run_id, job.status, job.error) == (2, "run-2", JobStatus.PROCESSING, None)
    assert [past.run_id for past in job.attempts] == ["run-1", "run-2"]


def test_every_write_of_a_zombie_when_another_run_took_over_is_superseded(jobs: JobRepository, claim: Claim) -> None:
    taken = ensure_claim(jobs, claim.job_id, "run-2", attempt=1, is_reexecution=True)
    before = taken.job()

    for write in (
        claim.job,
        lambda: claim.update(JobUpdate(language="xx")),
        lambda: claim.enter_stage(JobStage.MERGING),
        lambda: claim.complete(RESULT),
        lambda: claim.fail(describe_error(EngineError("died"))),
        lambda: ensure_claim(jobs, claim.job_id, "run-1", attempt=1),
        lambda: ensure_claim(jobs, claim.job_id, "run-1", attempt=1, is_reexecution=True),
    ):
        with pytest.raises(SupersededError):
            write()

    assert claim.is_lost()
    assert not taken.is_lost()
    assert taken.job() == before


@pytest.mark.parametrize(("attempt", "run_id"), [(2, "run-1"), (1, "run-2")])
def test_claim_when_attempt_and_run_do_not_both_match_is_lost(claim: Claim, attempt: int, run_id: str) -> None:
    assert Claim(claim.jobs, claim.job_id, attempt, run_id).is_lost()
    assert not claim.is_lost()


def test_claim_when_the_job_is_cancelled_is_lost(jobs: JobRepository, claim: Claim) -> None:
    cancel_job(jobs, claim.job_id)

    assert claim.is_lost()
    with pytest.raises(SupersededError, match="cancelled"):
        claim.complete(RESULT)
    assert jobs.get_job(claim.job_id).status is JobStatus.CANCELLED


def test_enter_stage_when_several_steps_say_the_same_writes_once(claim: Claim) -> None:
    first = claim.enter_stage(JobStage.TRANSCRIBING)

    assert claim.enter_stage(JobStage.TRANSCRIBING) == first
    assert first.stage is JobStage.TRANSCRIBING


def test_complete_when_repeated_changes_nothing(jobs: JobRepository, claim: Claim) -> None:
    done = claim.complete(RESULT)

    assert claim.complete(RESULT) == done
    assert (done.status, done.stage, done.result, done.language) == (JobStatus.COMPLETED, None, RESULT, "en")
    assert done.completed_at is not None
    assert done.attempts[0].ended_at is not None
    assert done.attempts[0].error is None
    assert jobs.get_job(claim.job_id) == done


def test_fail_when_the_error_is_permanent_ends_the_job(claim: Claim) -> None:
    job = claim.fail(describe_error(UnreadableAudioError("damaged", mend="Send it again."), JobStage.PREPARING))

    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert (job.error.kind, job.error.mend, job.error.stage) == ("unreadable-audio", "Send it again.", "preparing")
    assert job.attempts[0].error == job.error
    assert job.completed_at is not None


def test_fail_when_the_error_is_transient_leaves_the_job_to_the_recovery_and_to_a_step_retry(claim: Claim) -> None:
    job = claim.fail(describe_error(EngineError("died")))

    assert job.status is JobStatus.PROCESSING
    assert job.error is not None
    assert job.error.transient
    assert claim.complete(RESULT).error is None


def test_describe_error_when_nobody_named_it_is_permanent_and_storable() -> None:
    error = describe_error(ValueError("bad name \udc80" + "x" * 5000))

    assert (error.kind, error.transient) == ("unexpected", False)
    assert error.message.startswith("ValueError: bad name ?")
    assert len(error.message) == 2000
    error.message.encode()
