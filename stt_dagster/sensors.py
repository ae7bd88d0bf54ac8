"""The sensors: each asks the core one question and translates its answer for Dagster.

`queue_sensor` waits on the Redis queue and launches runs; `failure_sensor` and `cancellation_sensor` tell the job what
became of its run; `reconciler_sensor` holds Redis and Dagster to the truth in MongoDB.
"""

import platform
import time

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
from pydantic import TypeAdapter

from stt_core.jobs.dispatch import wait_for_due_jobs
from stt_core.jobs.heartbeats import Observation, find_silent_jobs
from stt_core.jobs.models import JobModel
from stt_core.jobs.recovery import (
    cancel_job,
    fail_broken_uploads,
    recover_failed_run,
    restore_queue,
    why_to_end_run,
)
from stt_core.logs import logged
from stt_core.scratch import remove_abandoned_folders
from stt_core.services import Services
from stt_dagster.jobs import job_of, run_request, transcribe_recording
from stt_dagster.resources import SttResource

#: How long a tick waits for a job, seconds. Dagster's daemon starts ticks on a beat of 5 s: one that ends just before a
#: beat is followed at once by the next, so that a job almost always finds one waiting. A code server that is told to
#: end waits for its ticks, which is why it is not longer.
QUEUE_WAIT_SECONDS = 4.0
_OBSERVATIONS = TypeAdapter(dict[str, Observation])


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
    job_id, attempt = job_of(context.dagster_run)
    cancel_job(stt.services.jobs, job_id, run_id=context.dagster_run.run_id, attempt=attempt)


@sensor(job=transcribe_recording, minimum_interval_seconds=15, default_status=DefaultSensorStatus.RUNNING)
@logged
def reconciler_sensor(context: SensorEvaluationContext, stt: SttResource) -> SkipReason:
    """Enqueue again what Redis has lost, and end runs that died without a word and uploads that never ended."""
    services = stt.services
    restored = restore_queue(services.jobs, services.queue)
    fail_broken_uploads(services.jobs, services.store)
    end_useless_runs(context.instance, services)
    remove_abandoned_folders()
    seen = _OBSERVATIONS.validate_json(context.cursor or "{}")
    silent, observed = find_silent_jobs(services.jobs, services.heartbeats, seen)
    for job in silent:
        end_silent_run(context.instance, services, job)
    context.update_cursor(_OBSERVATIONS.dump_json(observed).decode())
    return SkipReason(f"{restored} jobs were enqueued again, {len(silent)} runs had died.")


@logged
def end_useless_runs(instance: DagsterInstance, services: Services) -> None:
    """Mark runs as failed that will never claim their job, or whose job is over, so that their slots are free."""
    at_work = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    for record in instance.get_run_records(RunsFilter(job_name=transcribe_recording.name, statuses=at_work)):
        run = record.dagster_run
        job_id, attempt = job_of(run)
        reason = why_to_end_run(
            services.jobs,
            services.settings,
            job_id=job_id,
            run_id=run.run_id,
            attempt=attempt,
            age_seconds=time.time() - record.create_timestamp.timestamp(),
        )
        if reason:
            instance.report_run_failed(run, reason)


@logged
def end_silent_run(instance: DagsterInstance, services: Services, job: JobModel) -> None:
    """Mark the run of a job as failed, so that its slot is free and `failure_sensor` sees to the job.

    Where Dagster does not know the run, or knows that it is over, the job is seen to here.
    """
    reason = "The run gave no sign of life any more: its process or its host died."
    run = instance.get_run_by_id(job.run_id or "")
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, reason)
        return
    recover_failed_run(
        services.jobs,
        services.queue,
        services.settings,
        job_id=job.job_id,
        run_id=job.run_id or "",
        attempt=job.attempt,
        reason=reason,
    )
