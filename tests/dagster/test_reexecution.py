"""Runs that people start from the Dagster UI: re-executed whole, from their failure, or launched by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dagster import (
    DagsterInstance,
    JobDefinition,
    JobExecutionResult,
    ReexecutionOptions,
    execute_job,
    reconstructable,
)

from stt_core import object_keys
from stt_core.engines.process import find_executable
from stt_core.jobs.job import JobStatus
from stt_core.jobs.recovery import cancel_job, recover_failed_run
from stt_core.services import Services
from tests.dagster.conftest import DATA, Configure, EngineCalls, Upload, raising, run_of, script

Reexecute = Callable[..., JobExecutionResult]


def transcribe_recording() -> JobDefinition:
    """The job as the code server loads it."""
    from stt_dagster.definitions import defs

    return defs.resolve_job_def("transcribe_recording")


@pytest.fixture
def launch(services: Services, instance: DagsterInstance) -> Callable[[str], JobExecutionResult]:
    """Run a job's current attempt as the queue sensor does."""

    def launch(job_id: str) -> JobExecutionResult:
        from stt_dagster.jobs import run_request

        request = run_request(services.jobs.get_job(job_id), services.settings)
        return execute_job(
            reconstructable(transcribe_recording), instance, run_config=request.run_config, tags=request.tags
        )

    return launch


@pytest.fixture
def reexecute(instance: DagsterInstance) -> Reexecute:
    """Re-execute a run as the UI does: with the run's own config and tags."""

    def reexecute(before: JobExecutionResult, *, from_failure: bool) -> JobExecutionResult:
        parent = run_of(instance, before.run_id)
        options = ReexecutionOptions.from_failure(parent.run_id, instance)
        return execute_job(
            reconstructable(transcribe_recording),
            instance,
            run_config=parent.run_config,
            tags={name: tag for name, tag in parent.tags.items() if name.startswith("stt/")},
            reexecution_options=options if from_failure else ReexecutionOptions(parent.run_id),
        )

    return reexecute


def failed_at_merging(
    services: Services, job_id: str, launch: Callable[[str], JobExecutionResult], patch: pytest.MonkeyPatch
) -> JobExecutionResult:
    """Run a job to its merge, which fails for good."""
    with patch.context() as broken_merge:
        broken_merge.setattr("stt_dagster.ops.merge_recording", raising(ValueError("a defect")))
        result = launch(job_id)
    assert not result.success
    assert services.jobs.get_job(job_id).status is JobStatus.FAILED
    return result


def why(result: JobExecutionResult) -> str:
    """Return what the failed steps of a run say."""
    assert not result.success
    events = [event for event in result.all_events if event.is_step_failure]
    return "\n".join(str(event.step_failure_data.user_failure_data) for event in events)


@pytest.mark.parametrize("from_failure", [True, False])
def test_reexecution_when_the_job_failed_for_good_completes_it_and_transcribes_nothing_twice(
    services: Services,
    upload: Upload,
    launch: Callable[[str], JobExecutionResult],
    reexecute: Reexecute,
    engine_calls: EngineCalls,
    instance: DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    from_failure: bool,
) -> None:
    job_id = upload("sample-01.mp3")
    before = failed_at_merging(services, job_id, launch, monkeypatch)
    calls = len(engine_calls())
    result = reexecute(before, from_failure=from_failure)
    assert result.success
    assert len(engine_calls()) == calls == 1
    job = services.jobs.get_job(job_id)
    assert (job.status, job.attempt, job.run_id, job.error) == (JobStatus.COMPLETED, 2, result.run_id, None)
    assert services.tasks.get_task_result(job_id).text.split() == (DATA / "sample-01.txt").read_text().split()
    run = run_of(instance, result.run_id)
    assert (run.tags["stt/attempt"], run.tags["stt/lane"]) == ("2", "upload")


