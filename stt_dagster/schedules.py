"""The schedule: what is kept no longer is swept every night (see `stt_core.retention`)."""

from dagster import (
    Backoff,
    DefaultScheduleStatus,
    OpExecutionContext,
    RetryPolicy,
    ScheduleDefinition,
    in_process_executor,
    job,
    op,
)

from stt_core.retention import sweep
from stt_dagster.logs import run_event_log
from stt_dagster.resources import SttResource

#: When few recordings come in, UTC. A machine that was off then makes up for it when its daemon starts.
NIGHTLY = "0 3 * * *"


@op(retry_policy=RetryPolicy(max_retries=3, delay=60, backoff=Backoff.EXPONENTIAL), tags={"kind": "s3"})
def sweep_storage(context: OpExecutionContext, stt: SttResource) -> None:
    """Remove what is kept no longer, and report objects whose job is unknown."""
    with run_event_log():
        report = sweep(stt.services)
    context.add_output_metadata(report.model_dump())


@job(
    executor_def=in_process_executor,
    description="Remove what is kept no longer: prepared audio, old texts of chunks, deleted jobs.",
)
def retention() -> None:
    """One step."""
    sweep_storage()


nightly_retention = ScheduleDefinition(
    name="nightly_retention",
    job=retention,
    cron_schedule=NIGHTLY,
    default_status=DefaultScheduleStatus.RUNNING,
)
