"""The sensors on real servers and a Dagster instance of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    RunRequest,
    SensorEvaluationContext,
    SkipReason,
    build_run_status_sensor_context,
    build_sensor_context,
)
from dagster._core.test_utils import create_run_for_test
from loguru import logger

from stt_core.jobs.claims import ensure_claim
from stt_core.jobs.job import JobCreate, JobModel, JobOptions, JobStatus, new_job_id
from stt_core.jobs.recovery import cancel_job, fail_broken_uploads, recover_failed_run
from stt_core.services import Services
from stt_core.stores.documents import utc_now
from tests.dagster.conftest import Upload, run_of

if TYPE_CHECKING:
    from loguru import Record


@pytest.fixture
def lines() -> Iterator[list[Record]]:
    """Every line that is logged in the test."""
    records: list[Record] = []
    sink = logger.add(lambda message: records.append(message.record), level="INFO")
    yield records
    logger.remove(sink)


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stt_dagster.sensors.QUEUE_WAIT_SECONDS", 0.3)


def tick(instance: DagsterInstance) -> list[RunRequest] | SkipReason:
    from stt_dagster.sensors import queue_sensor

    with build_sensor_context(instance=instance) as context:
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
    services: Services,
    upload: Upload,
) -> None:
    job_id = upload("sample-01.mp3")
    ensure_claim(services.jobs, job_id, "run-1", attempt=1)
    job = recover_failed_run(
        services.jobs, services.queue, services.settings, job_id=job_id, run_id="run-1", attempt=1, reason="killed"
    )
    assert (job.status, job.attempt, job.failures) == (JobStatus.QUEUED, 2, 1)
    assert job.member in services.queue.members()


def test_open_instance_when_ticks_bring_the_same_reference_then_it_is_opened_once(tmp_path: Path) -> None:
    from stt_dagster.resources import open_instance

    with DagsterInstance.local_temp(str(tmp_path)) as own:
        ticks = [SensorEvaluationContext(own.get_ref(), None, None, None, "stt") for _ in range(2)]
        opened = [open_instance(context) for context in ticks]
        assert opened[0].run_storage.get_runs() == []
        assert opened[0] is opened[1]


def test_workspace_when_loaded_holds_every_definition() -> None:
    from stt_dagster.definitions import defs

    repository = defs.get_repository_def()
    assert {job.name for job in repository.get_all_jobs()} >= {"transcribe_recording"}
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "queue_sensor", "failure_sensor", "cancellation_sensor", "reconciler_sensor", "webhook_sensor",
        "backfill_sensor", "discovery_sensor",
    }  # fmt: skip


def reconcile(instance: DagsterInstance, times: int = 1, between: Callable[[], object] = bool) -> None:
    from stt_dagster.sensors import reconciler_sensor

    cursor = None
    for _ in range(times):
        between()
        with build_sensor_context(instance=instance, cursor=cursor) as context:
            reconciler_sensor(context)
            cursor = context.cursor


def launch(
    services: Services, instance: DagsterInstance, job_id: str, status: DagsterRunStatus = DagsterRunStatus.STARTED
) -> str:
    """Put a run of the job's attempt into Dagster's storage, as the daemon would; there is no process behind it."""
    from stt_dagster.jobs import run_request

    job = services.jobs.get_job(job_id)
    request = run_request(job, services.settings)
    run = create_run_for_test(
        instance,
        job_name="transcribe_recording",
        run_config=request.run_config,
        tags={**request.tags, "dagster/run_key": job.member},
        status=status,
    )
    return str(run.run_id)


def status_of(instance: DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = run_of(instance, run_id)
    return run.status


def test_reconciler_when_a_run_gives_no_sign_of_life_fails_it_so_that_its_job_goes_on(
    services: Services, upload: Upload, instance: DagsterInstance
) -> None:
    dead, alive = upload("sample-01.mp3"), upload("sample-01.mp3")
    runs = {job_id: launch(services, instance, job_id) for job_id in (dead, alive)}
    for job_id, run_id in runs.items():
        ensure_claim(services.jobs, job_id, run_id, attempt=1)
    looks = round(services.settings.run_silence_seconds / services.settings.reconcile_seconds) + 1

    reconcile(instance, looks - 1, between=lambda: services.heartbeats.beat(runs[alive]))
    assert {status_of(instance, run_id) for run_id in runs.values()} == {DagsterRunStatus.STARTED}
    reconcile(instance, looks, between=lambda: services.heartbeats.beat(runs[alive]))

    assert status_of(instance, runs[dead]) is DagsterRunStatus.FAILURE
    assert status_of(instance, runs[alive]) is DagsterRunStatus.STARTED
    job = services.jobs.get_job(dead)
    assert (job.status, job.attempt, job.failures) == (JobStatus.QUEUED, 2, 1)
    assert job.error is not None and job.error.kind == "run-crashed"
    assert job.member in services.queue.members()
    assert services.jobs.get_job(alive).attempt == 1


def test_reconciler_when_dagster_does_not_know_the_run_or_knows_that_it_is_over_goes_on_at_once(
    services: Services, upload: Upload, instance: DagsterInstance
) -> None:
    unknown, over, cancelled = (upload("sample-01.mp3") for _ in range(3))
    ensure_claim(services.jobs, unknown, "6a0ff2f3-0000-4000-8000-000000000000", attempt=1)
    ensure_claim(services.jobs, over, launch(services, instance, over, DagsterRunStatus.FAILURE), attempt=1)
    ensure_claim(services.jobs, cancelled, launch(services, instance, cancelled, DagsterRunStatus.CANCELED), attempt=1)

    reconcile(instance)

    for job_id in (unknown, over):
        job = services.jobs.get_job(job_id)
        assert (job.status, job.attempt, job.failures) == (JobStatus.QUEUED, 2, 1)
        assert job.member in services.queue.members()
    assert services.jobs.get_job(cancelled).status is JobStatus.CANCELLED


def test_queue_sensor_when_the_run_of_an_attempt_is_over_unheard_gives_the_next_attempt(
    services: Services, upload: Upload, instance: DagsterInstance
) -> None:
    failed, cancelled = upload("sample-01.mp3"), upload("sample-01.mp3")
    launch(services, instance, failed, DagsterRunStatus.FAILURE)
    launch(services, instance, cancelled, DagsterRunStatus.CANCELED)

    assert isinstance(tick(instance), SkipReason)

    job = services.jobs.get_job(failed)
    assert (job.status, job.attempt, job.failures) == (JobStatus.QUEUED, 2, 0)
    assert job.attempts[0].error is not None and job.attempts[0].error.kind == "run-not-begun"
    assert services.jobs.get_job(cancelled).status is JobStatus.CANCELLED


def test_queue_sensor_when_a_run_was_stored_and_not_launched_asks_for_it_again(
    services: Services, upload: Upload, instance: DagsterInstance
) -> None:
    job_id = upload("sample-01.mp3")
    launch(services, instance, job_id, DagsterRunStatus.NOT_STARTED)

    requests = tick(instance)

    assert isinstance(requests, list)
    assert [request.run_key for request in requests] == [f"{job_id}:1"]


def test_reconciler_when_runs_never_claim_or_have_no_job_any_more_ends_them(
    services: Services, upload: Upload, instance: DagsterInstance
) -> None:
    unclaimed, cancelled, deleted, working = (upload("sample-01.mp3") for _ in range(4))
    runs = {job_id: launch(services, instance, job_id) for job_id in (unclaimed, cancelled, deleted, working)}
    ensure_claim(services.jobs, working, runs[working], attempt=1)
    cancel_job(services.jobs, cancelled)
    services.jobs.delete_job(deleted)
    looks = round(services.settings.start_timeout_seconds / services.settings.reconcile_seconds) + 1

    reconcile(instance, looks - 1, between=lambda: services.heartbeats.beat(runs[working]))
    assert {status_of(instance, run_id) for run_id in runs.values()} == {DagsterRunStatus.STARTED}
    reconcile(instance, looks, between=lambda: services.heartbeats.beat(runs[working]))

    assert {job_id: status_of(instance, run_id) for job_id, run_id in runs.items()} == {
        unclaimed: DagsterRunStatus.FAILURE,
        cancelled: DagsterRunStatus.CANCELED,
        deleted: DagsterRunStatus.CANCELED,
        working: DagsterRunStatus.STARTED,
    }
    job = services.jobs.get_job(unclaimed)
    assert (job.status, job.attempt, job.failures) == (JobStatus.QUEUED, 2, 0)
    assert services.jobs.get_job(cancelled).status is JobStatus.CANCELLED


def test_reconciler_when_a_run_is_slow_to_claim_but_gives_signs_of_life_lets_it_go_on(
    services: Services, upload: Upload, instance: DagsterInstance
) -> None:
    job_id = upload("sample-01.mp3")
    run_id = launch(services, instance, job_id)
    looks = round(services.settings.start_timeout_seconds / services.settings.reconcile_seconds) + 1

    reconcile(instance, looks + 1, between=lambda: services.heartbeats.beat(run_id))
    assert status_of(instance, run_id) is DagsterRunStatus.STARTED
    assert services.jobs.get_job(job_id).attempt == 1

    reconcile(instance, 10 * looks, between=lambda: services.heartbeats.beat(run_id))
    assert status_of(instance, run_id) is DagsterRunStatus.FAILURE
    assert services.jobs.get_job(job_id).attempt == 2


def test_reconciler_when_a_cancelled_run_lost_its_process_ends_it_as_cancelled(
    services: Services, upload: Upload, instance: DagsterInstance
) -> None:
    job_id = upload("sample-01.mp3")
    run_id = launch(services, instance, job_id, DagsterRunStatus.CANCELING)
    ensure_claim(services.jobs, job_id, run_id, attempt=1)
    looks = round(services.settings.run_silence_seconds / services.settings.reconcile_seconds) + 1

    reconcile(instance, looks)

    assert status_of(instance, run_id) is DagsterRunStatus.CANCELED
    assert services.jobs.get_job(job_id).status is JobStatus.CANCELLED


def away(services: Services, monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Let the sensors look for servers where none are."""
    settings = services.settings.model_copy(update={"mongodb_timeout_seconds": 0.2, **changes})
    monkeypatch.setattr("stt_dagster.resources.open_services", lambda: Services.open(settings))


