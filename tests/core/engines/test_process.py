"""The engine's process: found, watched, ended, explained. Scripts play the crashes that cannot be provoked for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stt_core.engines.process import engine_cpu_seconds, find_executable, watch_engine, words_of
from stt_core.errors import (
    EngineError,
    EngineStoppedError,
    EngineTimeoutError,
    ExecutableNotFoundError,
    ModelInvalidError,
)

from .conftest import is_running

FakeEngine = Callable[[str], Path]


@pytest.fixture
def fake_engine(tmp_path: Path) -> FakeEngine:
    """Return a function that makes an executable shell script."""

    def make(body: str) -> Path:
        path = tmp_path / "fake-engine"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return make


def run_engine(command: list[str], **options: Any) -> str:
    """Run an engine to its end and return what it wrote to standard error."""
    return words_of(watch_engine(command, **options))


def test_executable_when_only_beside_python_then_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find_executable("stt-whisper-cli") == Path(sys.executable).parent / "stt-whisper-cli"


def test_executable_when_missing_or_not_executable_then_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for name in ("no-such-whisper-cli", str(tmp_path / "text"), str(tmp_path / "none"), str(tmp_path)):
        with pytest.raises(ExecutableNotFoundError, match="WHISPER_CPP_EXECUTABLE"):
            find_executable(name)


def test_engine_when_it_cannot_load_the_model_then_names_no_folder(tmp_path: Path) -> None:
    (tmp_path / "my model").write_bytes(b"nothing")
    command = [str(find_executable("stt-whisper-cli")), "-m", str(tmp_path / "my model"), "-f", str(tmp_path / "a.wav")]
    with pytest.raises(ModelInvalidError, match="'my model'") as caught:
        run_engine(command, timeout_seconds=30)
    assert str(tmp_path) not in str(caught.value)


def test_engine_when_it_cannot_be_run_then_names_the_setting(tmp_path: Path) -> None:
    foreign = tmp_path / "program-of-another-machine"
    foreign.write_bytes(b"\x7fELF" + bytes(60))
    foreign.chmod(0o755)
    with pytest.raises(ExecutableNotFoundError, match="cannot be run"):
        run_engine([str(foreign)], timeout_seconds=10)


def test_engine_when_it_runs_then_gets_arguments_untouched_and_waits_passively(fake_engine: FakeEngine) -> None:
    engine = fake_engine('echo "$OMP_WAIT_POLICY|$1" >&2')
    assert run_engine([str(engine), "two words; $HOME"], timeout_seconds=10) == "passive|two words; $HOME\n"


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("kill -ILL $$", ExecutableNotFoundError, "SIGILL.*another processor"),
        ("kill -KILL $$", EngineError, "SIGKILL.*memory"),
        ("kill -ABRT $$", EngineError, "SIGABRT"),
        ("kill -SEGV $$", EngineError, "SIGSEGV"),
        ("exit 134", EngineError, "SIGABRT"),
        ("echo first >&2; echo last words >&2; exit 10", EngineError, "exit code 10.*first | last words"),
        ("echo 'failed to initialize whisper context' >&2; exit 3", ModelInvalidError, "failed to initialize"),
    ],
)
def test_engine_when_it_fails_then_the_code_is_explained(
    body: str, error: type[Exception], message: str, fake_engine: FakeEngine
) -> None:
    with pytest.raises(error, match=message):
        run_engine([str(fake_engine(body))], timeout_seconds=10)


def test_engine_when_it_hangs_then_is_ended_with_its_children(
    fake_engine: FakeEngine, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    pid_file = tmp_path / "child"
    engine = fake_engine(f"sleep 60 & echo $! > {pid_file}; wait")
    with pytest.raises(EngineTimeoutError, match=r"longer than 0\.5 s"):
        run_engine([str(engine)], timeout_seconds=0.5)
    child = int(pid_file.read_text())
    wait_until(lambda: not is_running(child), "the end of the engine's child")


def test_engine_when_its_job_is_cancelled_then_stops_within_two_seconds(fake_engine: FakeEngine) -> None:
    cancelled = threading.Event()
    timer = threading.Timer(0.2, cancelled.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(EngineStoppedError):
        run_engine([str(fake_engine("exec sleep 60"))], timeout_seconds=60, should_stop=cancelled.is_set)
    assert time.monotonic() - started < 2.2


def test_engine_when_the_question_whether_to_stop_fails_then_is_ended_too(
    fake_engine: FakeEngine, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    def broken() -> bool:
        raise ConnectionError("the database is away")

    pid_file = tmp_path / "pid"
    with pytest.raises(ConnectionError):
        run_engine([str(fake_engine(f"echo $$ > {pid_file}; exec sleep 60"))], timeout_seconds=60, should_stop=broken)
    wait_until(lambda: not is_running(int(pid_file.read_text())), "the end of the engine")


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_engine_when_its_parent_is_killed_then_dies_too(
    fake_engine: FakeEngine, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    pid_file = tmp_path / "pid"
    engine = fake_engine(f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 60")
    code = (
        "from stt_core.engines.process import watch_engine, words_of\n"
        f"words_of(watch_engine([{str(engine)!r}], timeout_seconds=60))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_until(pid_file.exists, "the start of the engine")
    pid = int(pid_file.read_text())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not is_running(pid), "the end of the orphaned engine")


def test_cpu_when_an_engine_failed_then_what_it_took_is_counted(fake_engine: FakeEngine) -> None:
    before = engine_cpu_seconds()
    with pytest.raises(EngineError):
        run_engine([str(fake_engine("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit 7"))], timeout_seconds=60)
    assert 0.03 < engine_cpu_seconds() - before < 30
