"""Failpoints: the moments between two writes at which a test lets a process die, as a power cut would.

`STT_FAILPOINT_FILE` names a file. The first process that passes the failpoint whose name stands in it removes the file
and kills itself with SIGKILL: nothing is cleaned up, and whoever is started in its place lives. Without the variable a
failpoint is a look into the environment (see docs/decisions on failpoints).
"""

from __future__ import annotations

import os
import signal
from enum import StrEnum
from pathlib import Path

from stt_core.logs import get_logger

logger = get_logger(__name__)

#: The environment variable that arms a failpoint. No setting: nobody sets it but a test.
VARIABLE = "STT_FAILPOINT_FILE"


class Failpoint(StrEnum):
    """Every crash window of the job protocol, named by what has just been written. tests/crash has a test for each."""

    # upload
    JOB_INSERTED = "job-inserted"
    BYTES_STORED = "bytes-stored"
    # upload, next attempt, sent again
    JOB_QUEUED = "job-queued"
    JOB_ENQUEUED = "job-enqueued"
    # launch
    JOB_LEASED = "job-leased"
    RUN_STARTED = "run-started"
    JOB_CLAIMED = "job-claimed"
    ENTRY_ACKNOWLEDGED = "entry-acknowledged"
    # the run's stages
    PCM_STORED = "pcm-stored"
    ENERGIES_STORED = "energies-stored"
    AUDIO_PREPARED = "audio-prepared"
    CHUNKS_PLANNED = "chunks-planned"
    TEXT_STORED = "text-stored"
    CHUNK_DONE = "chunk-done"
    TRANSCRIPT_MERGED = "transcript-merged"
    FORMAT_STORED = "format-stored"
    RESULTS_STORED = "results-stored"
    JOB_COMPLETED = "job-completed"
    # an object of a bucket: its job, and its transcript
    JOB_PROMISED = "job-promised"
    JOB_OPENED = "job-opened"
    VERSION_CURRENT = "version-current"
    VERSION_PROMOTED = "version-promoted"
    FORMAT_EXPORTED = "format-exported"
    TRANSCRIPT_EXPORTED = "transcript-exported"
    TRANSCRIPT_TOLD = "transcript-told"
    CHECKS_TOLD = "checks-told"


def failpoint(point: Failpoint) -> None:
    """Die here and now, if a test asks for that."""
    armed = os.environ.get(VARIABLE)
    if armed and _take(Path(armed), point):
        logger.warning("failpoint {}: process {} dies", point, os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)


def _take(armed: Path, point: Failpoint) -> bool:
    """Remove the file where it names the failpoint; only one of several processes succeeds."""
    try:
        if armed.read_text(encoding="utf-8") != point:
            return False
        armed.unlink()
    except FileNotFoundError as error:
        logger.debug("no failpoint is armed: {}", error)
        return False
    return True
