"""Leases of cores: between processes that are at work, wait, are killed; and the folder that they lie in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest

from stt_core import cores
from stt_core.cores import cores_folder, lease_cores, usable_cores, waited_seconds
from stt_core.errors import ConfigurationError, EngineStoppedError
from stt_core.logs import setup_logging

#: Of the host that the tests play, whatever theirs has.
CORES = [0, 1, 2]
#: Takes leases in turn, and fails where another process has left its mark on a core that it holds.
WORKER = f"""
import sys, time
from pathlib import Path
from stt_core import cores
cores.usable_cores = lambda: {CORES}
folder, wanted, turns = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
while turns:
    with cores.lease_cores(folder, wanted, lane="upload") as lease:
        assert 1 <= lease.count <= wanted
        marks = [folder / f"at-work-{{number}}" for number in lease.numbers]
        for mark in marks:
            mark.touch(exist_ok=False)
        time.sleep(0.01)
        for mark in marks:
            mark.unlink()
    turns -= 1
"""
#: Takes all cores and starts a program that goes on when it is killed, and says which.
HOLDER = f"""
import subprocess, sys, time
from pathlib import Path
from stt_core import cores
cores.usable_cores = lambda: {CORES}
with cores.lease_cores(Path(sys.argv[1]), {len(CORES)}, lane="upload"):
    print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the leases of a host with three cores."""
    monkeypatch.setattr(cores, "usable_cores", lambda: CORES)
    return tmp_path


@pytest.fixture
def log() -> Iterator[list[str]]:
    """The lines that are logged at INFO and above."""
    lines: list[str] = []
    setup_logging("INFO", sink=lambda message: lines.append(str(message)))
    yield lines
    setup_logging(sink=sys.stderr)


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python code as a process while the block runs."""
    started = subprocess.Popen([sys.executable, "-c", *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def test_leases_when_processes_outnumber_the_cores_then_no_core_has_two_holders_and_all_get_their_turns(
    folder: Path,
) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, folder, str(1 + number % 3), "8"]) for number in range(6)
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0] * 6
    with lease_cores(folder, 3, lane="upload") as lease:
        assert lease.numbers == (0, 1, 2)


def test_lease_when_its_holder_is_killed_then_is_free_although_what_that_started_goes_on(folder: Path) -> None:
    with process(HOLDER, folder) as holder:
        assert holder.stdout
        left_behind = int(holder.stdout.readline())
        try:
            holder.kill()
            holder.wait()
            before = waited_seconds()
            with lease_cores(folder, 3, lane="upload") as lease:
                assert lease.count == 3
            assert waited_seconds() - before < 0.5
            os.kill(left_behind, 0)
        finally:
            os.kill(left_behind, signal.SIGKILL)


def test_lease_when_another_takes_all_cores_again_and_again_then_gets_its_turns(
    folder: Path, wait_until: Callable[..., None]
) -> None:
    with process(WORKER, folder, 3, -1) as greedy:
        wait_until((folder / "at-work-0").exists, "the other's first lease")
        for _ in range(5):
            with lease_cores(folder, 3, lane="upload") as lease:
                assert lease.count >= 1
        assert greedy.poll() is None


def test_lease_when_its_holder_is_stopped_then_is_free_for_others_and_stays_the_holders(folder: Path) -> None:
    with process(HOLDER, folder) as holder:
        assert holder.stdout
        left_behind = int(holder.stdout.readline())
        try:
            holder.send_signal(signal.SIGSTOP)
            with lease_cores(folder, 3, lane="upload") as lease:
                assert lease.count == 3
                with pytest.raises(EngineStoppedError), lease_cores(folder, 1, lane="upload", should_stop=lambda: True):
                    pytest.fail("they were free twice")
            holder.send_signal(signal.SIGCONT)
            with pytest.raises(EngineStoppedError), lease_cores(folder, 1, lane="upload", should_stop=lambda: True):
                pytest.fail("the holder had them")
        finally:
            os.kill(left_behind, signal.SIGKILL)


def test_lease_when_the_first_of_those_who_wait_is_stopped_then_is_the_next_ones(
    folder: Path, wait_until: Callable[..., None]
) -> None:
    with ExitStack() as ended:
        with lease_cores(folder, 3, lane="upload"):
            first = ended.enter_context(process(WORKER, folder, 1, 1))
            wait_until(lambda: (folder / "upload-queue").read_text() == str(first.pid), "the other's wait")
            first.send_signal(signal.SIGSTOP)
        with lease_cores(folder, 1, lane="upload") as lease:
            assert lease.count == 1
        first.send_signal(signal.SIGCONT)
        assert first.wait(timeout=60) == 0


