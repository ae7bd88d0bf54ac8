"""How a run is executed: as Dagster does it, with signs of life, and no further when it is cancelled.

Signs of life come from the process that orchestrates the run, not from its steps: so they go on between two steps and
through the longest wait for a step's next try, and end with that process even where one of its steps outlives it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

from dagster import (
    DagsterEvent,
    DagsterRunStatus,
    Executor,
    InitExecutorContext,
    executor,
    multi_or_in_process_executor,
)
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode

from stt_core.logs import logged
from stt_core.scratch import own_temporary_folder
from stt_dagster.resources import SttResource


class _BeatingExecutor(Executor):
    def __init__(self, inner: Executor) -> None:
        self._inner = inner

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        with SttResource().services.heartbeats.beating(plan_context.run_id), own_temporary_folder():
            for event in self._inner.execute(plan_context, execution_plan):
                yield event
                if event.is_step_failure and _is_canceling(plan_context):
                    # Dagster would go on with the steps that do not need the failed one. It keeps the signal until the
                    # next event, and ends its processes then.
                    signal.raise_signal(signal.SIGINT)

    @property
    def retries(self) -> RetryMode:
        return self._inner.retries


def _is_canceling(plan_context: PlanOrchestrationContext) -> bool:
    run = plan_context.instance.get_run_by_id(plan_context.run_id)
    return run is not None and run.status is DagsterRunStatus.CANCELING


@executor(
    name="run_executor",
    config_schema=multi_or_in_process_executor.config_schema.as_field(),
    requirements=multi_or_in_process_executor.get_requirements,
)
@logged
def run_executor(context: InitExecutorContext) -> Executor:
    """Return the executor that the run's config asks for: `in_process`, or `multiprocess` (the default)."""
    create = multi_or_in_process_executor.executor_creation_fn
    assert create is not None
    return _BeatingExecutor(create(context))
