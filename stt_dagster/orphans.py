"""A step's process ends with the process that orchestrates its run.

Dagster's children outlive a parent that was killed: such a step would go on using the machine for a run that is over.
The engine and ffmpeg end with the step that started them (see `stt_core.whisper.launcher`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.process import BaseProcess
from typing import Any, cast

from dagster import OpExecutionContext

from stt_core.logs import get_logger, logged

logger = get_logger(__name__)


@logged
def end_with_run(context: OpExecutionContext) -> None:
    """Watch the parent of this process, unless the run's own process executes the step."""
    config = cast("dict[str, Any]", context.run.run_config)
    executor = config.get("execution", {}).get("config", {})
    parent = multiprocessing.parent_process()
    if parent is not None and "in_process" not in executor:
        threading.Thread(target=_end_with, args=(parent,), name="end-with-run", daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    logger.warning("the run's process {} is gone: ending the step's", parent.pid)
    os.kill(os.getpid(), signal.SIGKILL)
