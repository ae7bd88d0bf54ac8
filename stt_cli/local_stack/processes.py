"""Process hygiene: nothing the local stack starts outlives it, whatever kills it.

Every process carries `STT_STACK_HOME` in its environment, and hands it to its children: Dagster's run workers, their
step processes, whisper.cpp. Those started by the supervisor are enlisted by pid and start time as well, since a
program may overwrite its environment (redis-server does, to show a title in `ps`). `sweep` ends all that carry the mark
of a home or are enlisted there. The `Guard` is a small process that waits for the end of a pipe, which the kernel
closes however its owner dies (kill -9 too), and then sweeps.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil

from stt_cli.local_stack.home import StackHome
from stt_core.errors import ConfigurationError
from stt_core.logs import get_logger
from stt_core.temp_dirs import remove_abandoned_folders

logger = get_logger(__name__)

#: The mark of every process of a stack; its value is the path of the stack's home.
MARK = "STT_STACK_HOME"
#: How long the kernel gets to end a killed process; only one stuck in a disk or network call takes longer, seconds.
_KILL_SECONDS = 5.0
#: How long the guard of a supervisor that was killed may take to end its processes and free the lock, seconds.
_TAKEOVER_SECONDS = 6.0


class AlreadyRunningError(ConfigurationError):
    """Somebody else runs a stack in this home."""

    kind = "already-running"


def marked_environment(home: StackHome, additions: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a process of the stack: this process's, the mark, then `additions`."""
    return {**os.environ, MARK: str(home.path), **additions}


def enlist(home: StackHome, name: str, pid: int) -> None:
    """Write down a process just started, and forget those that ended."""
    enlisted = {key: entry for key, entry in home.read(home.processes_file).items() if running_process(entry)}
    home.write(home.processes_file, enlisted | {f"{name} {pid}": identity(pid)})


def sweep(home: StackHome) -> int:
    """Kill every process that carries this home's mark or is enlisted there; return how many there were.

    Their temporary folders go with them. The caller must not carry the mark itself.
    """
    enlisted = filter(None, map(running_process, home.read(home.processes_file).values()))
    victims = {process.pid: process for process in (*enlisted, *_marked(home))}
    count = 0
    while victims:
        count += len(victims)
        for process in victims.values():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                logger.debug("process {} has ended by itself", process.pid)
        deadline = time.monotonic() + _KILL_SECONDS
        while alive := [process.pid for process in victims.values() if _is_alive(process)]:
            if time.monotonic() > deadline:
                logger.warning("processes {} of the stack at {} do not end", alive, home.path)
                return count
            time.sleep(0.01)
        victims = {process.pid: process for process in _marked(home)}  # born while we looked
    remove_abandoned_folders()
    return count


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        logger.trace("process {} is gone", process.pid)
        return False


def _marked(home: StackHome) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _mark_of(process) == str(home.path)]


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK) if process.pid != os.getpid() and _is_alive(process) else None
    except (psutil.Error, OSError) as error:
        logger.trace("process {} is gone or not ours: {}", process.pid, error)
        return None


def identity(pid: int) -> dict[str, Any]:
    """Return what names a process for good: a pid alone may be another's by the time it is read."""
    try:
        return {"pid": pid, "process_started": psutil.Process(pid).create_time()}
    except psutil.NoSuchProcess:
        logger.debug("process {} has ended", pid)
        return {"pid": pid, "process_started": 0.0}


def running_process(identity: Mapping[str, Any]) -> psutil.Process | None:
    """Return the process that an `identity` names, if it still runs."""
    try:
        process = psutil.Process(int(identity["pid"]))
        # Start times are told against a boot time that moves when the clock is set.
        same = abs(process.create_time() - identity["process_started"]) < 2
    except (psutil.Error, KeyError, TypeError, ValueError) as error:
        logger.trace("no process {}: {}", identity, error)
        return None
    return process if same and _is_alive(process) else None


def running_state(home: StackHome) -> dict[str, Any] | None:
    """Return what the supervisor of this home tells about its stack (`StackHome.state_file`), if it runs."""
    state = home.read(home.state_file)
    return state if running_process(state) else None


class Guard:
    """Sweeps a home when this process ends, however it ends.

    Args:
        home: What to sweep.
        lock: File descriptor of a lock of this process; the guard shares it, so that the lock is free only when
            everything is swept.
    """

    def __init__(self, home: StackHome, *, lock: int | None = None) -> None:
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(home.path)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is not for it
            env=environment,
            pass_fds=() if lock is None else (lock,),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def hold(home: StackHome) -> Iterator[None]:
    """Be the only one who runs a stack in this home; clean up before, and after however this process ends.

    Raises:
        AlreadyRunningError: Somebody else holds it.
    """
    lock = _lock(home)
    try:
        left_over = sweep(home)
        if left_over:
            logger.warning("ended {} processes that a killed stack left behind", left_over)
        with Guard(home, lock=lock):
            yield
    finally:
        os.close(lock)


def _lock(home: StackHome) -> int:
    descriptor = os.open(home.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _TAKEOVER_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError as error:
            state = home.read(home.state_file)
            if running_process(state) or time.monotonic() > deadline:
                os.close(descriptor)
                raise AlreadyRunningError(
                    f"A stack already runs in {home.path} (process {state.get('pid')}).",
                    mend="Use it, or end it with `stt down`. For a second one beside it set STT_HOME, STT_API_PORT "
                    "and STT_DAGSTER_PORT.",
                ) from error
        time.sleep(0.1)  # its supervisor was killed, and the guard is still ending the processes


def group_is_alive(group: int) -> bool:
    """Tell whether any process of a process group still runs."""
    return any(_group_of(process.pid) == group and _is_alive(process) for process in psutil.process_iter())


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError) as error:
        logger.trace("process {} is gone or not ours: {}", pid, error)
        return None


if __name__ == "__main__":
    sys.stdin.buffer.read()  # until the guarded process has ended
    sweep(StackHome.at(Path(sys.argv[1])))
