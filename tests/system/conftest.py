"""The whole system as a user starts it: `stt up --detach`, on free ports and in a folder of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from stt_core.settings import Settings
from tests.core.webhooks.conftest import SECRET

DATA = Path(__file__).parents[1] / "data" / "audio"
FINAL = ("completed", "failed", "cancelled")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Stack:
    """A running system: its environment, its folder for temporary files, and a client of its API."""

    environment: dict[str, str]
    home: Path
    temporary: Path
    client: httpx.Client

    def stt(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run the command line against this stack."""
        return subprocess.run(
            [sys.executable, "-m", "stt_cli", *arguments],
            env=self.environment,
            cwd=self.temporary,  # away from the developer's `.env`
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def upload(self, name: str, content: bytes, **options: str) -> httpx.Response:
        return self.client.post("/api/v1/tasks/upload", files={"file": (name, content)}, data=options)

    def status(self, job_id: str) -> dict[str, Any]:
        view: dict[str, Any] = self.client.get(f"/api/v1/tasks/{job_id}").raise_for_status().json()
        return view

    def wait(self, job_id: str, wait_until: Callable[..., None], seconds: float = 120) -> dict[str, Any]:
        """Wait for the job's end and return its last status."""
        wait_until(lambda: self.status(job_id)["status"] in FINAL, f"the end of job {job_id}", seconds)
        return self.status(job_id)

    def processes(self) -> list[psutil.Process]:
        """Every process of the stack, the supervisor first."""
        supervisor = psutil.Process(json.loads((self.home / "stack.json").read_text())["pid"])
        return [supervisor, *supervisor.children(recursive=True)]

    def settings(self) -> Settings:
        """What the stack hands to its own processes."""
        api = next(process for process in self.processes() if "api.main:app" in " ".join(process.cmdline()))
        return Settings.model_validate(
            {name: value for name, value in api.environ().items() if name.lower() in Settings.model_fields}
        )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("system")) as running:
        yield running


@contextmanager
def running_stack(folder: Path, **variables: str) -> Iterator[Stack]:
    """Run a stack in `folder` while the block runs, with `variables` beside those of every test."""
    temporary = folder / "tmp"
    temporary.mkdir()
    ports = {"STT_API_PORT": str(free_port()), "STT_DAGSTER_PORT": str(free_port())}
    environment = os.environ | ports | {
        "STT_HOME": str(folder / "home"),
        "TMPDIR": str(temporary),
        "CORES_DIR": str(folder / "cores"),
        "WHISPER_MODEL": "demo",
        "MAX_UPLOAD_BYTES": "3000000",
        "RETRY_BACKOFF_SECONDS": "0.5",
        "WEBHOOK_SECRET": SECRET,
        "WEBHOOK_ALLOW": "127.0.0.1",
    } | variables  # fmt: skip
    with httpx.Client(base_url=f"http://127.0.0.1:{ports['STT_API_PORT']}", timeout=30) as client:
        running = Stack(environment, folder / "home", temporary, client)
        started = running.stt("up", "--detach")
        assert started.returncode == 0, started.stderr
        try:
            yield running
        finally:
            processes = running.processes()
            running.stt("down")
            _, alive = psutil.wait_procs(processes, timeout=5)
            assert not alive, f"still there after `stt down`: {alive}"
