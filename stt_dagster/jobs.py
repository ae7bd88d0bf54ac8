"""The transcription graph and its job.

A short recording runs in the run's own process, a long one fans out over processes; the queue sensor chooses by run
config. Both are the same graph.
"""

from __future__ import annotations

from typing import Any, cast

from dagster import DagsterRun, RunRequest, job

from stt_core.jobs.models import JobModel
from stt_core.logs import logged
from stt_core.processing.planning import is_short
from stt_core.settings import Settings
from stt_dagster.executor import run_executor
from stt_dagster.ops import merge, plan_chunks, prepare_audio, publish, transcribe
from stt_dagster.tags import run_tags


@job(executor_def=run_executor, description="Turn one uploaded recording into a transcript.")
def transcribe_recording() -> None:
    """prepare -> plan -> transcribe (one step a batch) -> merge -> publish."""
    plan, batches = plan_chunks(prepare_audio())
    publish(merge(plan, batches.map(transcribe).collect()))


@logged
def run_request(recording: JobModel, settings: Settings) -> RunRequest:
    """Return the request for the run of a job's current attempt; its run key is the queue's member."""
    slots = 1 if is_short(recording, settings) else settings.max_concurrent_steps
    return RunRequest(
        run_key=recording.member,
        job_name=transcribe_recording.name,
        run_config={
            "ops": {
                "prepare_audio": {"config": {"job_id": recording.job_id, "attempt": recording.attempt}},
                "plan_chunks": {"config": {"slots": slots}},
            },
            "execution": {"config": _executor(slots)},
        },
        tags=run_tags(recording),
    )


@logged
def job_of(run: DagsterRun) -> tuple[str, int | None]:
    """Return the job a run works for and the attempt it was launched with (None: launched by hand)."""
    config: dict[str, Any] = cast("Any", run.run_config)["ops"]["prepare_audio"]["config"]
    return config["job_id"], config.get("attempt")


def _executor(slots: int) -> dict[str, Any]:
    if slots == 1:
        return {"in_process": {}}
    # forkserver keeps one warmed interpreter to fork from: 0.7 s CPU a step against 2.5 s with spawn.
    return {"multiprocess": {"max_concurrent": slots, "start_method": {"forkserver": {}}}}
