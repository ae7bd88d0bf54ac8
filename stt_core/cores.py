"""The cores of this host, leased: an engine computes on as many threads as its caller holds cores.

A core is a file that its holder locks (flock), so that the kernel gives it back however the holder ends. The files lie
in a folder of the host and the user, not of a stack: two stacks on one machine share its cores. Lanes do not: work of
the backfill lane steps aside by its priority and its pauses (`stt_core.processing.lanes`), and no upload waits for it.

An engine does not inherit the lock, which is closed on exec: what it might leave behind would keep a core for ever. So
a holder that is killed gives its cores back a moment before its engine ends, by the kernel's signal
(`stt_core.engines.launcher`) or because it misses its caller (`stt_core.engines.serving`).
A holder that is stopped (SIGSTOP) keeps its file, which says who it is: others pass it over and take one in its place.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psutil

from stt_core.errors import ConfigurationError, EngineStoppedError
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: How often a waiter looks for a free core, seconds: flock waits for one file, not for one of several.
_LOOK_SECONDS = 0.05
#: How often a waiter asks whether to stop, and for how long it waits without a word, seconds.
_STOP_SECONDS = 1.0
#: Of a container: its share of the processors' time, and the period that this is of, microseconds.
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")

#: Bytes of a Unix socket's path, at the most, on every system.
_LONGEST_SOCKET = 103

_waited_seconds = 0.0


@dataclass(frozen=True)
class Lease:
    """Cores that are held, by their numbers; `folder` and `lane` are those of the lease."""

    numbers: tuple[int, ...]
    folder: Path
    lane: str

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.numbers)

    @property
    def slot(self) -> Path | None:
        """Where an engine may listen that stays between leases; None where the path is too long for a socket."""
        path = self.folder / f"{self.lane}-engine-{self.numbers[0]}"
        return path if len(os.fsencode(path)) <= _LONGEST_SOCKET else None


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may use, at least one: of 1.5 CPUs it is one."""
    if sys.platform == "linux":
        numbers = sorted(os.sched_getaffinity(0))
    else:
        numbers = list(range(os.cpu_count() or 1))
    if _CPU_MAX.exists():
        share, _, period = _CPU_MAX.read_text().partition(" ")
        if share != "max":
            numbers = numbers[: max(1, int(share) // int(period))]
    return numbers


def cores_folder(named: Path | None) -> Path:
    """Return the folder of the leases, made if need be: the named one, or that of this host and user.

    It must not depend on TMPDIR, which may differ between the stacks that share its cores.

    Raises:
        ConfigurationError: It cannot be made, or is not this user's own.
    """
    user = os.geteuid()
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user}")
    # `sudo` may hand on the variable of somebody else, and the folder goes when its user logs out.
    is_usable = os.access(runtime, os.W_OK | os.X_OK) and runtime.stat().st_uid == user
    folder = named or (runtime / "stt" if is_usable else Path(f"/tmp/stt-{user}"))
    mend = "Set CORES_DIR to a folder of this user on this host, the same for all stacks that share its cores."
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ConfigurationError(f"CORES_DIR: {folder} cannot be used: {error.strerror}.", mend=mend) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user:
        raise ConfigurationError(f"CORES_DIR: {folder} is a link, or another user's.", mend=mend)
    return folder


@contextmanager
def lease_cores(
    folder: Path, wanted: int, *, lane: str, should_stop: Callable[[], bool] | None = None
) -> Iterator[Lease]:
    """Hold up to `wanted` cores of this host while the block runs; wait until there is one.

    Meant for one call of an engine over a few chunks, so that others wait for seconds, not for the whole recording.
    One waiter at a time takes what becomes free; who gives cores back and wants some again waits behind it.

    Args:
        folder: From `cores_folder`.
        wanted: How many to take at the most.
        lane: Whose cores; another lane's do not count.
        should_stop: Asked before the wait and every second of it.

    Raises:
        EngineStoppedError: `should_stop` said so.
    """
    usable = usable_cores()
    with ExitStack() as held:
        with ExitStack() as turn:
            is_first = False

            def take() -> tuple[int, ...]:
                nonlocal is_first
                is_first = is_first or _try_lock(folder / f"{lane}-queue", turn)
                free = (number for number in usable if _try_lock(folder / f"{lane}-core-{number}", held))
                return tuple(islice(free, wanted)) if is_first else ()

            numbers = _wait(take, should_stop)
        yield Lease(numbers, folder, lane)


def waited_seconds() -> float:
    """Return how long this process has waited for cores, all in all.

    Where it waits in several threads, each counts.
    """
    return _waited_seconds


def _wait(take: Callable[[], tuple[int, ...]], should_stop: Callable[[], bool] | None) -> tuple[int, ...]:
    global _waited_seconds
    started = ask_at = time.monotonic()
    has_spoken = False
    try:
        while not (numbers := take()):
            if time.monotonic() >= ask_at:
                if ask_at > started and not has_spoken:
                    logger.info("all cores of this host are at work: waiting for one")
                    has_spoken = True
                if should_stop is not None and should_stop():
                    raise EngineStoppedError("The wait for a core was ended: its job is no longer wanted.")
                ask_at += _STOP_SECONDS
            time.sleep(_LOOK_SECONDS)
    finally:
        _waited_seconds += time.monotonic() - started
    return numbers


def _try_lock(path: Path, held: ExitStack) -> bool:
    """Lock a file until the stack is closed, if nobody has it; where a stopped process has it, another in its place."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        logger.trace("{} is taken: {}", path, error)
        holder = os.read(file, 20).decode()
        os.close(file)
        return _is_stopped(holder) and _try_lock(path.with_name(f"{path.name}.{holder}"), held)
    held.callback(os.close, file)
    os.truncate(file, 0)
    os.write(file, str(os.getpid()).encode())
    return True


def _is_stopped(pid: str) -> bool:
    try:
        return psutil.Process(int(pid)).status() == psutil.STATUS_STOPPED
    except (psutil.Error, ValueError) as error:  # it has just taken the file, or just ended
        logger.trace("no process {}: {}", pid, error)
        return False