def test_sensors_when_mongodb_is_away_skip_with_one_warning_each_and_settle_the_job_later(
    services: Services, upload: Upload, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch, lines: list[Record]
) -> None:
    from stt_dagster.resources import SttResource
    from stt_dagster.sensors import failure_sensor

    job_id, waiting = upload("sample-01.mp3"), upload("sample-01.mp3")
    run_id = launch(services, instance, job_id)
    ensure_claim(services.jobs, job_id, run_id, attempt=1)
    run = run_of(instance, run_id)
    event = instance.report_run_failed(run, "It broke.")
    lines.clear()  # the first upload of a process may warn of its model
    with monkeypatch.context() as patch:
        away(services, patch, mongodb_url="mongodb://127.0.0.1:9")
        with build_run_status_sensor_context(
            "failure_sensor", event, instance, run, resources={"stt": SttResource()}
        ) as context:
            skipped = failure_sensor(context.for_run_failure())
        assert isinstance(skipped, SkipReason)
        assert "MongoDB" in (skipped.skip_message or "")
        assert [(line["level"].name, line["exception"]) for line in lines if line["level"].no >= 30] == [
            ("WARNING", None)
        ]
        assert isinstance(tick(instance), SkipReason)
        reconcile(instance)

    assert services.jobs.get_job(job_id).status is JobStatus.PROCESSING
    reconcile(instance)
    assert services.jobs.get_job(job_id).attempt == 2
    assert services.jobs.get_job(waiting).attempt == 1


