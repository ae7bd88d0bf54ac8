"""Failpoints kill one process, once, and each is passed by the code and tried by a test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from stt_core.failpoints import VARIABLE, Failpoint
from tests.crash.conftest import KILLED, REPOSITORY

PASS = f"from stt_core.failpoints import Failpoint, failpoint; failpoint(Failpoint.{Failpoint.JOB_CLAIMED.name})"


def pass_failpoint(environment: dict[str, str]) -> int:
    return subprocess.run(
        [sys.executable, "-c", PASS], cwd=REPOSITORY, env=os.environ | environment, capture_output=True, check=False
    ).returncode


def test_failpoint_when_armed_then_kills_the_first_that_passes_and_no_other(tmp_path: Path) -> None:
    armed = tmp_path / "failpoint"
    armed.write_text(Failpoint.JOB_CLAIMED)
    assert pass_failpoint({VARIABLE: str(armed)}) == KILLED
    assert not armed.exists()
    assert pass_failpoint({VARIABLE: str(armed)}) == 0


def test_failpoint_when_another_is_armed_then_lets_pass_and_leaves_it_armed(tmp_path: Path) -> None:
    armed = tmp_path / "failpoint"
    armed.write_text(Failpoint.JOB_QUEUED)
    assert pass_failpoint({VARIABLE: str(armed)}) == 0
    assert armed.exists()


def test_failpoints_when_listed_then_each_is_passed_by_the_code_once_and_tried_by_a_test() -> None:
    def named_in(files: list[Path], pattern: str) -> list[str]:
        return [name for file in files for name in re.findall(pattern, file.read_text(encoding="utf-8"))]

    listed = sorted(point.name for point in Failpoint)
    packages = ("stt_core", "stt_dagster", "api", "stt_cli")
    code = [file for package in packages for file in (REPOSITORY / package).rglob("*.py")]
    assert sorted(named_in(code, r"failpoint\(Failpoint\.(\w+)\)")) == listed
    tests = [Path(__file__).with_name(name) for name in ("test_runs.py", "test_uploads.py", "test_backfill.py")]
    assert sorted(set(named_in(tests, r"Failpoint\.([A-Z_]+)"))) == listed
