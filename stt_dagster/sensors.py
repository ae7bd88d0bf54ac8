"""The sensors: each asks the core one question and translates its answer for Dagster.

`queue_sensor` waits on the Redis queue and launches runs; `failure_sensor` and `cancellation_sensor` tell the job what
became of its run; `reconciler_sensor` holds Redis and Dagster to the truth in MongoDB, and `backfill_sensor` launches
what waits without an entry in Redis; `webhook_sensor` tells callers that their jobs have ended.

Dagster shows a run's end to a sensor once, whatever comes of it: what cannot be told then, since a server is away, the
reconciler finds (a job that is processing) or the queue sensor (one that waits).
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunFailureSensorContext,
    RunRequest,
    RunStatusSensorContext,
    SensorEvaluationContext,
    SkipReason,
    run_failure_sensor,
    run_status_sensor,
    sensor,
)
from pydantic import BaseModel

from stt_core.errors import RunInterruptedError, TransientError
from stt_core.jobs.heartbeats import Observation
from stt_core.jobs.leasing import wait_for_due_jobs
from stt_core.jobs.recovery import fail_broken_uploads, restore_queue
from stt_core.logs import get_logger, log_exception, mark_as_told
from stt_core.settings import get_settings
from stt_core.temp_dirs import remove_abandoned_folders
from stt_core.webhooks.sending import send_due_webhooks
from stt_dagster.assets import bucket_transcripts
from stt_dagster.backfill_runs import BACKFILL_SENSOR, next_runs, release_transcripts
from stt_dagster.jobs import run_request, transcribe_recording
from stt_dagster.resources import SttResource, open_instance
from stt_dagster.runs import (
    count_unfinished_runs,
    end_useless_runs,
    look_after_jobs,
    may_launch,
    settle_run,
    settle_untold_runs,
)
from stt_dagster.runtime.orphans import is_ending, when_told_to_end

logger = get_logger(__name__)

#: How long a tick waits for a job, seconds. Dagster's daemon starts ticks on a beat of 5 s: one that ends just before a
#: beat is followed at once by the next, so that a job almost always finds one waiting. A code server that is told to
#: end waits for its ticks, which is why it is not longer.
QUEUE_WAIT_SECONDS = 4.0
#: How often it is looked for objects that wait for a run; without sources there are those that a removed one left.
_BACKFILL_SECONDS = get_settings().reconcile_seconds if get_settings().backfill_sources else 3600
#: How often it is looked for webhooks to send; each beat of the daemon.
WEBHOOK_SECONDS = 5
#: How often it is looked for runs that failed: every third beat. A tick without news costs 0.1 s of CPU, and the next
#: attempt waits for its backoff anyway.
_FAILURE_SECONDS = 14
#: The same for runs that were cancelled, which have stopped by then: the reconciler finds those that had their job.
_CANCELLATION_SECONDS = 29


class Observations(BaseModel):
    """What the reconciler's latest look saw of runs: of those that have their job, and of those without one."""

    working: dict[str, Observation] = {}
    useless: dict[str, Observation] = {}


@contextmanager
def noting_outages(part: str) -> Iterator[list[str]]:
    """End the block where a server is away, and note that: one line in the log, and the tick's answer, no failure."""
    outages: list[str] = []
    try:
        yield outages
    except TransientError as error:
        log_exception(logger, part, error)
        outages.append(error.message)


def _free_runs(instance: DagsterInstance, limit: int) -> int:
    if is_ending():
        ended = RunInterruptedError("The code server is told to end.")
        mark_as_told(ended)
        raise ended
    return limit - count_unfinished_runs(instance)


def _ring() -> None:
    """Wake the tick that waits for a job."""
    with noting_outages("ending the wait for jobs"):
        SttResource().services.queue.ring()


when_told_to_end(_ring)


@sensor(job=transcribe_recording, minimum_interval_seconds=1, default_status=DefaultSensorStatus.RUNNING)
def queue_sensor(context: SensorEvaluationContext) -> list[RunRequest] | SkipReason:
    """Launch a run for each job that is due, never more than there is capacity for."""
    services, instance = SttResource().services, open_instance(context)
    limit = services.settings.max_concurrent_runs
    with noting_outages("queue_sensor") as outages:
        due = wait_for_due_jobs(
            services.jobs,
            services.queue,
            free_runs=lambda: _free_runs(instance, limit),
            owner=f"sensor@{platform.node()}",
            timeout_seconds=QUEUE_WAIT_SECONDS,
        )
        requests = [run_request(job, services.settings) for job in due if may_launch(instance, services, job)]
        return requests or SkipReason("No job is due, or every run slot is taken.")
    return SkipReason(" ".join(outages))


