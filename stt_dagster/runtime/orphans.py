"""What becomes of Dagster's processes when their parent ends.

A step whose run was killed would go on using the machine for a run that is over: it ends with it. A code server that is
told to end would serve nobody and wait for its runs, for hours: it passes the word on, and they hand their jobs back.
The engine and ffmpeg end with the step that started them (see `stt_core.engines.launcher`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

from stt_core.logs import get_logger

logger = get_logger(__name__)

#: The process that executes a run, where it is this one, or the one that it was forked from.
_run_process: int | None = None
#: Set when this process, the code server, is told to end; and what is to be done then.
_ending = threading.Event()
_farewells: list[Callable[[], object]] = []


def executes_run() -> None:
    """Note that this process executes a run: the steps in it end as it does, and it may outlive its own parent."""
    global _run_process
    _run_process = os.getpid()


@contextmanager
def step_process() -> Iterator[None]:
    """Execute a step in the block: in the process of its run, or in one that ends with that."""
    parent = multiprocessing.parent_process()
    if parent is None or _run_process == os.getpid():
        yield
        return
    threading.Thread(target=_end_with, args=(parent,), name="end-with-run", daemon=True).start()
    yield


def is_ending() -> bool:
    """Return whether this process, the code server, is told to end."""
    return _ending.is_set()


def when_told_to_end(act: Callable[[], object]) -> None:
    """Have something done when the code server is told to end: it waits for its ticks, so that they should end."""
    _farewells.append(act)


def end_runs_with_code_server() -> None:
    """Pass SIGTERM on to the runs of this process, the code server.

    Dagster sets the signal's handler when it begins to serve, and waits for its runs in it. So the interpreter is asked
    to write signals to a pipe, too, which a thread reads.
    """
    signals, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_end_runs, args=(signals,), name="end-runs", daemon=True).start()


def _end_runs(signals: int) -> None:
    while signal.SIGTERM not in os.read(signals, 64):
        continue
    for run in multiprocessing.active_children():
        logger.warning("the code server is told to end: telling its run, process {}, to end, too", run.pid)
        run.terminate()
    _ending.set()
    for act in _farewells:
        act()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    logger.warning("the run's process {} is gone: ending the step's", parent.pid)
    os.kill(os.getpid(), signal.SIGKILL)
