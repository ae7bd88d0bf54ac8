"""`stt logs`: the lines of one job out of the log of a stack."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stt_cli.local_stack.log_file import LogFile
from tests.cli.conftest import Stt
from tests.conftest import wait_until

JOB, OTHER = "a" * 32, "b" * 32
RUN = "1fb46b68-773e-4e04-b48b-6638c505d9ae"
API = f"2026-11-30T17:04:32.353+00:00 INFO    ✅ stt_core.jobs.repository job created: job_id={JOB} request_id=q1"
LINES = [
    ("redis", "2026-11-30T17:04:30.000+00:00 WARNING ⚠️ redis Server initialized"),
    ("api", "2026-11-30T17:04:32.300+00:00 WARNING ⚠️ stt_core.whisper.models knows 266 words request_id=q1"),
    ("api", "2026-11-30T17:04:32.340+00:00 WARNING ⚠️ stt_core.whisper.models knows 266 words request_id=q11"),
    ("api", API),
    ("code", f"2026-11-30T17:04:33.000+00:00 ERROR   ❌ stt_core.x failed: ValueError run_id={RUN} job_id={JOB}"),
    ("code", "The stack of it:"),
    ("api", f"2026-11-30T17:04:32.900+00:00 INFO    ✅ api.middleware POST -> 202 job_id={OTHER}"),
    ("code", "    ValueError: boom"),
    (
        "code",
        '{"time": "2026-11-30T17:04:33.100+00:00", "level": "INFO", "message": "no more", "run_id": "' + RUN + '"}',
    ),
    ("api", "2026-11-30T17:04:32.371+00:00 INFO    ✅ api.middleware POST /api/v1/tasks/upload -> 202 request_id=q1"),
    ("code", f"2026-11-30T17:04:34.000+00:00 INFO    ✅ stt_core.jobs.queue lease: member={OTHER}:1 taken=True"),
    ("code", "    which goes on"),
]


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    (tmp_path / "home").mkdir()
    return LogFile(tmp_path / "home" / "stack.log")


def test_logs_when_a_job_is_asked_for_then_all_its_lines_and_no_others_come_in_order_of_time(
    stt: Stt, log: LogFile
) -> None:
    for part, line in LINES:
        log.write(part, line)
    done = stt("logs", JOB)
    assert done.exit_code == 0
    expected = [LINES[n] for n in (1, 3, 9, 4, 5, 7, 8)]
    assert done.stdout.splitlines() == [f"{part:<9} │ {line}" for part, line in expected]


def test_logs_when_the_log_was_begun_anew_then_the_lines_before_come_too(
    stt: Stt, log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_cli.local_stack.log_file._LOG_BYTES", 600)
    for number in range(5):
        log.write("api", f"{API} {number}")
    assert [line[-1] for line in stt("logs", JOB).stdout.splitlines()] == list("01234")


def test_logs_when_followed_then_lines_to_come_are_shown_also_after_the_log_is_begun_anew(
    log: LogFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write("api", f"{API} one")
    environment = {**os.environ, "STT_HOME": str(tmp_path / "home"), "PYTHONUNBUFFERED": "1"}
    with (tmp_path / "shown").open("w+") as shown:
        follower = subprocess.Popen(
            [sys.executable, "-m", "stt_cli", "logs", JOB, "--follow"], env=environment, stdout=shown, cwd=tmp_path
        )
        try:
            for word in ("one", "two", "three"):
                if word != "one":
                    log.write("code", f"{API} {word}")
                if word == "two":
                    log.write("code", f"{API.replace(JOB, OTHER).replace('q1', 'q2')} other")
                    monkeypatch.setattr("stt_cli.local_stack.log_file._LOG_BYTES", 1)
                wait_until(lambda word=word: word in Path(shown.name).read_text(), f"line {word}")  # type: ignore[misc]
                if word == "two":
                    log.write("redis", "begins anew")
                    monkeypatch.setattr("stt_cli.local_stack.log_file._LOG_BYTES", 10**6)
            follower.send_signal(signal.SIGINT)
            assert follower.wait(timeout=10) == 0
        finally:
            follower.kill()
        assert "other" not in Path(shown.name).read_text()


@pytest.mark.parametrize(
    ("job", "problem", "mend"),
    [("last job", "is no job id", "32"), (JOB, "There is no log", "docker compose logs")],
)
def test_logs_when_there_is_nothing_to_show_then_says_why(stt: Stt, job: str, problem: str, mend: str) -> None:
    done = stt("logs", job)
    assert (done.exit_code, done.stdout) == (1, "")
    assert problem in done.stderr and mend in done.stderr


def test_logs_when_no_line_tells_of_the_job_then_says_so(stt: Stt, log: LogFile) -> None:
    log.write("api", API)
    assert f"tells of job {OTHER}" in stt("logs", OTHER).stderr
