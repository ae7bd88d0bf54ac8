"""What happened, counted in MongoDB by whoever saw it: one document of plain numbers, read by `/metrics`.

Only the workers know how an engine fares, and they come and go; an API may be one of several. So the counts are where
the truth is, outlive every process, and cost a look at one document however many jobs there are. They are figures, not
truth: a count that MongoDB does not take is lost with a warning, and a process killed before it counted has not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from stt_core.errors import SttError
from stt_core.jobs.job import JobStatus
from stt_core.logs import get_logger
from stt_core.stores.database import Database, mongo_errors
from stt_core.warnings import WarningName

logger = get_logger(__name__)

_ID = "tallies"
_WARNING = "warning"


class Tally(StrEnum):
    """What is counted."""

    UPLOADS = "uploads"
    UPLOAD_BYTES = "upload_bytes"
    CHUNK_FAILURES = "chunk_failures"
    ENGINE_RESTARTS = "engine_restarts"


class Spread(StrEnum):
    """What is measured of each job that was completed."""

    #: From entering the queue to being claimed by the run that completed it, seconds.
    WAIT_SECONDS = "wait_seconds"
    #: From there to its transcript, seconds.
    PROCESSING_SECONDS = "processing_seconds"
    #: The latter for a second of audio.
    REAL_TIME_FACTOR = "real_time_factor"


#: The upper bounds that values are sorted under; what is over the last has a place of its own. Changing them mixes the
#: old counts with the new.
BOUNDS: dict[Spread, tuple[float, ...]] = {
    Spread.WAIT_SECONDS: (0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400),
    Spread.PROCESSING_SECONDS: (1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 14_400),
    Spread.REAL_TIME_FACTOR: (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 10),
}


@dataclass(frozen=True)
class Observed:
    """The values of one spread: how many are at most each bound and over the one before it, and their sum."""

    counts: list[int]
    total: float


class Tallies:
    """The only place that reads and writes the tallies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, what: Mapping[Tally, int]) -> None:
        """Add to counts. Never fails."""
        self._add({tally.value: number for tally, number in what.items()})

    def observe(self, values: Mapping[Spread, float]) -> None:
        """Add one value to each of these spreads. Never fails."""
        added: dict[str, float] = {}
        for spread, value in values.items():
            added[f"{spread}:{bisect_left(BOUNDS[spread], value)}"] = 1
            added[f"{spread}:sum"] = value
        self._add(added)

    def count_warnings(self, names: Iterable[WarningName]) -> None:
        """Add one to the count of each of these warnings. Never fails."""
        self._add({f"{_WARNING}:{name}": number for name, number in Counter(names).items()})

    def read(self) -> tuple[dict[Tally, int], dict[Spread, Observed], dict[WarningName, int]]:
        """Return every count, every spread, and how often transcripts were given each warning.

        Raises:
            DatabaseUnavailableError: MongoDB does not answer.
        """
        with mongo_errors("reading tallies"):
            found = self._database.tallies.find_one({"_id": _ID}) or {}
        counts = {tally: int(found.get(tally.value, 0)) for tally in Tally}
        spreads = {
            spread: Observed(
                [int(found.get(f"{spread}:{place}", 0)) for place in range(len(bounds) + 1)],
                float(found.get(f"{spread}:sum", 0.0)),
            )
            for spread, bounds in BOUNDS.items()
        }
        warnings = {name: int(found.get(f"{_WARNING}:{name}", 0)) for name in WarningName}
        return counts, spreads, warnings

    def _add(self, numbers: Mapping[str, float]) -> None:
        if not numbers:
            return
        try:
            with mongo_errors("counting"):
                self._database.tallies.update_one({"_id": _ID}, {"$inc": dict(numbers)}, upsert=True)
        except SttError as error:
            logger.warning("not counted, {}: {}", numbers, error)


@dataclass(frozen=True)
class Backlog:
    """The audio of the jobs that wait: of those whose recording was measured, and the size of the others."""

    measured_seconds: float
    unmeasured_bytes: int


def count_by_status(database: Database) -> dict[JobStatus, int]:
    """Return how many jobs there are in each status."""
    with mongo_errors("counting jobs"):
        groups = database.jobs.aggregate([{"$group": {"_id": "$status", "jobs": {"$sum": 1}}}])
        return {JobStatus(group["_id"]): group["jobs"] for group in groups}


def measure_backlog(database: Database) -> Backlog:
    """Return how much audio waits."""
    seconds, size_bytes = 0.0, 0
    wanted = {"duration_seconds": 1, "source": 1}  # the embedded server gives no part of a part
    with mongo_errors("measuring queued jobs"):
        for document in database.jobs.find({"status": JobStatus.QUEUED.value}, wanted):
            if (known := document.get("duration_seconds")) is not None:
                seconds += known
            else:
                size_bytes += (document.get("source") or {}).get("size_bytes", 0)
    return Backlog(seconds, size_bytes)
