"""One run of an engine as a process: found, started, watched, ended, and its exit code explained.

Exit codes of whisper.cpp lie (0 without any output), so success is not decided here: the caller asks for the output.
What is decided here is failure: a signal, an exit code other than 0, too much time, or a job that is no longer wanted.
"""

from __future__ import annotations

import errno
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from stt_core.engines import launcher
from stt_core.errors import (
    DiskFullError,
    EngineError,
    EngineStoppedError,
    EngineTimeoutError,
    ExecutableNotFoundError,
    ModelInvalidError,
)
from stt_core.logs import get_logger

logger = get_logger(__name__)

Answer = TypeVar("Answer")
Read = TypeVar("Read")

#: How often an engine's outputs are looked at, seconds.
_LOOK_SECONDS = 1.0
#: How often `should_stop` is asked, seconds: it asks MongoDB. A step of a run is interrupted sooner, by what watches
#: its claim.
_STOP_SECONDS = 4.0
_EXIT_MODEL = 3
_STDERR_LINES = 5
_cpu_seconds = 0.0
#: What ended an engine, by signal, and what to do about it.
_SIGNALS = {
    signal.SIGKILL: "It was killed, most likely for want of memory: use a smaller model or fewer parallel steps.",
    signal.SIGILL: "It was built for another processor: use the default executable or build whisper.cpp here.",
    signal.SIGABRT: "It gave up: a damaged model, a limit on memory, or a defect of this build.",
    signal.SIGSEGV: "It crashed: a damaged model, or a defect of this build.",
}


def find_executable(name_or_path: str) -> Path:
    """Find a program: a path as it is, a name on PATH or beside the running Python (a venv that is not activated).

    Raises:
        ExecutableNotFoundError: There is none, or it is not executable.
    """
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name_or_path) or shutil.which(name_or_path, path=beside)
    if found is None:
        raise ExecutableNotFoundError(
            f"WHISPER_CPP_EXECUTABLE: there is no executable program {name_or_path!r}.",
            mend="Set it to the path of a whisper-cli, or leave it out for the default one, stt-whisper-cli.",
        )
    return Path(found).absolute()


def words_of(watched: Generator[None, None, str]) -> str:
    """Watch an engine to its end and return what it wrote to standard error."""
    try:
        while True:
            next(watched)
    except StopIteration as ended:
        logger.trace("the engine has ended")
        return str(ended.value)


def watch_engine(
    command: Sequence[str], *, timeout_seconds: float, should_stop: Callable[[], bool] | None = None
) -> Generator[None, None, str]:
    """Run an engine; yield every second, so that its outputs can be looked at, and return what it wrote to stderr.

    It has its own process group, which is ended whole, also when the generator is closed; it dies when this process
    does.

    Args:
        command: Program (a path) and arguments.
        timeout_seconds: How long it may take.
        should_stop: Asked every few seconds; true ends the engine.

    Raises:
        EngineError: It ended with an exit code other than 0 or by a signal.
        EngineTimeoutError: It took too long.
        EngineStoppedError: `should_stop` said so.
        DiskFullError: There is no room for its output.
        ModelInvalidError: It cannot load the model.
        ExecutableNotFoundError: The program cannot be run.
    """
    logger.debug("command: {}", shlex.join(command))
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=engine_environment(),
        process_group=0,  # not a session: Linux would balance sessions, whatever priority their processes have
    )
    logger.debug("engine started: pid={}, timeout {:.0f} s", process.pid, timeout_seconds)
    cpu_before = children_cpu()

    def wait(seconds: float) -> bytes | None:
        try:
            return process.communicate(timeout=seconds)[1]
        except subprocess.TimeoutExpired as waited:
            logger.trace("{}", waited)
            return None

    try:
        stderr = (yield from wait_patiently(wait, timeout_seconds, should_stop)).decode("utf-8", "replace")
    finally:
        _end(process)
        count_engine_cpu(children_cpu() - cpu_before)
    check_exit(process.returncode, stderr, command)
    return stderr


def engine_environment() -> dict[str, str]:
    """Return the environment of an engine: this process's, and that threads wait for work without spinning.

    Those that spin took four times the CPU on busy cores.
    """
    return {**os.environ, "OMP_WAIT_POLICY": "passive"}


