"""Where we stand in for parts of Dagster that are private: nothing else of ours names them.

Each module says which public thing it stands in for. What is private may change with any release: on another one than
`TESTED` Dagster's own does the work, slower.
"""

from __future__ import annotations

from functools import cache

import dagster

from stt_core.logs import get_logger

logger = get_logger(__name__)

#: The release of Dagster that this package is tested with.
TESTED = "1.13.27"


@cache
def is_tested() -> bool:
    """Tell whether this is the release that we know; of another one a warning says what it costs."""
    if dagster.__version__ == TESTED:
        return True
    logger.warning(
        "Dagster {} is not {}: runs start and store their events as Dagster does, slower", dagster.__version__, TESTED
    )
    return False
