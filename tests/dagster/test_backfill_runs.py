"""Runs for objects of buckets that fail or wait: which job and which attempt comes next, and in which backfill."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from stt_core.backfill.discovery import Round, discover_next, record_page
from stt_core.backfill.opening import open_object
from stt_core.engines.process import find_executable
from stt_core.errors import DatabaseUnavailableError
from stt_core.jobs.job import JobStatus, JobUpdate
from stt_core.services import Services
from tests.dagster.conftest import TRANSCRIPTS, Configure, Materialize, Put, current, raising, run_of, script
from tests.multilingual_model import MODEL


def failed_run(
    instance: DagsterInstance, partition: str, status: DagsterRunStatus = DagsterRunStatus.FAILURE
) -> DagsterRun:
    return create_run_for_test(
        instance,
        job_name="__ASSET_JOB",
        status=status,
        asset_selection=frozenset({TRANSCRIPTS}),
        tags={"dagster/partition": partition, "dagster/backfill": "mine"},
    )


@pytest.fixture
def unopened(put: Put, instance: DagsterInstance) -> DagsterRun:
    """The run of a backfill that failed before it opened a job for its object."""
    partition = put()
    record_page(current(), discover_next(current(), Round())[0])
    return failed_run(instance, partition)


def test_run_when_its_engine_dies_gets_its_next_attempt_from_the_sensor_in_the_same_backfill(
    services: Services,
    put: Put,
    materialize: Materialize,
    instance: DagsterInstance,
    configure: Configure,
    tmp_path: Path,
) -> None:
    from stt_dagster.backfill_runs import next_runs
    from stt_dagster.runs import settle_run

    partition = put()
    configure(whisper_cpp_executable=script(tmp_path / "engine", "kill -SEGV $$"))
    result = materialize(partition, **{"dagster/backfill": "mine", "stt/model": MODEL})
    run = run_of(instance, result.run_id)
    assert run.status is DagsterRunStatus.FAILURE
    settle_run(instance, current(), run)
    [job] = services.jobs.find_versions([partition])
    assert (job.status, job.attempt, job.failures) == (JobStatus.QUEUED, 2, 1)
    services.jobs.modify_job(job.job_id, lambda _: JobUpdate(not_before=None))

    [request] = next_runs(instance, current())
    assert (request.run_key, request.partition_key) == (f"{job.job_id}:2", partition)
    assert (request.tags["dagster/backfill"], request.tags["stt/model"]) == ("mine", MODEL)
    configure(whisper_cpp_executable=str(find_executable("stt-whisper-cli")))
    assert materialize(partition, request).success
    [job] = services.jobs.find_versions([partition])
    assert (job.status, job.attempt) == (JobStatus.COMPLETED, 2)
    assert next_runs(instance, current()) == []


def test_run_when_it_fails_before_it_opened_a_job_gets_another_in_the_same_backfill(
    unopened: DagsterRun, services: Services, instance: DagsterInstance
) -> None:
    from stt_dagster.backfill_runs import next_runs
    from stt_dagster.runs import settle_run

    for _ in range(2):
        settle_run(instance, current(), unopened)
    [job] = services.jobs.find_versions([unopened.tags["dagster/partition"]])
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 1)
    [request] = next_runs(instance, current())
    assert (request.run_key, request.tags["dagster/backfill"]) == (f"{job.job_id}:1", "mine")


@pytest.mark.parametrize("had_another_run", [False, True])
def test_run_when_it_fails_before_it_opened_a_job_and_mongodb_is_away_gets_another_once_it_is_back(
    unopened: DagsterRun,
    services: Services,
    instance: DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    had_another_run: bool,
) -> None:
    from stt_dagster.runs import settle_run, settle_untold_runs

    partition = unopened.tags["dagster/partition"]
    settle_untold = partial(settle_untold_runs, instance, current())
    with monkeypatch.context() as patch:
        patch.setattr("stt_dagster.runs.open_known_object", raising(DatabaseUnavailableError("MongoDB is away.")))
        for settle in (partial(settle_run, instance, current(), unopened), settle_untold):
            with pytest.raises(DatabaseUnavailableError):
                settle()
    if had_another_run:
        failed_run(instance, partition)
    for _ in range(2):
        settle_untold()

    jobs = [(job.status, job.attempt) for job in services.jobs.find_versions([partition])]
    assert jobs == ([] if had_another_run else [(JobStatus.QUEUED, 1)])
    assert run_of(instance, unopened.run_id).tags["stt/untold"] == "false"


@pytest.mark.parametrize("told_by", ["cancellation_sensor", "backfill_sensor"])
def test_run_when_it_is_cancelled_before_it_is_known_to_have_opened_a_job_takes_that_with_it(
    services: Services, put: Put, instance: DagsterInstance, told_by: str
) -> None:
    from stt_dagster.backfill_runs import next_runs
    from stt_dagster.runs import settle_run

    partition = put()
    run = failed_run(instance, partition, DagsterRunStatus.CANCELED)
    job = open_object(current(), partition, run.run_id)
    if told_by == "cancellation_sensor":
        settle_run(instance, current(), run)

    assert next_runs(instance, current()) == []
    assert services.jobs.get_job(job.job_id).status is JobStatus.CANCELLED
    later = open_object(current(), partition, "another run, which died")
    settle_run(instance, current(), run_of(instance, run.run_id))
    [request] = next_runs(instance, current())
    assert request.run_key == f"{later.job_id}:1"


def test_job_when_the_run_that_opened_it_is_about_to_claim_it_gets_no_other(
    put: Put, instance: DagsterInstance
) -> None:
    from stt_dagster.backfill_runs import next_runs

    partition = put()
    run = failed_run(instance, partition, DagsterRunStatus.STARTED)
    open_object(current(), partition, run.run_id)
    assert next_runs(instance, current()) == []
    instance.report_run_failed(run)
    assert len(next_runs(instance, current())) == 1


def test_waiting_job_when_its_partition_is_gone_is_cancelled(
    services: Services, put: Put, instance: DagsterInstance
) -> None:
    from stt_dagster.backfill_runs import next_runs

    partition = put()
    job = open_object(current(), partition, "a run that died before it claimed it")
    [request] = next_runs(instance, current())
    assert request.run_key == f"{job.job_id}:1"
    instance.delete_dynamic_partition("bucket_objects", partition)
    assert next_runs(instance, current()) == []
    assert services.jobs.get_job(job.job_id).status is JobStatus.CANCELLED
