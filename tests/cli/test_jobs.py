"""How jobs are named, listed and shown: by an API of this process, on real servers."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from rich.text import Text

from api.app import create_app
from stt_core.settings import Settings
from tests.api.conftest import own_settings, serve_app, upload
from tests.cli.conftest import Stt


@pytest.fixture
def api(settings: Settings) -> Iterator[httpx.Client]:
    with serve_app(create_app(own_settings(settings))) as client:
        yield client


@pytest.fixture
def jobs(api: httpx.Client) -> list[str]:
    """The ids of three jobs, the oldest first."""
    return [upload(api, name=f"{name}.wav").json()["job_id"] for name in ("first", "second", "third")]


def at(api: httpx.Client) -> tuple[str, str]:
    return ("--api-url", str(api.base_url))


def run_at_a_terminal(*arguments: str, columns: int, **environment: str) -> str:
    """Run a command with a terminal of its own as its standard output and error; return what was shown."""
    here, there = pty.openpty()
    command = [sys.executable, "-m", "stt_cli", *arguments]
    sized = os.environ | environment | {"COLUMNS": str(columns), "TERM": "xterm"}
    with subprocess.Popen(command, env=sized, stdin=there, stdout=there, stderr=there) as process:
        os.close(there)
        shown = b""
        while True:
            try:
                block = os.read(here, 65536)
            except OSError:  # how Linux tells that the other end is closed
                break
            shown += block
        assert process.wait(60) == 0, shown
    os.close(here)
    return Text.from_ansi(shown.decode().replace("\r\n", "\n")).plain


def test_job_when_named_by_its_first_digits_or_as_last_then_is_found(
    stt: Stt, api: httpx.Client, jobs: list[str]
) -> None:
    oldest, middle, newest = jobs
    unique = next(middle[:digits] for digits in range(32) if middle[:digits] not in (oldest[:digits], newest[:digits]))
    assert json.loads(stt("status", unique, "--json", *at(api)).stdout)["job_id"] == middle
    assert json.loads(stt("status", "last", "--json", *at(api)).stdout)["job_id"] == newest
    assert middle in stt("cancel", unique, *at(api)).stdout
    assert stt("delete", unique, *at(api)).stderr == f"job {middle} is deleted\n"
    assert newest in stt("cancel", "last", *at(api)).stdout


def test_job_when_several_begin_so_then_each_is_named_and_nothing_is_done(
    stt: Stt, api: httpx.Client, jobs: list[str]
) -> None:
    done = stt("cancel", jobs[0][:4], *at(api))
    assert (done.exit_code, done.stdout) == (1, "")
    assert all(
        f"{job} ({name}.wav)" in done.stderr for job, name in zip(jobs, ("first", "second", "third"), strict=True)
    )
    assert {job["status"] for job in api.get("/api/v1/tasks").json()["tasks"]} == {"queued"}


@pytest.mark.parametrize(
    ("named", "problem"), [("0123", "No job has an id that begins with 0123"), ("last", "There is no job yet")]
)
def test_job_when_there_is_none_then_says_so(stt: Stt, api: httpx.Client, named: str, problem: str) -> None:
    done = stt("status", named, *at(api))
    assert (done.exit_code, done.stdout) == (1, "")
    assert problem in done.stderr
    assert "  mend: " in done.stderr


def test_json_when_asked_for_then_is_what_the_api_answers(stt: Stt, api: httpx.Client, jobs: list[str]) -> None:
    assert json.loads(stt("list", "--json", *at(api)).stdout) == api.get("/api/v1/tasks").json()
    shown = json.loads(stt("status", jobs[0], "--json", *at(api)).stdout)
    assert shown == api.get(f"/api/v1/tasks/{jobs[0]}").json()


def test_list_when_piped_then_has_whole_ids_and_on_a_terminal_such_as_are_accepted(
    stt: Stt, api: httpx.Client, jobs: list[str], tmp_path: Path
) -> None:
    assert all(job in stt("list", *at(api)).stdout for job in jobs)
    shown = run_at_a_terminal("list", *at(api), columns=70, STT_HOME=str(tmp_path))
    rows = [line.split() for line in shown.splitlines() if "queued" in line]
    assert [row[0] for row in rows] == [job[: len(rows[0][0])] for job in reversed(jobs)]
    assert max(map(len, shown.splitlines())) <= 70
    assert stt("status", rows[1][0], *at(api)).exit_code == 0


def test_completion_when_a_job_is_asked_for_then_bash_offers_the_latest(
    api: httpx.Client, jobs: list[str], tmp_path: Path
) -> None:
    words = {"COMP_WORDS": f"stt result {jobs[0][:4]}", "COMP_CWORD": "2", "_STT_COMPLETE": "complete_bash"}
    stt = Path(sys.executable).with_name("stt")

    def complete(url: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | words | {"STT_API_URL": url, "STT_HOME": str(tmp_path)}
        return subprocess.run([stt], env=environment, capture_output=True, text=True, timeout=60)

    offered = complete(str(api.base_url))
    assert offered.stdout.split() == jobs[::-1]
    away = complete("http://127.0.0.1:1")
    assert (offered.stderr, away.stderr, away.stdout.strip()) == ("", "", "")


def test_version_when_asked_for_then_is_standard_output(stt: Stt) -> None:
    assert re.fullmatch(r"stt \d+\.\d+\.\d+\n", stt("--version").stdout)


@pytest.mark.parametrize(
    ("arguments", "problem", "help_of"),
    [
        (["--nope"], "No such option: --nope", "stt"),
        (["statsu", "last"], "No such command 'statsu'", "stt"),
        (["list", "--limit", "many"], "--limit", "stt list"),
        (["keys", "create"], "Missing argument", "stt keys create"),
    ],
)
def test_command_when_it_is_written_wrong_then_says_what_and_where_to_look(
    stt: Stt, arguments: list[str], problem: str, help_of: str
) -> None:
    done = stt(*arguments)
    assert done.exit_code == 2
    error, mend = done.stderr.splitlines()
    assert error.startswith("error: ") and problem in error
    assert mend == f"  mend: `{help_of} --help` shows what there is."


@pytest.mark.parametrize("url", ["localhost:8000", "http://", "http://host:port", "nonsense"])
def test_command_when_the_address_is_none_then_says_so(stt: Stt, url: str) -> None:
    done = stt("list", "--api-url", url)
    assert done.exit_code == 1
    assert "is no address of an API" in done.stderr


def test_command_when_an_api_elsewhere_does_not_answer_then_does_not_speak_of_a_local_stack(stt: Stt) -> None:
    done = stt("list", "--api-url", "http://api.invalid")
    assert done.exit_code == 1
    assert "does not answer" in done.stderr and "stt up" not in done.stderr