def test_lease_when_fewer_are_free_than_wanted_then_is_of_those(folder: Path) -> None:
    with lease_cores(folder, 1, lane="upload") as first, lease_cores(folder, 3, lane="upload") as second:
        assert (first.numbers, second.numbers) == ((0,), (1, 2))
        with lease_cores(folder, 2, lane="backfill") as lease:
            assert lease.numbers == (0, 1)


def test_lease_when_a_core_becomes_free_then_ends_the_wait_which_is_counted(folder: Path) -> None:
    def wait() -> int:
        with lease_cores(folder, 2, lane="upload") as lease:
            return lease.count

    before = waited_seconds()
    with ThreadPoolExecutor(1) as threads:
        with lease_cores(folder, 3, lane="upload"):
            waiting = threads.submit(wait)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
        assert waiting.result(timeout=10) in (1, 2)  # they become free one after the other
    assert 0.2 < waited_seconds() - before < 10


def test_lease_when_its_job_is_cancelled_then_stops_waiting_and_leaves_the_turn_to_others(
    folder: Path, log: list[str]
) -> None:
    asked = count()
    with (
        lease_cores(folder, 3, lane="upload"),
        pytest.raises(EngineStoppedError),
        lease_cores(folder, 1, lane="upload", should_stop=lambda: next(asked) == 1),
    ):
        pytest.fail("there was no core")
    assert len([line for line in log if "waiting for one" in line]) == 1
    with lease_cores(folder, 3, lane="upload", should_stop=lambda: True) as lease:
        assert lease.count == 3


def test_lease_when_it_is_not_to_wait_then_ends_at_once(folder: Path) -> None:
    before = waited_seconds()
    with (
        lease_cores(folder, 3, lane="upload"),
        pytest.raises(EngineStoppedError),
        lease_cores(folder, 1, lane="upload", should_stop=lambda: True),
    ):
        pytest.fail("there was no core")
    assert waited_seconds() - before < 0.05


def test_lease_when_an_error_ends_its_block_then_is_free(folder: Path) -> None:
    with pytest.raises(ConnectionError), lease_cores(folder, 3, lane="upload"):
        raise ConnectionError
    with lease_cores(folder, 3, lane="upload") as lease:
        assert lease.count == 3


def test_folder_when_none_is_named_then_is_that_of_the_user_for_whom_the_host_keeps_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert cores_folder(None) == tmp_path / "stt"
    assert (tmp_path / "stt").stat().st_mode & 0o777 == 0o700


def test_folder_when_the_host_keeps_none_then_does_not_follow_the_temporary_folder_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert cores_folder(None) == Path(f"/tmp/stt-{os.geteuid()}")


def test_folder_when_the_one_of_the_host_is_another_users_then_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)  # nothing of a user who is not there
    monkeypatch.setattr(Path, "lstat", lambda _: tmp_path.stat())
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(ConfigurationError, match=f"/tmp/stt-{tmp_path.stat().st_uid + 1} is .*another user's"):
        cores_folder(None)


@pytest.mark.parametrize("kind", ["link", "another user's", "file", "below a file"])
def test_folder_when_it_is_not_the_users_own_then_is_refused_with_the_setting_named(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cores"
    if kind == "link":
        folder.symlink_to(tmp_path)
    elif kind == "another user's":
        folder.mkdir()
        monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    else:
        folder.touch()
    with pytest.raises(ConfigurationError, match="CORES_DIR") as caught:
        cores_folder(folder / "deeper" if kind == "below a file" else folder)
    assert caught.value.mend and str(folder) in caught.value.message


@pytest.mark.parametrize(
    ("cpu_max", "number"), [("max 100000\n", 4), ("150000 100000\n", 1), ("20000 100000\n", 1), ("300000 100000\n", 3)]
)
def test_usable_cores_when_a_container_has_a_share_of_them_then_are_the_whole_ones(
    cpu_max: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(cpu_max)
    monkeypatch.setattr(cores, "_CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7, 5, 4, 2}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert len(usable_cores()) == number


@pytest.mark.skipif(sys.platform != "linux", reason="processes are bound to processors on Linux")
def test_usable_cores_when_the_process_is_bound_to_one_then_is_that_one() -> None:
    own = max(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{own}}}); from stt_core.cores import usable_cores as u; print(u())"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == f"[{own}]\n"


def test_usable_cores_when_asked_then_there_is_one_at_least() -> None:
    assert usable_cores()
