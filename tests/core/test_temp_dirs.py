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

from stt_core.temp_dirs import remove_abandoned_folders, temporary_folder

WORKER = """
import time
from stt_core.temp_dirs import temporary_folder
with temporary_folder("chunks") as folder:
    (folder / "deep").mkdir()
    (folder / "deep" / "0.wav").touch()
    (folder / "ready").touch()
    time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this test's processes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_folder_when_its_block_ends_then_is_gone_with_all_that_lay_in_it(temporary: Path) -> None:
    with pytest.raises(KeyboardInterrupt), temporary_folder("source") as folder:
        (folder / "recording").touch()
        assert (folder.parent, folder.name.rpartition("-")[0]) == (temporary, "stt-source")
        assert remove_abandoned_folders() == 0
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []


def test_sweep_when_an_owner_was_killed_then_removes_its_folder_and_nobody_elses(
    temporary: Path, wait_until: Callable[..., None]
) -> None:
    (temporary / "stt-data").mkdir()  # somebody else's, by chance
    victim = subprocess.Popen([sys.executable, "-c", WORKER], env=os.environ | {"TMPDIR": str(temporary)})
    try:
        wait_until(lambda: list(temporary.glob("stt-*/ready")), "the worker is at work")
        assert remove_abandoned_folders() == 0
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        assert remove_abandoned_folders() == 1
        assert [path.name for path in temporary.iterdir()] == ["stt-data"]
    finally:
        victim.kill()
        victim.wait()
