"""One interpreter that has imported everything, from which the processes of runs and of their steps are forked.

Importing Dagster, its storage and our own modules takes 3 s of CPU, a fork milliseconds. `multiprocessing` brings the
server; it begins each child with a clean process, whose parent is whoever asked for it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.context import ForkServerContext
from pathlib import Path

from stt_core.logs import logged
from stt_core.temp_dirs import own_temporary_folder, shared_temporary_folder


@logged
def start_fork_server(modules: Iterable[str]) -> ForkServerContext:
    """Start this process's fork server, which imports the modules, and return what starts processes by it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    with own_temporary_folder():
        util.get_temp_dir()  # where its socket will be
    forkserver.ensure_running()
    return context


@contextmanager
def shared_fork_server() -> Iterator[None]:
    """Have this process's children forked where it was itself, if it was, while the block runs.

    `multiprocessing` hands a child the address for that, and then starts another server, since this is not its parent.

    Raises:
        FileNotFoundError: The process that started the server was killed, and its socket is gone.
    """
    if forkserver.get_inherited_fds() is None:
        yield
        return
    with shared_temporary_folder(Path(util.get_temp_dir()).parent):
        forkserver._forkserver.ensure_running = resource_tracker.ensure_running  # type: ignore[method-assign]
        yield
