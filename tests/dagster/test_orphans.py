"""What becomes of child processes when a code server is told to end, and when the process of a run is killed."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from stt_dagster.runtime.orphans import end_runs_with_code_server, executes_run, step_process

ROOT = Path(__file__).parents[2]


def step(of_its_own: bool) -> None:
    """A step in a process of its own, or in that of its run."""
    if not of_its_own:
        executes_run()
    with step_process():
        time.sleep(600)


def run_worker(*of_their_own: bool) -> None:
    """The process of a run, or of a code server, and its children."""
    children = [multiprocessing.get_context("forkserver").Process(target=step, args=(one,)) for one in of_their_own]
    for child in children:
        child.start()
    announce(children)
    time.sleep(600)


def code_server() -> None:
    """A code server with a run at work; like Dagster's it sets its own handler afterwards."""
    end_runs_with_code_server()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    run.start()
    try:
        announce([run])  # whoever reads it may end the server before this returns
        time.sleep(600)
    except KeyboardInterrupt:
        run.join()  # as Dagster's does


def announce(children: list[Any]) -> None:
    sys.stdout.write(" ".join(str(child.pid) for child in children) + "\n")
    sys.stdout.flush()


def start(call: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    script = f"from tests.dagster import test_orphans as it\nif __name__ == '__main__':\n    it.{call}"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_step_when_the_process_of_its_run_is_killed_then_ends_unless_it_is_that_process(
    wait_until: Callable[..., None],
) -> None:
    parent, (own_process, in_process) = start("run_worker(True, False)")
    try:
        parent.kill()
        parent.wait()
        wait_until(lambda: is_gone(own_process), "the end of the step")
        assert not is_gone(in_process)
    finally:
        in_process.kill()


def test_run_when_only_its_code_server_is_told_to_end_then_is_told_too(wait_until: Callable[..., None]) -> None:
    server, (run,) = start("code_server()")
    try:
        server.terminate()
        assert server.wait(timeout=10) == 0
        assert is_gone(run)
    finally:
        server.kill()
        if run.is_running():
            run.kill()
