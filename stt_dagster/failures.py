"""Why a run failed, as its events tell it: for a job that could not be told itself, since its server was away.

A step that fails says so with its `JobError` in the event's metadata. One that fails around its op (an output that
could not be stored) is told by the named error among the causes of what Dagster caught.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, Failure, MetadataValue
from pydantic import ValidationError

from stt_core.errors import SttError
from stt_core.jobs.job import JobError
from stt_core.logs import get_logger, mark_as_told

logger = get_logger(__name__)

_ERROR = "error"
_MESSAGE_CHARACTERS = 2000


def failure_of(problem: JobError) -> Failure:
    """Return what a step raises that must not be tried again, for people and for `error_of_run`; the log was told."""
    failure = Failure(
        f"{problem.message} {problem.mend}" if problem.mend else problem.message,  # the mend stands above the trace so
        metadata={
            "kind": problem.kind,
            "transient": problem.transient,
            _ERROR: MetadataValue.json(problem.model_dump(mode="json")),
        },
        allow_retries=False,
    )
    mark_as_told(failure)
    return failure


def why_run_ended(instance: DagsterInstance, run: DagsterRun) -> tuple[str, JobError | None]:
    """Return what Dagster says of a run's end, and the latest error that its steps told of, if any did."""
    types = {DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE}
    events = [entry.get_dagster_event() for entry in instance.all_logs(run.run_id, of_type=types)]
    reasons = [event.message for event in events if event.is_failure and event.message]
    errors = [error for event in events if event.is_step_failure and (error := _error_of(event))]
    return reasons[-1] if reasons else f"The run ended as {run.status.value}.", errors[-1] if errors else None


def _error_of(event: DagsterEvent) -> JobError | None:
    data = event.step_failure_data
    told = data.user_failure_data.metadata.get(_ERROR) if data.user_failure_data else None
    if told is not None:
        try:
            return JobError.model_validate(told.value)
        except ValidationError as error:
            logger.warning("step {} tells of an error that is not one of ours: {}", event.step_key, error)
    kinds = {kind.__name__: kind for kind in SttError.branch()}
    for cause in _causes(data.error):
        if kind := kinds.get(cause.cls_name or ""):
            message = cause.message.strip().partition(": ")[2] or cause.message
            return JobError(
                kind=kind.kind,
                message=message[:_MESSAGE_CHARACTERS],
                transient=kind.transient,
                outage=kind.outage,
            )
    return None


def _causes(error: Any) -> Iterator[Any]:
    """Yield what Dagster kept of an error, and of its causes."""
    while error is not None:
        yield error
        error = error.cause
