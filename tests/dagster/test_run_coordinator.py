"""Which runs are launched at once, and which wait in Dagster's queue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.test_utils import create_run_for_test, instance_for_test

from stt_core.settings import Settings
from stt_dagster.runtime.names import PARTITION

#: Dagster's own stand-in for the launcher, since there is no code server here; it keeps runs as they are.
LAUNCHER = {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"}

JOB = "transcribe_recording"
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("stt"), "__repository__"), JOB)


@pytest.fixture
def instance(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    settings = Settings(MAX_CONCURRENT_RUNS=2, MAX_CONCURRENT_BACKFILLS=1)
    monkeypatch.setattr("stt_dagster.runtime.run_coordinator.get_settings", lambda: settings)
    coordinator = {
        "module": "stt_dagster.runtime.run_coordinator",
        "class": "LaneRunCoordinator",
        "config": getattr(request, "param", {}),
    }
    with instance_for_test(overrides={"run_coordinator": coordinator, "run_launcher": LAUNCHER}) as own:
        yield own


def submit(instance: DagsterInstance, **details: Any) -> DagsterRunStatus:
    run: DagsterRun = create_run_for_test(instance, job_name=JOB, remote_job_origin=ORIGIN, **details)
    submitted = instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))  # type: ignore[arg-type]
    return submitted.status


def test_upload_when_its_lane_has_room_is_launched_at_once(instance: DagsterInstance) -> None:
    launched, waiting = DagsterRunStatus.STARTING, DagsterRunStatus.QUEUED
    assert [submit(instance) for _ in range(3)] == [launched, launched, waiting]


def test_upload_when_a_run_has_ended_takes_its_place(instance: DagsterInstance) -> None:
    create_run_for_test(instance, job_name=JOB, status=DagsterRunStatus.SUCCESS)
    create_run_for_test(instance, job_name=JOB, status=DagsterRunStatus.STARTED)
    assert submit(instance) is DagsterRunStatus.STARTING


def test_object_of_a_backfill_waits_in_dagsters_queue(instance: DagsterInstance) -> None:
    assert submit(instance, tags={PARTITION: "a.mp3"}) is DagsterRunStatus.QUEUED


@pytest.mark.parametrize("instance", [{"max_concurrent_runs": 5}], indirect=True)
def test_upload_when_dagster_yaml_has_a_limit_of_its_own_waits_in_dagsters_queue(instance: DagsterInstance) -> None:
    assert submit(instance) is DagsterRunStatus.QUEUED


def test_upload_when_dagster_is_another_release_waits_in_dagsters_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stt_dagster.runtime.run_coordinator.is_tested", lambda: False)
    coordinator = {"module": "stt_dagster.runtime.run_coordinator", "class": "LaneRunCoordinator"}
    with instance_for_test(overrides={"run_coordinator": coordinator, "run_launcher": LAUNCHER}) as own:
        assert submit(own) is DagsterRunStatus.QUEUED
