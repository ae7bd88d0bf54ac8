"""The supervisor with real processes: stand-ins written in Python, each a server on a free port."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psutil
import pytest

from stt_cli.local_stack.home import StackHome, free_port, is_free
from stt_cli.local_stack.processes import AlreadyRunningError, hold, running_process, sweep
from stt_cli.local_stack.servers import missing_servers
from stt_cli.local_stack.stack import plan
from stt_cli.local_stack.supervisor import Part, PortTakenError, StartupError, Supervisor
from stt_core.settings import Settings
from tests.cli.conftest import marked
from tests.conftest import wait_until

#: Listens on its port and says so; `child` also leaves a child of its own, as Dagster's code server does.
STAND_IN = """
import socket, subprocess, sys, time
if sys.argv[2] == "child":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
time.sleep(600)
"""


def stand_in(name: str = "stand-in", mode: str = "alone", port: int | None = None) -> Part:
    port = port or free_port()
    return Part(
        name=name,
        command=[sys.executable, "-c", STAND_IN, str(port), mode],
        environment={},
        is_ready=lambda: not is_free(port),
        port=port,
        port_variable="STT_API_PORT",
    )


@contextmanager
def supervise(
    home: StackHome, *layers: list[Part], log: Callable[[str, str], None] = lambda part, line: None
) -> Iterator[Supervisor]:
    with hold(home), Supervisor(home, layers, facts={"api_url": "http://here"}, write_line=log) as supervisor:
        yield supervisor


def state(home: StackHome) -> dict[str, dict[str, dict[str, int]]]:
    return home.read(home.state_file)


def test_stack_when_started_then_tells_what_runs_and_leaves_nothing_after_its_end(home: StackHome) -> None:
    lines: list[tuple[str, str]] = []
    parts = [stand_in("first")], [stand_in("second", "child")]
    with supervise(home, *parts, log=lambda *line: lines.append(line)) as supervisor:
        supervisor.start()
        assert state(home)["api_url"] == "http://here"
        assert {name: part["ready"] for name, part in state(home)["parts"].items()} == {"first": True, "second": True}
        assert len(marked(home)) == 3
    assert sorted(lines) == [("first", "listening"), ("second", "listening")]
    assert marked(home) == []
    assert not home.state_file.exists()


def test_part_when_killed_then_is_started_again_and_the_stack_says_so(home: StackHome) -> None:
    part = stand_in()
    with supervise(home, [part]) as supervisor:
        supervisor.start()
        first = state(home)["parts"][part.name]["pid"]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: state(home)["parts"][part.name]["restarts"] == 1, "the death is noticed")
        wait_until(lambda: state(home)["parts"][part.name]["ready"], "the part is back")
        assert state(home)["parts"][part.name]["pid"] != first


def test_part_when_it_never_starts_then_the_error_quotes_its_last_words(home: StackHome) -> None:
    part = Part("broken", [sys.executable, "-c", "raise SystemExit('no such setting')"], {}, lambda: False)
    with supervise(home, [stand_in()], [part]) as supervisor, pytest.raises(StartupError, match="no such setting"):
        supervisor.start()
    assert marked(home) == []


def test_part_when_its_program_is_missing_then_the_error_names_it(home: StackHome) -> None:
    part = Part("absent", ["/no/such/program"], {}, lambda: False)
    with supervise(home, [part]) as supervisor, pytest.raises(Exception, match=r"absent.*/no/such/program"):
        supervisor.start()


def test_port_when_taken_then_is_refused_with_its_variable_before_anything_starts(home: StackHome) -> None:
    other = StackHome.at(home.path.parent / "other")
    part = stand_in()
    with supervise(other, [part]) as supervisor:
        supervisor.start()
        with pytest.raises(PortTakenError, match=rf"STT_API_PORT.*{part.port}"), supervise(home, [part]):
            pytest.fail("it must not start")
    assert marked(home) == []


def test_home_when_held_then_a_second_supervisor_is_told_who_runs_and_a_third_may_follow(home: StackHome) -> None:
    with supervise(home, [stand_in()]) as supervisor:
        supervisor.start()
        with pytest.raises(AlreadyRunningError, match=str(os.getpid())), supervise(home, [stand_in()]):
            pytest.fail("it must not start")
    with supervise(home, [stand_in()]) as supervisor:
        supervisor.start()


def test_two_stacks_when_side_by_side_then_the_end_of_one_does_not_touch_the_other(home: StackHome) -> None:
    other = StackHome.at(home.path.parent / "other")
    with supervise(other, [stand_in()]) as lasting:
        lasting.start()
        before = [process.pid for process in marked(other)]
        with supervise(home, [stand_in("x", "child")]) as supervisor:
            supervisor.start()
        assert marked(home) == []
        assert [process.pid for process in marked(other)] == before


class SlowThread(threading.Thread):
    """Begins late, as on a machine that has much to do."""

    def start(self) -> None:
        time.sleep(0.3)
        super().start()


@pytest.mark.parametrize("thread_class", [threading.Thread, SlowThread])
def test_stop_when_called_while_starting_then_start_returns_and_everything_ends(
    home: StackHome, monkeypatch: pytest.MonkeyPatch, thread_class: type[threading.Thread]
) -> None:
    never = Part("never", [sys.executable, "-c", "import time; time.sleep(600)"], {}, lambda: False)
    with supervise(home, [never]) as supervisor:
        starting = threading.Thread(target=supervisor.start)
        starting.start()
        monkeypatch.setattr(threading, "Thread", thread_class)
        wait_until(lambda: marked(home), "the part runs")
        supervisor.stop()
        starting.join(timeout=10)
        assert not starting.is_alive()
    assert marked(home) == []
    assert not home.state_file.exists()


SUPERVISOR = """
import sys
from pathlib import Path
from stt_cli.local_stack.home import StackHome
from tests.cli.local_stack.test_supervisor import stand_in, supervise
home = StackHome.at(Path(sys.argv[1]))
with supervise(home, [stand_in("server")], [stand_in("code", "child")]) as supervisor:
    supervisor.start()
    supervisor.wait()
