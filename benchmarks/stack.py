"""A stack of one's own to measure: `stt up --detach` in a folder, on free ports, away from the user's own servers.

And what measuring one takes: recordings sent and waited for, a bucket beside its own, and patience.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
from make_speed_model import MODEL, make_speed_model
from minio import Minio
from sounds import ROOT

from stt_cli.local_stack.home import StackHome, free_port
from stt_core.settings import Settings
from stt_core.transcript.document import Transcript

TASKS = "/api/v1/tasks"
#: Variables that name servers, keys or sources of the user's own.
_USERS_OWN = ("MONGODB_", "REDIS_", "MINIO_", "API_KEYS", "BACKFILL_", "STT_")
#: `prctl` option: orphaned descendants become children of this process.
_PR_SET_CHILD_SUBREAPER = 36
#: How long the API is asked to keep the client waiting for the job's end, seconds, before it is asked again.
_WAIT_SECONDS = 30


class Stack:
    """A running stack; a context manager.

    Its CPU seconds are exact: those of its processes, dead ones included, since orphans come to this process, which
    leaves them unreaped.

    Args:
        speed_model: Whether its models are the one of `make_speed_model.py`.
        variables: Settings beside the defaults and the user's.
    """

    def __init__(self, *, speed_model: bool = False, **variables: str) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="stt-benchmark-")
        #: For whatever is to be gone with the stack.
        self.folder = Path(self._temporary.name)
        self._home = self.folder / "home"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_USERS_OWN)},
            "STT_HOME": str(self._home),
            "STT_API_PORT": str(free_port()),
            "STT_DAGSTER_PORT": str(free_port()),
            **variables,
        }
        if speed_model:
            models = self.folder / "models"
            models.mkdir()
            make_speed_model(models / f"ggml-{MODEL}.bin")
            self.environment["WHISPER_MODELS_DIR"] = str(models)
        self.url = f"http://127.0.0.1:{self.environment['STT_API_PORT']}"
        self.client = httpx.Client(base_url=self.url, timeout=600, trust_env=False)

    def __enter__(self) -> Self:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.stt("up", "--detach")
        return self

    def __exit__(self, *_: object) -> None:
        with self._temporary, closing(self.client):
            self.stt("down")

    @property
    def parts(self) -> dict[str, Any]:
        """What the supervisor tells of each part: its pid, its port."""
        home = StackHome.at(self._home)
        parts: dict[str, Any] = home.read(home.state_file)["parts"]
        return parts

    def process(self, part: str) -> psutil.Process:
        """Return the process of a part."""
        return psutil.Process(self.parts[part]["pid"])

    def settings(self) -> Settings:
        """Return what the stack hands to its own processes."""
        own = self.process("api").environ()
        return Settings.model_validate(
            {name: own[name.upper()] for name in Settings.model_fields if name.upper() in own}
        )

    def stt(self, *arguments: str) -> None:
        """Run the command line against this stack; its errors are raised."""
        subprocess.run([sys.executable, "-m", "stt_cli", *arguments], env=self.environment, check=True, cwd=ROOT)

    def submit_and_wait(self, recording: Path, **fields: str) -> tuple[float, Transcript]:
        """Send a recording with fields of the upload form; seconds from then to its transcript, and that."""
        started = time.monotonic()
        with recording.open("rb") as file:
            answer = self.client.post(f"{TASKS}/upload", files={"file": (recording.name, file)}, data=fields)
        job_id = answer.raise_for_status().json()["job_id"]
        while self.look_at(job_id, wait=_WAIT_SECONDS)["status"] not in ("completed", "failed", "cancelled"):
            continue
        answer = self.client.get(f"{TASKS}/{job_id}/result").raise_for_status()
        return time.monotonic() - started, Transcript.model_validate_json(answer.content)

    def look_at(self, job_id: str, *, wait: int = 0) -> dict[str, Any]:
        """Return what the API tells of a job, once it has ended or so many seconds have passed."""
        view: dict[str, Any] = self.client.get(f"{TASKS}/{job_id}", params={"wait": wait}).raise_for_status().json()
        return view

    def cpu_seconds(self) -> float:
        """CPU of every process of the stack; a process holds that of its children that it waited for."""
        return sum(sum(process.cpu_times()[:4]) for process in psutil.Process().children(recursive=True))

    def await_idle(self) -> None:
        """Wait until the run's processes are gone and no sum is taken while one hands its time to its parent."""
        deadline, before = time.monotonic() + 30, -1
        while time.monotonic() < deadline and (alive := self._count_alive()) != before:
            before = alive
            time.sleep(2.0)

    @staticmethod
    def _count_alive() -> int:
        children = psutil.Process().children(recursive=True)
        return sum(child.status() != psutil.STATUS_ZOMBIE for child in children)


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the CPU of processes, without their children's."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def make_bucket(settings: Settings, name: str) -> Minio:
    """Make a bucket in the object store; return a client of it."""
    client = Minio(
        settings.minio_endpoint,
        access_key=settings.minio_access_key,
        secret_key=settings.minio_secret_key.get_secret_value(),
        secure=settings.minio_secure,
    )
    client.make_bucket(name)
    return client


def await_until(condition: Callable[[], bool], what: str, seconds: float = 300.0) -> None:
    """Wait until a condition holds, which is asked once a second; one that takes longer than `seconds` is an error."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} took more than {seconds:.0f} s")
        time.sleep(1)
