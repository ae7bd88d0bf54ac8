"""One interpreter that has imported everything, from which the processes of runs and of their steps are forked.

Importing Dagster, its storage and our own modules takes 3 s of CPU, a fork milliseconds. `multiprocessing` brings the
server; it begins each child with a clean process, whose parent is whoever asked for it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.context import ForkServerContext
from pathlib import Path

from stt_core.temp_dirs import shared_temporary_folder, temporary_folder


def start_fork_server(modules: Iterable[str]) -> ForkServerContext:
    """Start this process's fork server, which imports the modules, and return what starts processes by it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    _keep_sockets_in_own_folder()
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
        _keep_sockets_in_own_folder()
        yield
        return
    with shared_temporary_folder(Path(util.get_temp_dir())):
        forkserver._forkserver.ensure_running = resource_tracker.ensure_running  # type: ignore[method-assign]
        yield


def _keep_sockets_in_own_folder() -> None:
    """Have `multiprocessing` put the sockets of this process where they are removed even after a kill."""
    folders = ExitStack()
    # Short, since the path of a socket may have 107 characters (macOS: 103).
    folder = folders.enter_context(temporary_folder("fork"))
    multiprocessing.current_process()._config["tempdir"] = str(folder)  # type: ignore[attr-defined]
    # At the process's end, after `multiprocessing` has waited for its children.
    util.Finalize(None, folders.close, exitpriority=-1000)