"""


def start_supervisor(home: StackHome) -> subprocess.Popen[bytes]:
    """Run a stack of three processes under a supervisor in a process of its own; ready when this returns."""
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(home.path)])
    wait_until(lambda: state(home).get("ready"), "the stack is ready")
    assert len(marked(home)) == 3
    return process


def test_supervisor_when_killed_then_nothing_survives_and_the_next_one_starts_at_once(home: StackHome) -> None:
    process = start_supervisor(home)
    process.kill()
    process.wait()
    # No waiting in between: the lock is free when the guard has swept.
    with supervise(home, [stand_in("again")]) as supervisor:
        supervisor.start()
        assert len(marked(home)) == 1


def test_sweep_when_guard_was_killed_too_then_ends_what_was_left(home: StackHome) -> None:
    process = start_supervisor(home)
    guards = [child for child in psutil.Process(process.pid).children() if "processes" in " ".join(child.cmdline())]
    for victim in (*guards, psutil.Process(process.pid)):
        victim.kill()
    process.wait()
    assert len(guards) == 1
    assert len(marked(home)) == 3
    assert sweep(home) == 3
    assert marked(home) == []


def test_running_process_when_the_pid_is_anothers_then_is_not_taken_for_it() -> None:
    mine = {"pid": os.getpid(), "process_started": psutil.Process().create_time()}
    assert running_process(mine)
    assert running_process(json.loads(json.dumps(mine)) | {"process_started": 1.0}) is None
    assert running_process({}) is None


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        ("redis", "8389:M 30 Nov 2026 17:04:15.523 # Can't save", "WARNING ⚠️ redis Can't save"),
        ("s3", "2026/11/30 17:04:15 ERROR : calls: no such file", "ERROR   ❌ s3 calls: no such file"),
        (
            "mongo",
            "2026-11-30 17:04:15,001 - nexus - ERROR - bad password=hunter2",
            "ERROR   ❌ mongo bad password=***",
        ),
        ("webserver", "2026-11-30 17:04:22 +0000 - dagster-webserver - INFO - Serving", "INFO    ✅ webserver Serving"),
        ("redis", "    goes on", "    goes on"),
    ],
)
def test_line_when_its_form_is_the_programs_own_then_is_written_in_ours(
    home: StackHome, name: str, line: str, expected: str
) -> None:
    part = next(
        part for layer in plan(home, Settings(), missing_servers(home, {})) for part in layer if part.name == name
    )
    said = replace(
        part,
        command=[sys.executable, "-c", f"import time; print({line!r}, flush=True); time.sleep(600)"],
        port=None,
        prepare=lambda: None,
    )
    said = replace(said, is_ready=lambda: True)
    lines: list[str] = []
    with supervise(home, [said], log=lambda part, line: lines.append(line)) as supervisor:
        supervisor.start()
        wait_until(lambda: lines, "its line is written")
    assert re.fullmatch(rf"(\d{{4}}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d )?{re.escape(expected)}", lines[0])
