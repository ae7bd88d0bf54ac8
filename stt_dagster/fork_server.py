"""One interpreter that has imported everything, from which the processes of runs and of their steps are forked.

Importing Dagster, its storage and our own modules takes 3 s of CPU, a fork milliseconds. `multiprocessing` brings the
server; it begins each child with a clean process, whose parent is whoever asked for it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext

from stt_core.logs import logged


@logged
def start_fork_server(modules: Iterable[str]) -> ForkServerContext:
    """Start this process's fork server, which imports the modules, and return what starts processes by it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    forkserver.ensure_running()
    return context


@logged
def share_fork_server() -> None:
    """Have this process's children forked where it was itself, if it was.

    `multiprocessing` hands a child the address for that, and then starts another server, since this is not its parent.
    """
    if forkserver.get_inherited_fds() is not None:
        forkserver._forkserver.ensure_running = resource_tracker.ensure_running  # type: ignore[method-assign]
