"""The sensors: each asks the core one question and translates its answer for Dagster.

`queue_sensor` waits on the Redis queue and launches runs; `failure_sensor` and `cancellation_sensor` tell the job what
became of its run; `queue_repair_sensor` puts back what Redis lost.
"""

import platform

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunFailureSensorContext,
    RunRequest,
    RunsFilter,
    RunStatusSensorContext,
    SensorEvaluationContext,
    SkipReason,
    run_failure_sensor,
    run_status_sensor,
    sensor,
)
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from stt_core.jobs.dispatch import wait_for_due_jobs
from stt_core.jobs.recovery import cancel_job, recover_failed_run, restore_queue
from stt_core.logs import logged
from stt_dagster.jobs import job_of, run_request, transcribe_recording
from stt_dagster.resources import SttResource

#: How long a tick waits for a job, seconds. Dagster's daemon starts ticks on a beat of 5 s: one that ends just before a
#: beat is followed at once by the next, so that a job almost always finds one waiting. A code server that is told to
#: end waits for its ticks, which is why it is not longer.
QUEUE_WAIT_SECONDS = 9.0


@sensor(job=transcribe_recording, minimum_interval_seconds=1, default_status=DefaultSensorStatus.RUNNING)
@logged
def queue_sensor(context: SensorEvaluationContext, stt: SttResource) -> list[RunRequest] | SkipReason:
    """Launch a run for each job that is due, never more than there is capacity for."""
    services = stt.services
    limit = services.settings.max_concurrent_runs
    due = wait_for_due_jobs(
        services.jobs,
        services.queue,
        free_slots=lambda: limit - count_unfinished_runs(context.instance),
        owner=f"sensor@{platform.node()}",
        timeout_seconds=QUEUE_WAIT_SECONDS,
    )
    if not due:
        return SkipReason("No job is due, or every run slot is taken.")
    return [run_request(job, services.settings) for job in due]


@logged
def count_unfinished_runs(instance: DagsterInstance) -> int:
    """Return how many runs of the job have not ended."""
    return instance.get_runs_count(RunsFilter(job_name=transcribe_recording.name, statuses=list(NOT_FINISHED_STATUSES)))


@run_failure_sensor(
    monitored_jobs=[transcribe_recording], minimum_interval_seconds=1, default_status=DefaultSensorStatus.RUNNING
)
@logged
def failure_sensor(context: RunFailureSensorContext, stt: SttResource) -> None:
    """Give the job of a failed run its next attempt, or end it."""
    services = stt.services
    job_id, attempt = job_of(context.dagster_run)
    recover_failed_run(
        services.jobs,
        services.queue,
        services.settings,
        job_id=job_id,
        run_id=context.dagster_run.run_id,
        attempt=attempt,
        reason=context.failure_event.message or "The run ended without a reason.",
    )


@run_status_sensor(
    run_status=DagsterRunStatus.CANCELED,
    monitored_jobs=[transcribe_recording],
    minimum_interval_seconds=1,
    default_status=DefaultSensorStatus.RUNNING,
)
@logged
def cancellation_sensor(context: RunStatusSensorContext, stt: SttResource) -> None:
    """Cancel the job of a run that was cancelled in the Dagster UI."""
    job_id, _ = job_of(context.dagster_run)
    cancel_job(stt.services.jobs, job_id, run_id=context.dagster_run.run_id)


@sensor(job=transcribe_recording, minimum_interval_seconds=30, default_status=DefaultSensorStatus.RUNNING)
@logged
def queue_repair_sensor(stt: SttResource) -> SkipReason:
    """Enqueue again what MongoDB says is waiting and Redis has lost."""
    restored = restore_queue(stt.services.jobs, stt.services.queue)
    return SkipReason(f"{restored} jobs were enqueued again.")