def wait_patiently(
    wait: Callable[[float], Answer | None], timeout_seconds: float, should_stop: Callable[[], bool] | None
) -> Generator[None, None, Answer]:
    """Wait for an engine; yield every second, and return its answer.

    Args:
        wait: Waits for up to so many seconds, and returns None where there is no answer yet.
        timeout_seconds: How long it may take.
        should_stop: Asked every few seconds; true ends the wait.

    Raises:
        EngineTimeoutError: It took too long.
        EngineStoppedError: `should_stop` said so.
    """
    deadline, asked_at = time.monotonic() + timeout_seconds, -_STOP_SECONDS
    while (answer := wait(max(0.0, min(_LOOK_SECONDS, deadline - time.monotonic())))) is None:
        yield
        now = time.monotonic()
        if should_stop is not None and now - asked_at >= _STOP_SECONDS:
            asked_at = now
            if should_stop():
                raise EngineStoppedError("The engine was stopped: its job is no longer wanted.")
        if now >= deadline:
            raise EngineTimeoutError(
                f"The engine took longer than {timeout_seconds:g} s and was ended.",
                mend="Raise WHISPER_TIMEOUT_PER_AUDIO_SECOND, or use a smaller model.",
            )
        logger.trace("the engine is still at work")
    return answer


def read_while_written(
    watched: Generator[None, None, str], outputs: Sequence[Path], read: Callable[[int], Read], *, behind: int = 0
) -> Generator[Read]:
    """Yield what an engine writes, one file after the other, each as soon as it is whole.

    Args:
        watched: From `watch_engine`; closed in any case.
        outputs: The files, in the order in which they appear.
        read: Reads the one at a position; asked for all of them when the engine has ended.
        behind: A file is whole when so many after it are there; all are when the engine has ended.

    Raises:
        EngineError, EngineTimeoutError: What `watched` raises, after all that the engine had finished was yielded.
    """
    position = 0

    def is_there(ahead: int) -> bool:
        return position + ahead < len(outputs) and outputs[position + ahead].exists()

    with closing(watched):
        try:
            for _ in watched:
                while is_there(behind):
                    yield read(position)
                    position += 1
        except (EngineError, EngineTimeoutError):
            try:
                while is_there(0):
                    yield read(position)
                    position += 1
            except EngineError as error:
                logger.info("the engine failed while it wrote: {}", error)
            raise
    while position < len(outputs):
        yield read(position)
        position += 1


def engine_cpu_seconds() -> float:
    """Return the CPU seconds of all engines that this process has run, also of those that failed or were ended.

    It is what the processes took that this one waited for meanwhile: where it runs others at the same time, those
    count too.
    """
    return _cpu_seconds


def count_engine_cpu(seconds: float) -> None:
    """Add what an engine took."""
    global _cpu_seconds
    _cpu_seconds += seconds


def children_cpu() -> float:
    """Return the CPU seconds of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        logger.debug("engine {} was gone already", process.pid)
    process.communicate()


def check_exit(code: int, stderr: str, command: Sequence[str]) -> None:
    """Explain an exit code other than 0, of the command that ended with it and wrote that to standard error.

    Raises:
        EngineError, DiskFullError, ModelInvalidError, ExecutableNotFoundError: As of `watch_engine`.
    """
    if code == 0:
        return
    said = " | ".join([line.strip() for line in stderr.splitlines() if line.strip()][-_STDERR_LINES:]) or "nothing"
    for path in (argument for argument in command[1:] if argument.startswith(os.sep)):  # callers see no folders
        said = said.replace(path, Path(path).name)
    program = command[0]
    if code == launcher.EXIT_CANNOT_RUN:
        raise ExecutableNotFoundError(
            f"WHISPER_CPP_EXECUTABLE: {program} cannot be run. It said: {said}",
            mend="Set it to a program for this machine, or leave it out for the default one.",
        )
    if code == _EXIT_MODEL:
        raise ModelInvalidError(
            f"The engine cannot load the model. It said: {said}", mend="Download the model again.", exit_code=code
        )
    if os.strerror(errno.ENOSPC) in stderr:
        raise DiskFullError(f"The engine has no room for its output. It said: {said}", mend="Free space there.")
    number = -code if code < 0 else code - 128  # a shell script in between turns signal n into 128 + n
    known = {item.value for item in signal.Signals}
    if number in known:
        ended = signal.Signals(number)
        if ended is signal.SIGILL:  # it would end so every time
            raise ExecutableNotFoundError(
                f"WHISPER_CPP_EXECUTABLE: {program} was ended by SIGILL.", mend=_SIGNALS[ended]
            )
        raise EngineError(
            f"The engine was ended by {ended.name}. It said: {said}", mend=_SIGNALS.get(ended), exit_code=code
        )
    raise EngineError(f"The engine failed with exit code {code}. It said: {said}", exit_code=code)
