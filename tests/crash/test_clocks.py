"""Hosts whose clocks are ten minutes off: no job waits for that, none fails for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dagster import DagsterRunStatus

from stt_core.failpoints import Failpoint
from stt_core.jobs.job import JobStatus
from tests.crash.clock import clock_off_by
from tests.crash.conftest import KILLED, System

OFF = pytest.mark.parametrize("off", [600, -600], ids=["ahead", "behind"])

UploadBy = Callable[[float], str]


@pytest.fixture
def upload_by(system: System, monkeypatch: pytest.MonkeyPatch) -> UploadBy:
    """Upload by an API whose clock is so many seconds ahead."""

    def upload(clock: float) -> str:
        with monkeypatch.context() as patch:
            patch.setattr("stt_core.stores.documents.datetime", clock_off_by(clock))
            return system.upload()

    return upload


@OFF
def test_job_when_the_clock_of_the_api_is_off_then_is_launched_at_once(
    system: System, undisturbed: dict[str, Any], upload_by: UploadBy, off: float
) -> None:
    job_id = upload_by(off)
    assert system.order("recover") == 0 and system.order("launch") == 0
    assert system.work() == [0]
    assert system.services.jobs.get_job(job_id).status is JobStatus.COMPLETED
    assert system.transcript(job_id) == undisturbed


def test_jobs_when_the_clock_of_one_api_is_off_then_each_api_keeps_its_order(
    system: System, undisturbed: dict[str, Any], upload_by: UploadBy
) -> None:
    right, ahead = [], []
    for _ in range(2):
        ahead.append(upload_by(600))
        right.append(upload_by(0))
    waiting = [member.partition(":")[0] for member in system.services.queue.peek(4)]
    assert waiting == right + ahead
    for job_id in waiting:
        assert system.settle(job_id).attempt == 1


@OFF
def test_run_when_the_clock_of_the_api_is_off_then_has_its_time_to_claim_and_no_more(
    system: System, undisturbed: dict[str, Any], upload_by: UploadBy, off: float
) -> None:
    job_id = upload_by(off)
    assert system.order("launch") == 0
    [run] = [run for run in system.instance.get_runs() if not run.is_finished]
    settings = system.services.settings
    looks = int(settings.start_timeout_seconds / settings.reconcile_seconds)

    def status_after(looks: int) -> DagsterRunStatus:
        for _ in range(looks):
            assert system.order("recover") == 0
        launched = system.instance.get_run_by_id(run.run_id)
        assert launched is not None
        return launched.status

    assert status_after(looks) is DagsterRunStatus.NOT_STARTED
    assert status_after(2) is DagsterRunStatus.FAILURE
    job = system.settle(job_id)
    assert (job.status, job.attempt, job.failures) == (JobStatus.COMPLETED, 2, 0)


@OFF
def test_next_attempt_when_the_clock_of_the_worker_was_off_then_is_launched_at_once(
    system: System, undisturbed: dict[str, Any], off: float
) -> None:
    job_id = system.upload()
    system.arm(Failpoint.CHUNKS_PLANNED)
    assert system.order("launch") == 0
    assert system.work(clock=off) == [KILLED]
    job = system.settle(job_id, worker_clock=off)
    assert (job.status, job.attempt, job.failures) == (JobStatus.COMPLETED, 2, 1)
    assert system.transcript(job_id) == undisturbed


@OFF
def test_next_attempt_when_the_clock_of_the_daemon_was_set_right_then_is_launched_at_once(
    system: System, undisturbed: dict[str, Any], off: float
) -> None:
    job_id = system.upload()
    system.arm(Failpoint.CHUNKS_PLANNED)
    assert system.order("launch", clock=off) == 0
    assert system.work() == [KILLED]
    assert system.order("recover", clock=off) == 0
    assert system.services.jobs.get_job(job_id).status is JobStatus.QUEUED
    job = system.settle(job_id)
    assert (job.status, job.attempt, job.failures) == (JobStatus.COMPLETED, 2, 1)
