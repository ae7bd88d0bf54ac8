"""The examples of docs/api.md, executed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from stt_core.services import Services
from tests.api.conftest import REPOSITORY, publish, upload

SECTION = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8").split("## Following and fetching")[1]
ADDRESS = "http://127.0.0.1:8000"


def example(client: httpx.Client, language: str) -> str:
    """Return the section's first example in a language, with the address of this API."""
    found = re.search(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)
    assert found
    return found[1].replace(ADDRESS, str(client.base_url))


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
