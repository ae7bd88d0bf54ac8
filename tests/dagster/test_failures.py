"""Why a run failed, read from its events: what the job could not be told itself."""

from __future__ import annotations

from typing import Any

import pytest
from dagster import DagsterInstance

from stt_core.errors import DatabaseUnavailableError, StoreUnavailableError
from stt_core.jobs.claims import Claim
from stt_core.jobs.job import JobStatus
from stt_core.processing.handover import PreparedAudio, RecordingPlan
from stt_core.services import Services
from stt_core.settings import get_settings
from tests.dagster.conftest import RunJob, Upload, raising, run_of
from tests.dagster.test_graph import silence


def settle(instance: DagsterInstance, services: Services, run_id: str) -> None:
    from stt_dagster.runs import settle_run

    run = run_of(instance, run_id)
    settle_run(instance, services, run)


def test_failed_run_when_its_job_could_not_be_told_that_it_fails_for_good_tells_it_afterwards(
    services: Services, upload: Upload, run_job: RunJob, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = upload(silence(0))
    with monkeypatch.context() as patch:
        patch.setattr(Claim, "fail", raising(DatabaseUnavailableError("MongoDB is away.")))
        result = run_job(job_id, instance=instance)
    assert services.jobs.get_job(job_id).status is JobStatus.PROCESSING

    settle(instance, services, result.run_id)

    job = services.jobs.get_job(job_id)
    assert job.status is JobStatus.FAILED and job.error is not None
    assert (job.error.kind, job.error.stage, job.error.transient) == ("no-audio", "preparing", False)
    assert job.error.mend
    past = job.attempts[-1]
    assert (past.run_id, past.error) == (result.run_id, job.error)
    assert past.ended_at is not None and past.host


def test_failed_run_when_an_output_could_not_be_stored_is_an_outage(
    services: Services, upload: Upload, run_job: RunJob, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = upload("sample-01.mp3")
    away = StoreUnavailableError("The object store is away.", mend="Start it.")
    monkeypatch.setattr("stt_dagster.io_manager.JsonIOManager.handle_output", raising(away))
    result = run_job(job_id, instance=instance)
    assert not result.success

    settle(instance, services, result.run_id)

    job = services.jobs.get_job(job_id)
    assert (job.status, job.attempt, job.failures) == (JobStatus.QUEUED, 2, 0)
    assert job.error is not None
    assert (job.error.kind, job.error.outage) == ("store-unavailable", True)
    assert job.error.message == "The object store is away. Start it."


def test_prepared_audio_when_it_is_gone_is_prepared_again_by_the_next_attempt(
    services: Services, upload: Upload, run_job: RunJob, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stt_dagster import ops

    job_id = upload("sample-01.mp3")
    plan = ops.plan_recording

    def plan_without(services: Services, claim: Claim, prepared: PreparedAudio, **options: Any) -> RecordingPlan:
        services.store.remove_prefix(f"audio/{job_id}/")
        return plan(services, claim, prepared, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ops, "plan_recording", plan_without)
        result = run_job(job_id, instance=instance)
    assert not any(event.is_step_up_for_retry for event in result.all_events)

    settle(instance, services, result.run_id)

    job = services.jobs.get_job(job_id)
    assert (job.status, job.attempt, job.failures) == (JobStatus.QUEUED, 2, 1)
    assert job.error is not None and job.error.kind == "prepared-audio-gone"
    assert run_job(job_id, instance=instance).success


def test_retries_of_a_step_when_there_are_many_wait_no_longer_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    from stt_dagster import steps

    settings = get_settings().model_copy(update={"retry_backoff_seconds": 5.0, "retry_backoff_max_seconds": 12.0})
    monkeypatch.setattr(steps, "get_settings", lambda: settings)

    waits = [steps.RETRY_POLICY.calculate_delay(number) for number in (1, 2, 3, 50)]

    assert 2.5 <= waits[0] <= 5 <= waits[1] <= 10
    assert all(6 <= wait <= 12 for wait in waits[2:])
