"""Warm engines: one a slot of cores, which keeps its model loaded from one call to the next, whoever calls.

Whoever holds cores (`stt_core.cores`) has their slot: the place of a socket, where the engine listens that was started
by the holder before, if it still runs. It belongs to nobody: runs come and go, and it ends by itself when it has not
been called for a while (`stt_core.engines.serving`), at once when its caller ends while it works, and with the stack
whose mark it carries. An engine of another kind or model in the slot is told to quit.

An engine that was started for the call and dies is an error, explained by its exit code. One that was there before and
dies is replaced by another, once: what it had done before may have harmed it.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from stt_core.engines.process import (
    check_exit,
    children_cpu,
    count_engine_cpu,
    engine_environment,
    wait_patiently,
    watch_engine,
)
from stt_core.errors import EngineError
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: How long an engine that waits for calls may take to say what it is, seconds; one that does not is passed over.
_GREETING_SECONDS = 5.0
#: Within this the kernel ends a killed process, seconds.
_KILL_SECONDS = 5.0
#: Engines that this process has started; those that have ended are waited for when the next one is.
_started: list[subprocess.Popen[bytes]] = []


class _GoneError(EngineError):
    """An engine that was there before the call is gone without an answer."""


@dataclass
class _Engine:
    """A connection to an engine; `child` is its process where it was started for this call."""

    connection: socket.socket
    log: Path
    child: subprocess.Popen[bytes] | None = None
    pid: int = 0
    cpu_seconds: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def read_line(self, seconds: float) -> dict[str, Any] | None:
        """Return what the engine says within that time, if it does.

        Raises:
            ConnectionError: It is gone.
        """
        while b"\n" not in self.received:
            if not select.select([self.connection], [], [], seconds)[0]:
                return None
            block = self.connection.recv(65_536)
            if not block:
                raise ConnectionResetError("the engine has closed the connection")
            self.received += block
        line, _, rest = bytes(self.received).partition(b"\n")
        self.received[:] = rest
        message: dict[str, Any] = json.loads(line)
        return message

    def say(self, message: dict[str, Any]) -> None:
        self.connection.sendall(json.dumps(message).encode() + b"\n")


def watch_program(
    program: Sequence[str],
    arguments: Sequence[str],
    *,
    slot: Path | None,
    identity: str,
    timeout_seconds: float,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[None, None, str]:
    """Let the engine of a slot answer a request; yield every second and return its words, as `watch_engine` does.

    Closing the generator, or an error, ends the engine: none is left in a state that nobody knows.

    Args:
        program: The program and its first arguments; with `--serve LISTENER IDENTITY` it serves.
        arguments: Of this request.
        slot: Of the cores that the caller holds: nobody else calls it meanwhile. None for a process that ends.
        identity: What must be the same for an engine to go on being used: model, threads.
        timeout_seconds: How long the answer may take.
        should_stop: Asked every few seconds; true ends the engine.

    Raises:
        EngineError, EngineTimeoutError, EngineStoppedError, DiskFullError, ModelInvalidError, ExecutableNotFoundError:
            As of `watch_engine`.
    """
    command = [*program, *arguments]
    if slot is None:
        return (yield from watch_engine(command, timeout_seconds=timeout_seconds, should_stop=should_stop))
    identity = shlex.join([*program, identity])
    engine = _find(slot, identity)
    if engine is not None:
        try:
            return (yield from _ask(engine, command, arguments, timeout_seconds, should_stop))
        except _GoneError as error:
            logger.warning("{} Another one is started.", error)
    engine = _start(slot, program, identity)
    return (yield from _ask(engine, command, arguments, timeout_seconds, should_stop))


def _find(slot: Path, identity: str) -> _Engine | None:
    """Return the engine that waits in a slot, if it is the one that is wanted."""
    connection = socket.socket(socket.AF_UNIX)
    engine = _Engine(connection, slot.with_suffix(".log"))
    try:
        connection.connect(str(slot))
        greeting = engine.read_line(_GREETING_SECONDS) or {}
        if greeting.get("identity") == identity:
            engine.pid, engine.cpu_seconds = greeting["pid"], greeting["cpu_seconds"]
            return engine
        if greeting:
            logger.info("engine {} makes room for another", greeting["pid"])
            engine.say({"quit": True})
            engine.read_line(_GREETING_SECONDS)  # says nothing more, but its model is out of memory when it is gone
    except OSError as error:
        logger.trace("no engine waits in {}: {}", slot.name, error)
    connection.close()
    return None


def _start(slot: Path, program: Sequence[str], identity: str) -> _Engine:
    """Start an engine that listens in a slot, and connect to it."""
    slot.unlink(missing_ok=True)
    log = slot.with_suffix(".log")
    _started[:] = [child for child in _started if child.poll() is None]
    with socket.socket(socket.AF_UNIX) as listener, log.open("ab") as words:
        words.truncate(0)
        listener.bind(str(slot))
        listener.listen()
        child = subprocess.Popen(
            [*program, "--serve", str(listener.fileno()), identity],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
            env=engine_environment(),
            pass_fds=[listener.fileno()],
            process_group=0,  # as `watch_engine` does
        )
    logger.debug("engine started to stay: pid={}, {}", child.pid, shlex.join(program))
    _started.append(child)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(slot))
    return _Engine(connection, log, child, child.pid)


def _ask(
    engine: _Engine,
    command: Sequence[str],
    arguments: Sequence[str],
    timeout_seconds: float,
    should_stop: Callable[[], bool] | None,
) -> Generator[None, None, str]:
    logger.debug("command for engine {}: {}", engine.pid, shlex.join(command))
    is_well = False
    try:
        engine.say({"arguments": list(arguments)})
        if engine.child is not None:
            yield from wait_patiently(engine.read_line, timeout_seconds, should_stop)  # its greeting
        answer = yield from wait_patiently(engine.read_line, timeout_seconds, should_stop)
        count_engine_cpu(answer["cpu_seconds"] - engine.cpu_seconds)
        is_well = answer["exit_code"] == 0
    except ConnectionError as error:
        if engine.child is None:
            raise _GoneError(f"The engine {engine.pid}, which was there before, is gone: {error}.") from error
        cpu_before = children_cpu()
        answer = {"exit_code": engine.child.wait(_KILL_SECONDS)}
        count_engine_cpu(children_cpu() - cpu_before)
        if answer["exit_code"] == 0:
            raise EngineError("The engine ended in the middle of its work.") from error
    finally:
        engine.connection.close()
        if not is_well:
            _kill(engine)
    said = engine.log.read_text(encoding="utf-8", errors="replace")
    check_exit(answer["exit_code"], said, command)
    return said


def _kill(engine: _Engine) -> None:
    """End an engine, and wait for that: it must not compute on cores that are given back."""
    try:
        process = psutil.Process(engine.pid)
        used = process.cpu_times()
        count_engine_cpu(max(0.0, used.user + used.system - engine.cpu_seconds))
        os.killpg(engine.pid, signal.SIGKILL)
        (engine.child or process).wait(_KILL_SECONDS)
    except (ProcessLookupError, psutil.NoSuchProcess):
        logger.debug("engine {} was gone already", engine.pid)
