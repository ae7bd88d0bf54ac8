"""The transcription graph and its job.

A short recording runs in the run's own process, a long one fans out over processes; the queue sensor chooses by run
config. Both are the same graph.
"""

from __future__ import annotations

from typing import Any, cast

from dagster import DagsterRun, RunRequest, job

from stt_core.jobs.job import JobModel
from stt_core.processing.planning import parallel_steps
from stt_core.settings import Settings
from stt_dagster.assets import bucket_transcripts
from stt_dagster.ops import merge, plan_chunks, prepare_audio, publish, transcribe
from stt_dagster.runtime.executor import run_executor, spread_over
from stt_dagster.runtime.names import BACKFILL, PARTITION
from stt_dagster.tags import ATTEMPT, JOB_ID, MODEL, run_tags


@job(executor_def=run_executor, description="Turn one uploaded recording into a transcript.")
def transcribe_recording() -> None:
    """prepare -> plan -> transcribe (one step a batch) -> merge -> publish."""
    plan, batches = plan_chunks(prepare_audio())
    publish(merge(plan, batches.map(transcribe).collect()))


def run_request(recording: JobModel, settings: Settings) -> RunRequest:
    """Return the request for the run of a job's current attempt; its run key is the queue's member."""
    slots = parallel_steps(recording, settings)
    return RunRequest(
        run_key=recording.member,
        job_name=transcribe_recording.name,
        run_config={
            "ops": {
                "prepare_audio": {"config": {"job_id": recording.job_id, "attempt": recording.attempt}},
                "plan_chunks": {"config": {"slots": slots}},
            },
            "execution": {"config": spread_over(slots)},
        },
        tags=run_tags(recording),
    )


def partition_request(recording: JobModel, before: DagsterRun | None) -> RunRequest:
    """Return the request for the run of the current attempt of an object's job, tagged as the run before it was.

    So it belongs to the same backfill, and transcribes with the same model.
    """
    kept = {BACKFILL, MODEL}
    tags = {name: tag for name, tag in before.tags.items() if name in kept} if before else {}
    return RunRequest(
        run_key=recording.member,
        asset_selection=[bucket_transcripts.key],
        partition_key=recording.partition,
        tags=tags | run_tags(recording),
    )


def is_transcription(run: DagsterRun) -> bool:
    """Tell whether a run is for an upload or for an object of a bucket, and not for something else."""
    return run.job_name == transcribe_recording.name or _is_for_object(run)


def job_of(run: DagsterRun) -> tuple[str, int | None] | None:
    """Return the job a run works for and the attempt it was launched with (None: launched by hand).

    None where it works for none: it is of another kind, or for an object and has not opened a job yet.
    """
    if run.job_name == transcribe_recording.name:
        config: dict[str, Any] = cast("Any", run.run_config)["ops"]["prepare_audio"]["config"]
        return config["job_id"], config.get("attempt")
    job_id = run.tags.get(JOB_ID) if _is_for_object(run) else None
    return (job_id, int(run.tags[ATTEMPT])) if job_id else None


def _is_for_object(run: DagsterRun) -> bool:
    return PARTITION in run.tags and bucket_transcripts.key in (run.asset_selection or ())