def test_reexecution_from_failure_when_the_job_waits_in_its_backoff_takes_it_and_keeps_finished_chunks(
    services: Services,
    upload: Upload,
    launch: Callable[[str], JobExecutionResult],
    reexecute: Reexecute,
    configure: Configure,
    tmp_path: Path,
) -> None:
    job_id = upload("noisy.ogg")
    configure(whisper_cpp_executable=script(tmp_path / "engine", "kill -SEGV $$"))
    before = launch(job_id)
    waiting = recover_failed_run(
        services.jobs,
        services.queue,
        services.settings,
        job_id=job_id,
        run_id=before.run_id,
        attempt=1,
        reason="the engine died",
    )
    assert (waiting.status, waiting.attempt) == (JobStatus.QUEUED, 2) and waiting.not_before is not None
    configure(whisper_cpp_executable=str(find_executable("stt-whisper-cli")))
    result = reexecute(before, from_failure=True)
    assert result.success
    assert {event.step_key for event in result.get_step_success_events()} == {"transcribe[b0]", "merge", "publish"}
    job = services.jobs.get_job(job_id)
    assert (job.status, job.attempt, job.not_before) == (JobStatus.COMPLETED, 3, None)
    assert services.tasks.get_task_status(job_id).progress.chunks_done == len(services.chunks.get_chunks(job_id)) > 1


@pytest.mark.parametrize("left", ["prepared audio", "step outputs"])
def test_reexecution_from_failure_when_what_it_needs_is_swept_says_to_run_the_whole(
    services: Services,
    upload: Upload,
    launch: Callable[[str], JobExecutionResult],
    reexecute: Reexecute,
    configure: Configure,
    left: str,
) -> None:
    job_id = upload("sample-01.mp3")
    configure(whisper_cpp_executable="/bin/false")
    before = launch(job_id)
    services.store.remove_prefix(object_keys.audio_prefix(job_id) if left == "prepared audio" else "runs/")
    configure(whisper_cpp_executable=str(find_executable("stt-whisper-cli")))
    result = reexecute(before, from_failure=True)
    assert "re-execute the whole run" in why(result)
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    assert reexecute(before, from_failure=False).success


@pytest.mark.parametrize("end", [JobStatus.COMPLETED, JobStatus.CANCELLED])
def test_reexecution_when_the_job_completed_or_was_cancelled_changes_nothing_and_says_so(
    services: Services,
    upload: Upload,
    launch: Callable[[str], JobExecutionResult],
    reexecute: Reexecute,
    end: JobStatus,
) -> None:
    job_id = upload("sample-01.mp3")
    if end is JobStatus.CANCELLED:
        cancel_job(services.jobs, job_id)
    before = launch(job_id)
    job = services.jobs.get_job(job_id)
    result = reexecute(before, from_failure=False)
    assert f"{end.value}" in why(result) and "Upload the recording again" in why(result)
    assert services.jobs.get_job(job_id) == job


@pytest.mark.parametrize("state", [JobStatus.QUEUED, JobStatus.FAILED])
def test_run_launched_by_hand_with_the_job_id_alone_takes_a_job_that_waits_or_failed(
    services: Services,
    upload: Upload,
    launch: Callable[[str], JobExecutionResult],
    instance: DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    state: JobStatus,
) -> None:
    job_id = upload("sample-01.mp3")
    if state is JobStatus.FAILED:
        failed_at_merging(services, job_id, launch, monkeypatch)
    config = {"ops": {"prepare_audio": {"config": {"job_id": job_id}}}, "execution": {"config": {"in_process": {}}}}
    result = execute_job(reconstructable(transcribe_recording), instance, run_config=config)
    assert result.success
    assert services.jobs.get_job(job_id).status is JobStatus.COMPLETED
    assert services.queue.members() == set()
    run = run_of(instance, result.run_id)
    assert (run.tags["stt/job_id"], run.tags["stt/file"]) == (job_id, "sample-01.mp3")
