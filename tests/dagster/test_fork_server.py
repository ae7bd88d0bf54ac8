"""Where the processes of runs and steps are forked, and what is left of that when the code server is killed."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from stt_dagster.runtime.fork_server import shared_fork_server, start_fork_server

ROOT = Path(__file__).parents[2]
CODE_SERVER = "from tests.dagster import test_fork_server as it\nif __name__ == '__main__':\n    it.code_server()"


def code_server() -> None:
    """A code server with a run at work."""
    start_fork_server([__name__]).Process(target=run).start()
    time.sleep(600)


def run() -> None:
    """A run with a step before its code server ends, and one after that; it tells who their parents are."""
    code_server = multiprocessing.parent_process()
    assert code_server is not None
    with shared_fork_server():
        tell(os.getppid(), parent_of_step())
        code_server.join()
        tell(os.getppid(), parent_of_step())


def parent_of_step() -> int:
    context = multiprocessing.get_context("forkserver")
    answer = context.SimpleQueue()
    child = context.Process(target=step, args=(answer,))
    child.start()
    parent: int = answer.get()
    child.join()
    return parent


def step(answer: SimpleQueue[int]) -> None:
    answer.put(os.getppid())


def tell(*numbers: int) -> None:
    sys.stdout.write(" ".join(map(str, numbers)) + "\n")
    sys.stdout.flush()


def test_step_when_its_run_was_forked_then_is_forked_there_too_even_if_the_code_server_is_killed(
    tmp_path_factory: pytest.TempPathFactory, wait_until: Callable[..., None]
) -> None:
    folder = tmp_path_factory.mktemp("f")  # short: a socket lies in it
    server = subprocess.Popen(
        [sys.executable, "-c", CODE_SERVER],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        of_run, of_step = server.stdout.readline().split()
        assert of_run == of_step != str(server.pid)
        server.kill()
        server.wait()
        assert server.stdout.readline().split() == [of_run, of_run]
        wait_until(lambda: not list(folder.iterdir()), "no temporary folder", 10)
    finally:
        server.kill()
        server.wait()
