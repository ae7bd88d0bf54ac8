"""Engines that stay: called again, replaced, idle, killed, abandoned. A small program plays what an engine may do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from stt_cli.local_stack.home import StackHome
from stt_cli.local_stack.processes import MARK, sweep
from stt_core.cores import Lease
from stt_core.engines.base import Decoding
from stt_core.engines.process import engine_cpu_seconds, words_of
from stt_core.engines.warm import watch_program
from stt_core.engines.whisper_cpp import WhisperCpp
from stt_core.errors import EngineError, EngineStoppedError, EngineTimeoutError, ModelInvalidError

from .conftest import WavMaker, is_running, reference

#: Says its process, and does what it is asked for: its n-th request with the n-th word.
PROGRAM = """
import os, signal, sys, time
from stt_core.engines.serving import serve

count = 0

def run(words):
    global count
    word, count = words[min(count, len(words) - 1)], count + 1
    sys.stderr.write(f"{os.getpid()} {word}")
    sys.stderr.flush()
    if word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "compute":
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
    if word == "hang":
        time.sleep(60)
    return int(word) if word.isdigit() else 0

serve(int(sys.argv[-2]), sys.argv[-1], run, idle_seconds=float(sys.argv[1]))
"""


@dataclass(frozen=True)
class Slot:
    """A slot and the program that is called in it."""

    path: Path
    program: Path
    idle_seconds: float = 30.0

    def watch(self, *words: str, identity: str = "one", **options: object) -> Iterator[None]:
        program = [sys.executable, str(self.program), str(self.idle_seconds)]
        return watch_program(program, words, slot=self.path, identity=identity, **{"timeout_seconds": 30.0, **options})  # type: ignore[arg-type]

    def call(self, *words: str, **options: object) -> int:
        """Ask for something and return the process that answered."""
        said = words_of(self.watch(*words, **options))  # type: ignore[arg-type]
        return int(said.split()[0])

    @property
    def words(self) -> str:
        return self.path.with_suffix(".log").read_text()


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[Slot]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    slot = Slot(tmp_path / "uploads-engine-0", program)
    yield slot
    for process in psutil.process_iter():
        if str(program) in cmdline(process):
            process.kill()


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_engine_when_called_again_then_is_the_same_and_says_only_what_belongs_to_the_call(slot: Slot) -> None:
    first = slot.call("hello")
    assert slot.call("world") == first
    assert slot.words == f"{first} world"


def test_engine_when_another_is_wanted_then_makes_room(slot: Slot, wait_until: Callable[..., None]) -> None:
    first = slot.call("hello")
    second = slot.call("hello", identity="two")
    assert second != first
    wait_until(lambda: not is_running(first), "the end of the first engine")
    assert slot.call("hello", identity="two") == second


def test_engine_when_nobody_calls_then_ends_and_leaves_no_socket(slot: Slot, wait_until: Callable[..., None]) -> None:
    brief = replace(slot, idle_seconds=0.2)
    first = brief.call("hello")
    wait_until(lambda: not is_running(first), "the end of the idle engine")
    assert not slot.path.exists()
    assert brief.call("hello") != first


def test_engine_when_killed_while_it_waits_then_the_next_call_has_another(
    slot: Slot, wait_until: Callable[..., None]
) -> None:
    first = slot.call("hello")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not is_running(first), "the end of the engine")
    assert slot.call("hello") != first


def test_engine_when_it_hangs_while_it_waits_then_the_next_call_has_another(
    slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_core.engines.warm._GREETING_SECONDS", 0.2)
    first = slot.call("hello")
    os.kill(first, signal.SIGSTOP)
    assert slot.call("hello") != first


def test_engine_when_it_was_there_before_and_dies_then_is_replaced_once(slot: Slot) -> None:
    first = slot.call("hello")
    assert slot.call("fine", "crash") != first
    slot.call("hello")
    with pytest.raises(EngineError, match="SIGSEGV"):
        slot.call("crash")


def test_engine_when_started_for_the_call_and_dies_then_the_code_is_explained(slot: Slot) -> None:
    with pytest.raises(EngineError, match=r"SIGSEGV.*crash"):
        slot.call("crash")


@pytest.mark.parametrize(("code", "error"), [("3", ModelInvalidError), ("10", EngineError)])
def test_engine_when_it_fails_then_is_explained_and_not_called_again(
    code: str, error: type[Exception], slot: Slot, wait_until: Callable[..., None]
) -> None:
    first = slot.call("hello")
    with pytest.raises(error, match=code):
        slot.call(code)
    wait_until(lambda: not is_running(first), "the end of the engine that failed")


def test_engine_when_its_job_is_cancelled_or_takes_too_long_then_is_killed(slot: Slot) -> None:
    with pytest.raises(EngineStoppedError):
        slot.call("hang", should_stop=lambda: True)
    assert not is_running(int(slot.words.split()[0]))
    with pytest.raises(EngineTimeoutError):
        slot.call("hang", timeout_seconds=0.5)
    assert not is_running(int(slot.words.split()[0]))


def test_engine_when_its_caller_gives_up_then_is_killed(slot: Slot) -> None:
    first = slot.call("hello")
    with closing(slot.watch("hang")) as watched:
        next(watched)
        assert is_running(first)
    assert not is_running(first)


def test_engine_when_its_caller_is_killed_then_ends_if_it_works_and_stays_if_it_waits(
    slot: Slot, wait_until: Callable[..., None]
) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.core.engines.test_warm import Slot\n"
        f"slot = Slot(Path({str(slot.path)!r}), Path({str(slot.program)!r}))\n"
        "for word in sys.argv[1:]: slot.call(word)\nprint('done', flush=True)\nsys.stdin.read()"
    )
    idle = subprocess.Popen(
        [sys.executable, "-c", code, "hello"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert idle.stdout is not None and idle.stdout.readline() == "done\n"
    first = int(slot.words.split()[0])
    idle.kill()
    idle.communicate()
    assert slot.call("hello") == first
    working = subprocess.Popen([sys.executable, "-c", code, "hang"])
    wait_until(lambda: "hang" in slot.words, "the engine's work")
    working.kill()
    working.wait()
    wait_until(lambda: not is_running(first), "the end of the engine that works for nobody")


def test_engine_when_its_stack_is_swept_then_ends(slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = StackHome.at(tmp_path / "home")
    with monkeypatch.context() as patch:
        patch.setenv(MARK, str(home.path))
        first = slot.call("hello")
    assert sweep(home) == 1
    assert not is_running(first)


def test_cpu_of_an_engine_that_stays_then_each_call_counts_its_own(slot: Slot) -> None:
    slot.call("compute")
    before = engine_cpu_seconds()
    slot.call("hello")
    assert engine_cpu_seconds() - before < 0.2
    slot.call("compute")
    assert 0.3 <= engine_cpu_seconds() - before < 5


def test_cpu_of_an_engine_that_is_ended_then_counts(slot: Slot) -> None:
    before = engine_cpu_seconds()
    with pytest.raises(EngineStoppedError):
        slot.call("hang", should_stop=lambda: True)
    assert engine_cpu_seconds() > before


def test_slot_when_its_path_is_too_long_for_a_socket_then_there_is_none(tmp_path: Path) -> None:
    assert Lease((1, 2), Path("/run/stt"), "uploads").slot == Path("/run/stt/uploads-engine-1")
    assert Lease((1, 2), Path("/" + "x" * 120), "uploads").slot is None


def test_whisper_cpp_when_it_stays_then_says_what_one_that_ends_says(
    engine: WhisperCpp, sample_wav: WavMaker, tmp_path: Path
) -> None:
    slot = tmp_path / "slot"
    for name in ("08", "01"):
        [transcript] = engine.transcribe([sample_wav(name)], Decoding(), language="en", threads=1, slot=slot)
        assert transcript.text == reference(name)
    [server] = [one for one in psutil.Process().children() if "--serve" in cmdline(one)]
    engine.load(threads=1, slot=slot)
    assert [one for one in psutil.Process().children() if "--serve" in cmdline(one)] == [server]
    # A user's own program stays one process a call.
    own = tmp_path / "whisper-cli"
    own.symlink_to(engine.executable)
    users = replace(engine, executable=own)
    users.load(threads=1, slot=slot)
    list(users.transcribe([sample_wav("08")], Decoding(), language="en", threads=1, slot=slot))
    assert [one for one in psutil.Process().children() if "--serve" in cmdline(one)] == [server]
    server.kill()
