"""How a run is executed: as Dagster does it, with signs of life, and no further when it is cancelled.

Signs of life come from the process that orchestrates the run, not from its steps: so they go on between two steps and
through the longest wait for a step's next try, and end with that process even where one of its steps outlives it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

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

from stt_core.backfill.opening import is_short_object
from stt_core.temp_dirs import remove_abandoned_folders
from stt_dagster.resources import SttResource
from stt_dagster.runtime.fork_server import shared_fork_server
from stt_dagster.runtime.names import PARTITION
from stt_dagster.runtime.orphans import executes_run


class _BeatingExecutor(Executor):
    def __init__(self, create: Callable[[Mapping[str, Any]], Executor], config: Mapping[str, Any]) -> None:
        self._create, self._inner = create, create(config)

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        services, run = SttResource().services, plan_context.dagster_run
        executes_run()
        remove_abandoned_folders()
        partition = run.tags.get(PARTITION)
        if partition and "execution" not in run.run_config:  # people launch these, and give no config
            slots = 1 if is_short_object(services, partition) else services.settings.max_concurrent_steps
            [(kind, fields)] = spread_over(slots).items()
            self._inner = self._create({kind: {**fields, "retries": {"enabled": {}}}})
        with shared_fork_server(), services.heartbeats.beating(plan_context.run_id):
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
def run_executor(context: InitExecutorContext) -> Executor:
    """Return the executor that the run's config asks for: `in_process`, or `multiprocess` (the default).

    A run for an object of a bucket without any config goes by the object's size, as the queue sensor does for uploads.
    """
    create = multi_or_in_process_executor.executor_creation_fn
    assert create is not None
    return _BeatingExecutor(lambda config: create(context._replace(executor_config=config)), context.executor_config)


def spread_over(slots: int) -> dict[str, Any]:
    """Return the executor's config for a run of whose steps so many are at work at once; one in the run's process."""
    if slots == 1:
        return {"in_process": {}}
    # forkserver keeps one warmed interpreter to fork from: 0.7 s CPU a step against 2.5 s with spawn. Without a list of
    # modules it is an empty interpreter, and every step imports Dagster and all of ours anew.
    warmed = {"forkserver": {"preload_modules": ["stt_dagster.definitions"]}}
    return {"multiprocess": {"max_concurrent": slots, "start_method": warmed}}
