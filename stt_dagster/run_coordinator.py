"""How many runs are at work at once: `MAX_CONCURRENT_RUNS` uploads, and `MAX_CONCURRENT_BACKFILLS` objects beside them.

dagster.yaml cannot take a limit from the environment, so that its coordinator does. A run for an object is known by its
partition: whoever launched it, the run has that tag before it has anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.storage.tags import PARTITION_NAME_TAG
from dagster._serdes import ConfigurableClassData

from stt_core.logs import logged
from stt_core.settings import get_settings


class LaneRunCoordinator(QueuedRunCoordinator):
    """Dagster's own, with a limit of its own for the backfill lane; what is configured goes before."""

    @classmethod
    @logged
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Create it as Dagster does, from what dagster.yaml says of it."""
        settings = get_settings()
        limits: dict[str, Any] = {
            "max_concurrent_runs": settings.max_concurrent_runs + settings.max_concurrent_backfills,
            "tag_concurrency_limits": [{"key": PARTITION_NAME_TAG, "limit": settings.max_concurrent_backfills}],
        }
        return cls(inst_data=inst_data, **limits | dict(config_value))