def test_reconciler_when_the_store_is_away_restores_the_queue_all_the_same(
    services: Services, upload: Upload, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = services.jobs.get_job(upload("sample-01.mp3"))
    services.queue.remove(job.member)
    services.database.jobs.insert_one(
        JobModel(filename="cut.wav", options=JobOptions(model="demo"), updated_at=utc_now() - timedelta(days=1))
        .to_document()
    )  # fmt: skip
    away(services, monkeypatch, minio_endpoint="127.0.0.1:9")

    reconcile(instance)

    assert services.queue.members() == {job.member}


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
    announced = JobCreate(filename="a.wav", options=JobOptions(model="demo"))
    announced = announced.model_copy(update={"upload_expires_at": utc_now() + timedelta(days=7)})
    for _ in range(3):
        services.jobs.create_job(announced.model_copy(update={"job_id": new_job_id()}))
    assert fail_broken_uploads(services.jobs, services.store) == 0
    monkeypatch.setattr("stt_core.jobs.recovery._UPLOAD_SECONDS", -2.0)  # the embedded server compares whole seconds
    found = services.jobs.find_broken_uploads(utc_now() + timedelta(minutes=1), limit=1)  # whatever is announced since
    assert [broken.job_id for broken in found] == [job.job_id]
    assert fail_broken_uploads(services.jobs, services.store) == 1
    broken = services.jobs.get_job(job.job_id)
    assert broken.status is JobStatus.FAILED and broken.error is not None and broken.error.kind == "upload-broken"
    assert not services.store.exists(key)


def test_queue_sensor_when_the_code_server_is_told_to_end_then_waits_no_longer_and_launches_nothing(
    services: Services, instance: DagsterInstance, upload: Upload, monkeypatch: pytest.MonkeyPatch, lines: list[Record]
) -> None:
    from stt_dagster import sensors
    from stt_dagster.runtime import orphans

    monkeypatch.setattr(sensors, "QUEUE_WAIT_SECONDS", 30.0)
    monkeypatch.setattr(orphans, "_ending", threading.Event())
    assert sensors._ring in orphans._farewells

    def end() -> None:
        orphans._ending.set()
        sensors._ring()

    begun = time.monotonic()
    threading.Timer(0.5, end).start()
    answer = tick(instance)
    assert time.monotonic() - begun < 10
    assert isinstance(answer, SkipReason)
    assert "told to end" in str(answer.skip_message)
    assert [line for line in lines if line["level"].name != "INFO"] == []
    upload("sample-01.mp3")
    assert isinstance(tick(instance), SkipReason)
