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

from stt_core.scratch import own_temporary_folder, remove_abandoned_folders

WORKER = """
import subprocess, sys, tempfile, time
from stt_core.scratch import own_temporary_folder
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


def test_folder_when_its_block_ends_then_is_gone_and_temporary_files_lie_where_they_did(temporary: Path) -> None:
    with own_temporary_folder() as folder:
        made = Path(tempfile.mkdtemp())
        assert made.parent == folder
        assert folder.parent == temporary
        assert os.environ["TMPDIR"] == str(folder)
    assert list(temporary.iterdir()) == []
    assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(temporary)


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
