"""`stt up`, `stt down`, `stt ps`: the local stack in the foreground, in the background, and what runs."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

import psutil
import typer
from rich.table import Table

from stt_cli.console import err, note, out, write_log_line
from stt_cli.doctor import check_model, check_names, ensure_startable
from stt_cli.local_stack.home import StackHome
from stt_cli.local_stack.log_file import LogFile
from stt_cli.local_stack.processes import AlreadyRunningError, running_process, running_state, sweep
from stt_cli.local_stack.stack import running_stack
from stt_cli.local_stack.supervisor import StartupError
from stt_core.errors import ConfigurationError, SttError
from stt_core.logs import get_logger, setup_logging, unlogged
from stt_core.settings import Settings, load_settings

logger = get_logger(__name__)

#: `stt down` waits so long for an orderly end (the supervisor's own limit is under 15 s) before it kills, seconds.
_DOWN_SECONDS = 20.0
_INTERVAL = 0.1


class NotRunningError(ConfigurationError):
    """There is no stack to show."""

    kind = "not-running"


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once the stack is ready.")] = False,
) -> None:
    """Start the stack: servers, API and Dagster. Ctrl-C stops all of it."""
    settings = load_settings()
    if settings.stt_home.exists() and (state := running_state(StackHome.at(settings.stt_home))):
        raise AlreadyRunningError(
            f"A stack already runs in {settings.stt_home} (process {state['pid']}).",
            mend="`stt ps` shows it, `stt down` ends it. For a second one beside it set STT_HOME, STT_API_PORT and "
            "STT_DAGSTER_PORT.",
        )
    ensure_startable(settings)
    for finding in (*check_names(), check_model(settings)):
        if finding.is_problem:
            note(f"warning: {finding.says} {finding.mend or ''}")
    if detach:
        _start_detached(settings)
    else:
        _run_in_foreground(settings)


def down() -> None:
    """Stop the stack of this STT_HOME, and whatever a killed one left behind."""
    home = StackHome.at(load_settings().stt_home)
    state = home.read(home.state_file)
    supervisor = running_process(state)
    if supervisor is None:
        left_over = sweep(home)
        note(f"No stack runs in {home.path}." + (f" Ended {left_over} processes left over." if left_over else ""))
        return
    supervisor.terminate()
    deadline = time.monotonic() + _DOWN_SECONDS
    while running_process(state):  # one that ended is not waited for until its parent notices, as psutil would
        if time.monotonic() > deadline:
            logger.warning("the supervisor does not end, killing the stack")
            supervisor.kill()
            sweep(home)
            break
        time.sleep(_INTERVAL)
    note(f"Stopped the stack in {home.path}.")


def ps() -> None:
    """Show what runs. The exit status is 1 when nothing does."""
    home = StackHome.at(load_settings().stt_home)
    state = running_state(home)
    if state is None:
        raise NotRunningError(f"No stack runs in {home.path}.", mend="`stt up` starts it.")
    out.print(_table(state))
    _show_addresses(state)


def _run_in_foreground(settings: Settings) -> None:
    home = StackHome.at(settings.stt_home)
    log = LogFile(home.log_file)
    is_detached = log.is_at(sys.stderr.fileno())

    @unlogged
    def write_line(part: str, line: str) -> None:
        log.write(part, line)
        if not is_detached:
            write_log_line(part, line)

    def write_own_lines(message: str) -> None:
        for line in message.splitlines():
            write_line("stt", line)

    setup_logging(settings.log_level, json=settings.log_json, sink=write_own_lines)
    # SIGINT too: a shell script starts its background jobs with it ignored, and Python leaves it so.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with running_stack(settings, write_line=write_line) as supervisor:
            _show_addresses(home.read(home.state_file))
            note("Ctrl-C stops everything.")
            supervisor.wait()
    except KeyboardInterrupt:
        logger.info("stopped as asked")
    except SttError:
        setup_logging("CRITICAL")  # the command's last line says it, as for every other command
        raise


def _start_detached(settings: Settings) -> None:
    home = StackHome.at(settings.stt_home)
    begin = home.log_file.stat().st_size if home.log_file.exists() else 0
    with home.log_file.open("ab") as log:  # to append: after a rollover, writing goes on at the new end
        child = subprocess.Popen(
            [sys.executable, "-m", "stt_cli", "up"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        with err.status(f"starting; the log is {home.log_file}"):
            state = _wait_until_ready(home, child, begin)
    except KeyboardInterrupt:
        logger.info("interrupted while starting")
        child.terminate()
        child.wait()
        raise
    _show_addresses(state)
    note(f"`stt ps` shows it, `stt down` ends it; the log is {home.log_file}")


def _wait_until_ready(home: StackHome, child: subprocess.Popen[bytes], begin: int) -> dict[str, Any]:
    while child.poll() is None:
        state = home.read(home.state_file)
        if state.get("pid") == child.pid and state.get("ready"):
            return state
        time.sleep(_INTERVAL)
    log = home.log_file.read_bytes()[begin:].decode(errors="replace")
    said = re.search(r"^error: (.*?)(?:\n +mend: (.*))?\n*\Z", log, re.DOTALL | re.MULTILINE)
    message = said[1] if said else "The stack did not start:\n" + "\n".join(log.splitlines()[-20:])
    mend = f"{said[2]} " if said and said[2] else ""
    raise StartupError(message, mend=f"{mend}The whole log is {home.log_file}.")


def _show_addresses(state: Mapping[str, Any]) -> None:
    out.print(f"Page       {state.get('api_url')}", highlight=False, soft_wrap=True)
    out.print(f"API docs   {state.get('api_url')}/docs", highlight=False, soft_wrap=True)
    out.print(f"Dagster UI {state.get('dagster_url')}", highlight=False, soft_wrap=True)


def _table(state: Mapping[str, Any]) -> Table:
    table = Table("NAME", "STATE", "PID", "PORT", "RESTARTS", "UP", "MEMORY", box=None, header_style="bold")
    for name, part in state["parts"].items():
        process = psutil.Process(part["pid"]) if part["pid"] and psutil.pid_exists(part["pid"]) else None
        table.add_row(
            name,
            "[green]ready" if part["ready"] else "[yellow]starting",
            str(part["pid"] or ""),
            str(part["port"] or ""),
            str(part["restarts"]),
            str(timedelta(seconds=int(time.time() - part["started"]))) if process else "",
            f"{process.memory_info().rss / 1e6:.0f} MB" if process else "",
        )
    return table
