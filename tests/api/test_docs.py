"""The examples of docs/api.md, executed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.conftest import Serve, publish, upload, wav
from tests.api.documentation import SECTIONS, example, led_to, run
from tests.web import Site

SENDING, FOLLOWING = "Sending a recording", "Following and fetching"


def test_curl_examples_when_a_recording_is_sent_then_each_is_accepted(
    serve: Serve, settings: Settings, tmp_path: Path
) -> None:
    commands = re.findall(r"`(curl .*?)` \|", SECTIONS[SENDING])
    (tmp_path / "meeting.ogg").write_bytes(wav())
    with serve(settings.model_copy(update={"source_url_allow": ("127.0.0.1",)})) as client, Site() as site:
        site.pages["/meeting.ogg"] = wav()
        for command in commands:
            answer = json.loads(run(led_to(client, command).replace("https://example.org", site.url), tmp_path))
            assert answer.get("filename") == "meeting.ogg", (command, answer)
    assert len(commands) == 3


def test_python_example_when_a_recording_goes_straight_to_the_store_then_it_is_queued(
    client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "meeting.ogg").write_bytes(wav(2.0))
    monkeypatch.chdir(tmp_path)
    exec(example(client, SENDING, "python"), {})

    assert capsys.readouterr().out.splitlines()[-1] == "queued"


def test_curl_examples_when_executed_then_each_is_answered(
    client: httpx.Client, services: Services, tmp_path: Path
) -> None:
    job_id = upload(client).json()["job_id"]
    publish(services, job_id)
    printed = run(example(client, FOLLOWING, "sh"), tmp_path, JOB_ID=job_id)

    assert "Guten Morgen.\n" in printed
    assert "WEBVTT" in printed
    assert b"Guten Morgen." in (tmp_path / "talk.srt").read_bytes()
    assert len((tmp_path / "begin.bin").read_bytes()) == 1024
    assert client.get(f"/api/v1/tasks/{job_id}").status_code == 410


def test_python_example_when_executed_then_tells_of_the_end(
    client: httpx.Client, services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = upload(client).json()["job_id"]
    publish(services, job_id)
    exec(example(client, FOLLOWING, "python"), {"job_id": job_id})

    assert capsys.readouterr().out.splitlines()[-1] == "end completed"
