"""The supervisor: starts the parts of a stack, keeps them running, and ends them all.

Parts stand in layers. A layer starts when every part of the one before is ready. At the end the first layer, the
servers, stops after all others, so that whoever is interrupted can still write down that it was. A part that dies is
started again, later each time, and the log says so.
Each part is a process group of its own, so Ctrl-C in the terminal reaches the supervisor alone.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Self

from stt_cli.local_stack.home import StackHome, is_free
from stt_cli.local_stack.processes import enlist, group_is_alive, identity, marked_environment, sweep
from stt_core.errors import ConfigurationError, ExecutableNotFoundError, PermanentError, SttError
from stt_core.logs import form_line, get_logger, unlogged

logger = get_logger(__name__)

#: Every part must be ready this soon after the start, seconds; a slow laptop with cold disks needs about 30.
STARTUP_SECONDS = 120.0
#: What processes get between SIGTERM and SIGKILL, seconds; twice that, for the servers stop last, stays under 15.
_GRACE_SECONDS = 6.0
#: Wait before a part that died starts again, seconds: doubled with each life shorter than the longest wait, which is
#: short, for everything else waits with it.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
#: A part that dies so often before it was ever ready will not come.
_STARTUP_ATTEMPTS = 3
_PROBE_INTERVAL = 0.1
#: What programs call their levels, where that is not as Python does.
_LEVELS = {"#": "WARNING", "NOTICE": "INFO", "CRITICAL": "ERROR", "FATAL": "ERROR"}
#: A longer line of output is cut, characters.
_LONGEST_LINE = 2**20


class PortTakenError(ConfigurationError):
    """Somebody else listens on a port that the stack is to use."""

    kind = "port-taken"


class StartupError(PermanentError):
    """A part of the stack did not become ready."""

    kind = "startup-failed"
    expected = True


def ensure_free(port: int, variable: str, host: str = "127.0.0.1") -> None:
    """Raise PortTakenError where somebody else listens on the port that a setting names."""
    if not is_free(port, host):
        raise PortTakenError(
            f"{variable}: somebody else listens on port {port} of {host}.",
            mend=f"Stop that server, or set {variable} to another port.",
        )


@dataclass(frozen=True)
class Part:
    """One process of the stack.

    Args:
        name: Name in the log.
        command: Command line, without secrets.
        environment: Variables beside the supervisor's own; may hold secrets.
        is_ready: Asked until it answers True; answers within seconds and does not raise.
        port: Where it listens, if it does.
        port_variable: Setting that names the port; with it, a taken port is refused before anything starts.
        host: Address it listens on.
        prepare: Called before each start.
        noise: Lines of output to leave out of the log.
        head: How a line begins whose form is the program's own, with its `level`.
        quiet_end: Whether all it says once the stack stops is left out.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    is_ready: Callable[[], bool]
    port: int | None = None
    port_variable: str | None = None
    host: str = "127.0.0.1"
    prepare: Callable[[], None] = lambda: None
    noise: re.Pattern[str] | None = None
    head: re.Pattern[str] | None = None
    quiet_end: bool = False


@dataclass
class _Life:
    """What the supervisor knows of a part: its process and how it fares."""

    part: Part
    process: subprocess.Popen[str] | None = None
    started: float = 0.0
    ready: bool = False
    was_ready: bool = False
    restarts: int = 0
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=12))

    @property
    def ending(self) -> str:
        assert self.process is not None
        status = self.process.returncode
        return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    @property
    def last_words(self) -> str:
        return "Its last lines:\n" + "\n".join(f"  {line}" for line in self.last_lines)

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "pid": self.process.pid if self.process else None,
            "port": self.part.port,
            "ready": self.ready,
            "restarts": self.restarts,
            "started": self.started,
        }


