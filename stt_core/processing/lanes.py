"""How work of the backfill lane steps aside for uploads: with a low priority, and not at all between two batches.

A batch that is at work when an upload arrives goes on beside it, with the little time of the processors that its
priority gets; the next one waits until no upload waits or is at work.
"""

from __future__ import annotations

import os
import time

from stt_core.jobs.repository import JobRepository
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: Against a process of priority 0 it gets a tenth of a processor that both want (110 to 1024 of Linux's weights).
_NICENESS = 10
#: How often it is asked whether the last upload is done, seconds; nothing tells of that.
_LOOK_SECONDS = 1.0


def lower_priority() -> None:
    """Give this process, and what it starts from now on, the lowest priority."""
    if os.getpriority(os.PRIO_PROCESS, 0) < _NICENESS:
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)


def let_uploads_pass(jobs: JobRepository) -> float:
    """Wait while an upload waits for a run or has one; return how long that was, seconds."""
    started = time.monotonic()
    if jobs.has_upload_at_work():
        logger.info("uploads go first: waiting for them")
        time.sleep(_LOOK_SECONDS)
        while jobs.has_upload_at_work():
            time.sleep(_LOOK_SECONDS)
    return time.monotonic() - started
