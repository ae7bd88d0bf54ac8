"""Temporary folders of processes that end, are killed, or work beside each other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stt_core.temp_dirs import remove_abandoned_folders

WORKER = """
import subprocess, sys, tempfile, time
from stt_core.temp_dirs import own_temporary_folder
with own_temporary_folder() as folder:
    tempfile.mkdtemp(prefix="chunks-")
    subprocess.run([sys.executable, "-c", "import tempfile; tempfile.mkdtemp(prefix='child-')"], check=True)
    (folder / "ready").touch()
    time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this test's processes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_folder_when_its_process_ends_then_is_gone_with_all_that_lay_in_it(temporary: Path) -> None:
    script = """
import multiprocessing.util, os, tempfile
from pathlib import Path
from stt_core.temp_dirs import own_temporary_folder
before = tempfile.gettempdir()
with own_temporary_folder() as folder:
    made = Path(tempfile.mkdtemp()), Path(multiprocessing.util.get_temp_dir())
    assert {path.parent for path in made} == {folder} and folder.parent == Path(before)
    assert os.environ["TMPDIR"] == str(folder)
assert os.environ["TMPDIR"] == tempfile.gettempdir() == before
"""
    environment = os.environ | {"TMPDIR": str(temporary)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert "Traceback" not in done.stderr
    assert list(temporary.iterdir()) == []


def test_sweep_when_an_owner_was_killed_then_removes_its_folder_and_nobody_elses(
    temporary: Path, wait_until: Callable[..., None]
) -> None:
    (temporary / "stt-data").mkdir()  # somebody else's, by chance
    victim = subprocess.Popen([sys.executable, "-c", WORKER], env=os.environ | {"TMPDIR": str(temporary)})
    try:
        wait_until(lambda: list(temporary.glob("stt-*/ready")), "the worker is at work")
        assert {path.name.partition("-")[0] for path in temporary.glob("stt-*/*-*")} >= {"chunks", "child"}
        assert remove_abandoned_folders() == 0
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        assert remove_abandoned_folders() == 1
        assert [path.name for path in temporary.iterdir()] == ["stt-data"]
    finally:
        victim.kill()
        victim.wait()