class Supervisor:
    """Ends what it started when its context closes. Whoever makes one holds the home (`processes.hold`).

    Args:
        home: Where it enlists processes and tells others about them (`state_file`).
        layers: Parts, servers first.
        facts: What else the state file tells: addresses for people.
        write_line: Takes the name of a part and a line of its output; called from several threads.
    """

    def __init__(
        self,
        home: StackHome,
        layers: Sequence[Sequence[Part]],
        *,
        facts: Mapping[str, Any],
        write_line: Callable[[str, str], None],
    ) -> None:
        self._home = home
        self._layers = [[_Life(part) for part in layer] for layer in layers]
        self._lives = list(chain.from_iterable(self._layers))
        self._facts = dict(facts)
        self._write_line = write_line
        #: Guards every field below and the lives; notified when any of them changes.
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._failure: SttError | None = None
        self._pumps: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for part in (life.part for life in self._lives):
            if part.port and part.port_variable:
                ensure_free(part.port, part.port_variable, part.host)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        servers, *others = self._layers
        for lives in (chain.from_iterable(others), servers):
            _end([life.process for life in lives if life.process])
        sweep(self._home)
        for pump in self._pumps:
            pump.join(timeout=1)
        self._home.state_file.unlink(missing_ok=True)
        logger.info("everything is stopped")

    def start(self) -> None:
        """Start everything; return when every part is ready, or when asked to stop.

        Raises:
            StartupError: A part ended again and again, or was not ready in time; names it and quotes its last lines.
        """
        started = time.monotonic()
        for layer in self._layers:
            for life in layer:
                threading.Thread(target=self._keep, args=(life,), name=life.part.name, daemon=True).start()
            with self._changed:
                while not (self._stopping.is_set() or all(life.ready for life in layer)):
                    if not self._changed.wait(started + STARTUP_SECONDS - time.monotonic()):
                        late = [life for life in self._lives if life.process and not life.ready]
                        raise StartupError(
                            f"Not ready within {STARTUP_SECONDS:.0f} s: "
                            + "; ".join(f"{life.part.name}. {life.last_words}" for life in late)
                        )
            if self._failure:
                raise self._failure
        self._facts["ready"] = True
        self._tell()
        if not self._stopping.is_set():
            logger.info("every part is ready after {:.1f} s", time.monotonic() - started)

    def wait(self) -> None:
        """Return when somebody asked to stop.

        Raises:
            SttError: A part cannot be started any more.
        """
        self._stopping.wait()
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """Ask to stop: nothing is started any more, and `wait` returns."""
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()

    def _keep(self, life: _Life) -> None:
        """Start a part, and start it again whenever it ends; the life of the part's thread."""
        short_lives = 0
        try:
            while self._spawn(life):
                self._probe(life)
                assert life.process is not None
                life.process.wait()
                if self._stopping.is_set():
                    return
                short_lives = short_lives + 1 if time.time() - life.started < _LONGEST_WAIT else 1
                self._mourn(life, short_lives)
        except (SttError, OSError) as error:
            logger.error("{} is given up: {}", life.part.name, error)
            with self._changed:
                self._failure = error if isinstance(error, SttError) else StartupError(f"{life.part.name}: {error}.")
                self.stop()

    def _spawn(self, life: _Life) -> bool:
        """Start the part's process unless the stack is stopping."""
        try:
            life.part.prepare()
            # Asked, started and written down in one turn: who asks to stop finds all of it, or none.
            with self._changed:
                if self._stopping.is_set():
                    return False
                life.process = subprocess.Popen(
                    life.part.command,
                    env=marked_environment(self._home, life.part.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    start_new_session=True,
                )
                life.started = time.time()
                enlist(self._home, life.part.name, life.process.pid)
                pump = threading.Thread(target=self._pump, args=(life, life.process), daemon=True)
                pump.start()
                self._pumps.append(pump)
        except OSError as error:
            raise ExecutableNotFoundError(
                f"{life.part.name} cannot be started: {error}.", mend="Check that the installation is complete."
            ) from error
        self._tell()
        return True

    def _pump(self, life: _Life, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            while line := stream.readline(_LONGEST_LINE):
                life.last_lines.append(line.rstrip())
                is_noise = life.part.noise and life.part.noise.search(line)
                if not is_noise and not (life.part.quiet_end and self._stopping.is_set()):
                    self._write_line(life.part.name, _in_our_form(life.part, line.rstrip()))

    def _probe(self, life: _Life) -> None:
        """Return when the part is ready, has ended or is to stop."""
        assert life.process is not None
        while life.process.poll() is None and not self._stopping.is_set():
            if life.part.is_ready():
                logger.info("{} is ready after {:.1f} s", life.part.name, time.time() - life.started)
                with self._changed:
                    life.ready = life.was_ready = True
                    self._changed.notify_all()
                self._tell()
                return
            self._stopping.wait(_PROBE_INTERVAL)

    def _mourn(self, life: _Life, short_lives: int) -> None:
        """Say that a part died and wait until it may start again.

        Raises:
            StartupError: It has died too often without ever being ready.
        """
        life.ready = False
        if not life.was_ready and short_lives == _STARTUP_ATTEMPTS:
            raise StartupError(f"{life.part.name} does not start ({life.ending}). {life.last_words}")
        wait = min(_FIRST_WAIT * 2 ** (short_lives - 1), _LONGEST_WAIT)
        logger.warning("{} ended ({}); starting it again in {:.1f} s", life.part.name, life.ending, wait)
        life.restarts += 1
        self._tell()
        self._stopping.wait(wait)

    def _tell(self) -> None:
        with self._changed:
            if self._stopping.is_set():  # the file is deleted at the end, and stays so
                return
            parts = {life.part.name: life.facts for life in self._lives}
            self._home.write(self._home.state_file, {**self._facts, **identity(os.getpid()), "parts": parts})


@unlogged  # for each line of the log
def _in_our_form(part: Part, line: str) -> str:
    head = part.head and part.head.match(line)
    if not head:
        return line
    return form_line(_LEVELS.get(head["level"], head["level"]), part.name, line[head.end() :])


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    """End process groups: SIGTERM, a while to finish, SIGKILL.

    A process sees to its children itself; twice told to end, they would be disturbed while they put things in order.
    """
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.debug("process {} is still at it", process.pid)
        else:
            _signal_group(process, signal.SIGTERM)  # children that it left behind
    for process in processes:
        while process.poll() is None or group_is_alive(process.pid):
            if time.monotonic() > deadline:
                logger.warning("process group {} does not end on SIGTERM, killing it", process.pid)
                _signal_group(process, signal.SIGKILL)
                break
            time.sleep(0.05)


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        logger.debug("process group {} has ended by itself", process.pid)
