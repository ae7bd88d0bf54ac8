"""How many jobs there are, and how much work waits: sums over jobs, for whoever watches the system."""

from __future__ import annotations

from dataclasses import dataclass

from stt_core.jobs.database import Database, mongo_errors
from stt_core.jobs.models import JobStatus
from stt_core.logs import get_logger, logged

logger = get_logger(__name__)


@dataclass(frozen=True)
class Backlog:
    """The audio of the jobs that wait: of those whose recording was measured, and the size of the others."""

    measured_seconds: float
    unmeasured_bytes: int


@logged
def count_by_status(database: Database) -> dict[JobStatus, int]:
    """Return how many jobs there are in each status."""
    with mongo_errors("counting jobs"):
        groups = database.jobs.aggregate([{"$group": {"_id": "$status", "jobs": {"$sum": 1}}}])
        return {JobStatus(group["_id"]): group["jobs"] for group in groups}


@logged
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