# Neither names jobs: runs for objects belong to a job of Dagster's own, which has no definition to name.
@run_failure_sensor(minimum_interval_seconds=_FAILURE_SECONDS, default_status=DefaultSensorStatus.RUNNING)
def failure_sensor(context: RunFailureSensorContext, stt: SttResource) -> SkipReason | None:
    """Give the job of a failed run its next attempt, or end it."""
    with noting_outages("failure_sensor") as outages:
        settle_run(context.instance, stt.services, context.dagster_run)
    return SkipReason(" ".join(outages)) if outages else None


@run_status_sensor(
    run_status=DagsterRunStatus.CANCELED,
    minimum_interval_seconds=_CANCELLATION_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
)
def cancellation_sensor(context: RunStatusSensorContext, stt: SttResource) -> SkipReason | None:
    """Cancel the job of a run that was cancelled in the Dagster UI."""
    with noting_outages("cancellation_sensor") as outages:
        settle_run(context.instance, stt.services, context.dagster_run)
    return SkipReason(" ".join(outages)) if outages else None


@sensor(
    job=transcribe_recording,
    minimum_interval_seconds=get_settings().reconcile_seconds,
    default_status=DefaultSensorStatus.RUNNING,
)
def reconciler_sensor(context: SensorEvaluationContext) -> SkipReason:
    """Put right what no other sensor saw: runs without a sign of life, jobs without a run, entry or recording."""
    services, instance = SttResource().services, open_instance(context)
    seen = Observations.model_validate_json(context.cursor or "{}")
    with noting_outages("looking after runs") as runs:
        useless = end_useless_runs(instance, services, seen.useless)
        working = look_after_jobs(instance, services, seen.working)
        context.update_cursor(Observations(working=working, useless=useless).model_dump_json())
    remove_abandoned_folders()
    # Each by itself: a store that is away must not keep jobs from their queue.
    with noting_outages("restoring the queue") as queue:
        restore_queue(services.jobs, services.queue)
    with noting_outages("ending broken uploads") as uploads:
        fail_broken_uploads(services.jobs, services.store)
    return SkipReason(" ".join(runs + queue + uploads) or "Jobs, queue and runs agree.")


@sensor(
    name=BACKFILL_SENSOR,
    target=bucket_transcripts,
    minimum_interval_seconds=_BACKFILL_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
)
def backfill_sensor(context: SensorEvaluationContext) -> list[RunRequest] | SkipReason:
    """Launch the next attempt for each object whose run failed, and tell of transcripts that no run could tell of."""
    services, instance = SttResource().services, open_instance(context)
    # Each by itself: a transcript that its output does not take must keep no object from its next attempt.
    with noting_outages("passing on transcripts") as passing:
        released, cursor = release_transcripts(instance, services, context.cursor)
        context.update_cursor(cursor or "")
        passing.append(f"{released} transcripts were passed on.")
    with noting_outages("looking after objects") as waiting:
        settle_untold_runs(instance, services)
        if requests := next_runs(instance, services):
            return requests
        waiting.append("No object waits.")
    return SkipReason(" ".join(passing + waiting))


@sensor(
    job=transcribe_recording,
    minimum_interval_seconds=WEBHOOK_SECONDS,
    # Without a secret nothing is ever sent, and its ticks would take two percent of a core.
    default_status=DefaultSensorStatus.RUNNING if get_settings().webhook_secret else DefaultSensorStatus.STOPPED,
)
def webhook_sensor(context: SensorEvaluationContext) -> SkipReason:
    """Tell the callers who asked for it that their jobs have ended."""
    with noting_outages("sending webhooks") as outages:
        sent = send_due_webhooks(SttResource().services)
        counts = ", ".join(f"{number} {status}" for status, number in sent.items())
        return SkipReason(f"Webhooks: {counts or 'none due'}.")
    return SkipReason(" ".join(outages))
