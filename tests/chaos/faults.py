"""Whom a round kills: the parts of the stack, and the processes that come and go with the runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

import psutil

from tests.chaos.stack import ChaosStack

_POLL_SECONDS = 0.02


class Fault(StrEnum):
    """What happens in a round. `NONE` is the round to compare with."""

    NONE = "none"
    API = "API"
    WHISPER = "whisper process"
    REDIS = "Redis"
    RUN_WORKER = "run worker"
    CODE = "code server"
    STEP = "step process"
    MONGO = "MongoDB"
    DAEMON = "Dagster daemon"
    S3 = "S3 server"


#: The parts that the supervisor keeps, by their names there.
PARTS = {
    Fault.API: "api",
    Fault.REDIS: "redis",
    Fault.CODE: "code",
    Fault.MONGO: "mongo",
    Fault.DAEMON: "daemon",
    Fault.S3: "s3",
}


def fault_of(seed: int) -> Fault:
    """Return the fault of a round: each in its turn, so that no one is left out by chance."""
    return tuple(Fault)[seed % len(Fault)]


def find_victim(stack: ChaosStack, fault: Fault, *, linger: float, deadline: float) -> psutil.Process | None:
    """Return the process to kill now, once there is one; None when there was none until the deadline.

    Args:
        stack: The system; no process of any other is touched.
        fault: Which kind of process.
        linger: How long it is left alive once it is seen, seconds: a part dies at a random moment of the round
            anyway, but a process that lives for seconds would otherwise always die at its birth. One that ends before
            is let go, and the next is left half as long.
        deadline: When to give up, a moment of `time.monotonic`.
    """
    if fault is Fault.NONE:
        return None
    if fault in PARTS:
        return psutil.Process(stack.parts[PARTS[fault]]["pid"])
    while time.monotonic() < deadline:
        for victim in _passing_processes(stack, fault):
            try:
                victim.wait(timeout=linger)
            except psutil.TimeoutExpired:
                return victim
            linger /= 2
        time.sleep(_POLL_SECONDS)
    return None


def kill(victim: psutil.Process) -> bool:
    """Kill -9; return False when the process had just ended by itself."""
    try:
        victim.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def _is_forked(process: psutil.Process) -> bool:
    """Tell whether the fork server, whose command line it keeps, forked it: for a run, or for a step."""
    parent = process.parent()
    return parent is not None and _is_fork_server(process) and _is_fork_server(parent)


def _is_fork_server(process: psutil.Process) -> bool:
    return "multiprocessing.forkserver" in " ".join(process.cmdline())


def _is_engine(process: psutil.Process) -> bool:
    return "stt-whisper-cli" in " ".join(process.cmdline())


def _passing_processes(stack: ChaosStack, fault: Fault) -> list[psutil.Process]:
    """Return the processes of a kind below the code server, the youngest first."""
    workers = set() if fault is Fault.WHISPER else stack.run_workers()
    is_kind: dict[Fault, Callable[[psutil.Process], bool]] = {
        Fault.WHISPER: _is_engine,
        Fault.RUN_WORKER: lambda process: process.pid in workers and _is_forked(process),
        # Now and then it is that of a run which nobody was told of yet.
        Fault.STEP: lambda process: bool(workers) and process.pid not in workers and _is_forked(process),
    }
    found = []
    for process in psutil.Process(stack.parts["code"]["pid"]).children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE and is_kind[fault](process):
                found.append((process.create_time(), process))
        except psutil.NoSuchProcess:  # gone meanwhile
            continue
    return [process for _, process in sorted(found, key=lambda pair: -pair[0])]
