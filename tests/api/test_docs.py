"""The examples of docs/api.md, executed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.conftest import REPOSITORY, Serve, publish, upload, wav
from tests.web import Site

SENDING, SECTION = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8").split("## Following and fetching")
ADDRESS = "http://127.0.0.1:8000"
ELSEWHERE = "https://example.org"


def example(client: httpx.Client, language: str, section: str = SECTION) -> str:
    """Return the section's first example in a language, with the address of this API."""
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1].replace(ADDRESS, str(client.base_url).rstrip("/"))


def test_curl_examples_when_a_recording_is_sent_then_each_is_accepted(
    serve: Serve, settings: Settings, tmp_path: Path
) -> None:
    commands = re.findall(r"`(curl .*?)` \|", SENDING)
    (tmp_path / "meeting.ogg").write_bytes(wav())
    with serve(settings.model_copy(update={"source_url_allow": ("127.0.0.1",)})) as client, Site() as site:
        site.pages["/meeting.ogg"] = wav()
        for command in commands:
            script = command.replace(ADDRESS, str(client.base_url).rstrip("/")).replace(ELSEWHERE, site.url)
            done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, capture_output=True, timeout=60, check=True)
            answer = json.loads(done.stdout)
            assert answer.get("filename") == "meeting.ogg", (command, answer)
    assert len(commands) == 3


def test_python_example_when_a_recording_goes_straight_to_the_store_then_it_is_queued(
    client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "meeting.ogg").write_bytes(wav(2.0))
    monkeypatch.chdir(tmp_path)
    exec(example(client, "python", SENDING), {})

    assert capsys.readouterr().out.splitlines()[-1] == "queued"


def test_curl_examples_when_executed_then_each_is_answered(
    client: httpx.Client, services: Services, tmp_path: Path
) -> None:
    job_id = upload(client).json()["job_id"]
    publish(services, job_id)
    script = example(client, "sh").replace("curl -s", "curl -sS --fail-with-body -w '\\n'")
    done = subprocess.run(
        ["bash", "-ec", script], env=os.environ | {"JOB_ID": job_id}, cwd=tmp_path, capture_output=True, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert b"Guten Morgen.\n" in done.stdout
    assert b"WEBVTT" in done.stdout
    assert b"Guten Morgen." in (tmp_path / "talk.srt").read_bytes()
    assert len((tmp_path / "begin.bin").read_bytes()) == 1024
    assert client.get(f"/api/v1/tasks/{job_id}").status_code == 410


def test_python_example_when_executed_then_tells_of_the_end(
    client: httpx.Client, services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = upload(client).json()["job_id"]
    publish(services, job_id)
    exec(example(client, "python"), {"job_id": job_id})

    assert capsys.readouterr().out.splitlines()[-1] == "end completed"
