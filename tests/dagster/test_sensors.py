"""The sensors on real servers and a Dagster instance of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunRequest, SkipReason, build_sensor_context
from dagster._core.test_utils import create_run_for_test

from stt_core.jobs.claims import ensure_claim
from stt_core.jobs.heartbeats import PATIENCE
from stt_core.jobs.models import JobCreate, JobOptions, JobStatus
from stt_core.jobs.recovery import cancel_job, fail_broken_uploads, recover_failed_run
from stt_core.services import Services
from tests.dagster.conftest import RunJob, Upload


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as own:
        yield own


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stt_dagster.sensors.QUEUE_WAIT_SECONDS", 0.3)


def tick(instance: DagsterInstance) -> list[RunRequest] | SkipReason:
    from stt_dagster.resources import SttResource
    from stt_dagster.sensors import queue_sensor

    with build_sensor_context(instance=instance, resources={"stt": SttResource()}) as context:
        return queue_sensor(context)  # type: ignore[return-value]


def test_queue_sensor_when_jobs_wait_requests_the_most_urgent_first_within_capacity(
    services: Services, upload: Upload, instance: DagsterInstance
) -> None:
    low, high, normal = (upload("sample-01.mp3", priority=priority) for priority in ("low", "high", "normal"))
    requests = tick(instance)
    assert isinstance(requests, list)
    assert [request.run_key for request in requests] == [f"{high}:1", f"{normal}:1"]
    assert requests[0].tags["stt/job_id"] == high
    assert services.jobs.get_job(low).status is JobStatus.QUEUED


def test_queue_sensor_when_asked_again_does_not_launch_twice(
    services: Services, upload: Upload, instance: DagsterInstance
) -> None:
    upload("sample-01.mp3")
    assert isinstance(tick(instance), list)
    assert isinstance(tick(instance), SkipReason)


def test_queue_sensor_when_every_slot_is_taken_launches_nothing(
    services: Services, upload: Upload, instance: DagsterInstance
) -> None:
    upload("sample-01.mp3")
    for _ in range(services.settings.max_concurrent_runs):
        create_run_for_test(instance, job_name="transcribe_recording", status=DagsterRunStatus.STARTED)
    assert isinstance(tick(instance), SkipReason)


def test_failed_run_when_it_had_the_job_brings_the_next_attempt(
    services: Services, upload: Upload, run_job: RunJob
) -> None:
    job_id = upload("sample-01.mp3")
    ensure_claim(services.jobs, job_id, "run-1", attempt=1)
    job = recover_failed_run(
        services.jobs, services.queue, services.settings, job_id=job_id, run_id="run-1", attempt=1, reason="killed"
    )
    assert (job.status, job.attempt, job.failures) == (JobStatus.QUEUED, 2, 1)
    assert job.member in services.queue.members()


def test_workspace_when_loaded_holds_every_definition() -> None:
    from stt_dagster.definitions import defs

    repository = defs.get_repository_def()
    assert {job.name for job in repository.get_all_jobs()} >= {"transcribe_recording"}
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "queue_sensor", "failure_sensor", "cancellation_sensor", "reconciler_sensor",
    }  # fmt: skip


def test_reconciler_when_a_run_gives_no_sign_of_life_fails_it_so_that_its_job_goes_on(
    services: Services, upload: Upload, instance: DagsterInstance
) -> None:
    from stt_dagster.jobs import run_request
    from stt_dagster.resources import SttResource
    from stt_dagster.sensors import reconciler_sensor

    dead, alive = upload("sample-01.mp3"), upload("sample-01.mp3")
    runs = {}
    for job_id in (dead, alive):
        config = run_request(services.jobs.get_job(job_id), services.settings).run_config
        run = create_run_for_test(
            instance, job_name="transcribe_recording", run_config=config, status=DagsterRunStatus.STARTED
        )
        runs[job_id] = run.run_id
        ensure_claim(services.jobs, job_id, run.run_id, attempt=1)
    cursor = None
    for _ in range(PATIENCE + 1):
        services.heartbeats.beat(alive)
        with build_sensor_context(instance=instance, cursor=cursor, resources={"stt": SttResource()}) as context:
            reconciler_sensor(context)
            cursor = context.cursor
    statuses = {job_id: instance.get_run_by_id(run_id).status for job_id, run_id in runs.items()}  # type: ignore[union-attr]
    assert statuses == {dead: DagsterRunStatus.FAILURE, alive: DagsterRunStatus.STARTED}


def test_silent_run_when_dagster_does_not_know_it_then_its_job_is_seen_to(
    services: Services, upload: Upload, instance: DagsterInstance
) -> None:
    from stt_dagster.sensors import end_silent_run

    job_id = upload("sample-01.mp3")
    ensure_claim(services.jobs, job_id, "6a0ff2f3-0000-4000-8000-000000000000", attempt=1)
    end_silent_run(instance, services, services.jobs.get_job(job_id))
    job = services.jobs.get_job(job_id)
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 2)
    assert job.member in services.queue.members()


def test_useless_runs_when_never_claimed_or_already_over_are_failed(
    services: Services, upload: Upload, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stt_dagster.jobs import run_request
    from stt_dagster.sensors import end_useless_runs

    unclaimed, cancelled, working = (upload("sample-01.mp3") for _ in range(3))
    runs = {}
    for job_id in (unclaimed, cancelled, working):
        config = run_request(services.jobs.get_job(job_id), services.settings).run_config
        run = create_run_for_test(
            instance, job_name="transcribe_recording", run_config=config, status=DagsterRunStatus.STARTED
        )
        runs[job_id] = run.run_id
    ensure_claim(services.jobs, working, runs[working], attempt=1)
    cancel_job(services.jobs, cancelled)

    def statuses() -> dict[str, DagsterRunStatus]:
        return {job_id: instance.get_run_by_id(run_id).status for job_id, run_id in runs.items()}  # type: ignore[union-attr]

    end_useless_runs(instance, services)
    assert set(statuses().values()) == {DagsterRunStatus.STARTED}  # START_TIMEOUT_SECONDS are not over
    later = services.settings.model_copy(update={"start_timeout_seconds": 0.0})
    end_useless_runs(instance, replace(services, settings=later))
    assert statuses() == {
        unclaimed: DagsterRunStatus.FAILURE,
        cancelled: DagsterRunStatus.FAILURE,
        working: DagsterRunStatus.STARTED,
    }


def test_cancelled_run_when_it_had_not_claimed_its_job_cancels_it_all_the_same(
    services: Services, upload: Upload
) -> None:
    job_id = upload("sample-01.mp3")
    assert cancel_job(services.jobs, job_id, run_id="another-run", attempt=7).status is JobStatus.QUEUED
    assert cancel_job(services.jobs, job_id, run_id="its-run", attempt=1).status is JobStatus.CANCELLED


def test_upload_when_it_was_never_finished_fails_and_leaves_no_object(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = services.jobs.create_job(JobCreate(filename="cut.wav", options=JobOptions(model="demo")))
    key = f"uploads/{job.job_id}/source.wav"
    services.store.put_bytes(key, b"half")
    assert fail_broken_uploads(services.jobs, services.store) == 0
    monkeypatch.setattr("stt_core.jobs.recovery._UPLOAD_SECONDS", 0.0)
    assert fail_broken_uploads(services.jobs, services.store) == 1
    broken = services.jobs.get_job(job.job_id)
    assert broken.status is JobStatus.FAILED and broken.error is not None and broken.error.kind == "upload-broken"
    assert not services.store.exists(key)
