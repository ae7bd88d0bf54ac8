"""How many runs are at work at once: `MAX_CONCURRENT_RUNS` uploads, and `MAX_CONCURRENT_BACKFILLS` objects beside them.

dagster.yaml cannot take a limit from the environment, so that its coordinator does. A run for an object is known by its
partition: whoever launched it, the run has that tag before it has anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from dagster import DagsterRun, DagsterRunStatus, QueuedRunCoordinator, RunsFilter
from dagster._core.run_coordinator import SubmitRunContext
from dagster._serdes import ConfigurableClassData

from stt_core.settings import get_settings
from stt_dagster.runtime import is_tested
from stt_dagster.runtime.names import PARTITION, UNFINISHED


class LaneRunCoordinator(QueuedRunCoordinator):
    """Dagster's own, with a limit of its own for the backfill lane; what is configured goes before."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Create it as Dagster does, from what dagster.yaml says of it."""
        settings = get_settings()
        limits: dict[str, Any] = {
            "max_concurrent_runs": settings.max_concurrent_runs + settings.max_concurrent_backfills,
            "tag_concurrency_limits": [{"key": PARTITION, "limit": settings.max_concurrent_backfills}],
        }
        coordinator = cls(inst_data=inst_data, **limits | dict(config_value))
        if is_tested() and not limits.keys() & config_value.keys():  # limits of somebody's own are Dagster's to hold
            coordinator._launched_at_once = settings.max_concurrent_runs
        return coordinator

    _launched_at_once = 0

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Launch an upload's run at once while its lane has room; else it waits in Dagster's queue.

        That is looked at once a second: half a second on average for a recording of five that nothing holds up.
        """
        run = context.dagster_run
        if run.status is DagsterRunStatus.NOT_STARTED and PARTITION not in run.tags and self._has_room(run):
            return self._instance.launch_run(run.run_id, context.workspace)
        return super().submit_run(context)

    def _has_room(self, run: DagsterRun) -> bool:
        lane = RunsFilter(job_name=run.job_name, statuses=UNFINISHED)
        return self._instance.get_runs_count(lane) <= self._launched_at_once  # it is one of them
