"""The API on real servers: in this process on a port of its own, or as the process that people start."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import loguru
import pytest
import uvicorn
from fastapi import FastAPI
from openai import OpenAI
from pydantic import SecretStr

from api.app import create_app
from api.server import HTTP
from stt_core import object_keys
from stt_core.jobs.claims import Claim, ensure_claim
from stt_core.jobs.job import JobResult
from stt_core.logs import add_sink
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.transcript.document import Segment, Transcript, TranscriptStatistics, Word
from tests.conftest import wait_until

UPLOAD = "/api/v1/tasks/upload"
REPOSITORY = Path(__file__).parents[2]
#: What is said in a transcript of `publish`.
WORDS = [
    Word(start=0.25, end=0.75, text="Guten", probability=0.9),
    Word(start=0.75, end=1.5, text="Morgen.", probability=0.9),
]

Serve = Callable[[Settings], AbstractContextManager[httpx.Client]]


def wav(seconds: float = 0.1, *, rate: int = 16_000) -> bytes:
    """Return a sound WAV file of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(bytes(2 * int(seconds * rate)))
    return file.getvalue()


def multipart(content: bytes, *, disposition: bytes = b'name="file"; filename="a.wav"') -> tuple[dict[str, str], bytes]:
    """Return headers and body of a form with one part, for names that a well-bred client would not send."""
    head = b"--edge\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n"
    return {"Content-Type": "multipart/form-data; boundary=edge"}, head + content + b"\r\n--edge--\r\n"


def upload(client: httpx.Client, content: bytes | None = None, name: str = "a.wav", **fields: str) -> httpx.Response:
    """Upload a recording as any client would."""
    return client.post(UPLOAD, files={"file": (name, wav() if content is None else content)}, data=fields)


def kind_of(response: httpx.Response) -> str:
    """Return the kind of a problem, having checked that it is a whole one."""
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["detail"] and problem["title"]
    return str(problem["type"]).removeprefix("urn:stt:error:")


@contextmanager
def serve_app(app: FastAPI) -> Iterator[httpx.Client]:
    """Serve an app from a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, http=HTTP, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "the API serving")
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


def own_settings(settings: Settings, **changes: Any) -> Settings:
    """Return settings of a system that shares the servers and nothing else."""
    own = f"api{os.urandom(6).hex()}"
    names = {"mongodb_database": own, "queue_name": own, "minio_bucket": own, "whisper_model": "demo"}
    return settings.model_copy(update=names | changes)


@contextmanager
def opened(settings: Settings) -> Iterator[Services]:
    """Open the core, with all that its servers need, while the block runs."""
    services = Services.open(settings)
    services.prepare()
    try:
        yield services
    finally:
        services.close()


@pytest.fixture(scope="session")
def serve() -> Serve:
    """Return a context manager that serves the API with the given settings."""
    return lambda settings: serve_app(create_app(settings))


@pytest.fixture(scope="session")
def settings(server_settings: Settings) -> Settings:
    """Settings of all tests of one worker: tests compare what there is before and after, which saves their start."""
    return own_settings(server_settings)


@pytest.fixture(scope="session")
def services(settings: Settings) -> Iterator[Services]:
    """The core beside the API, to look at the truth."""
    with opened(settings) as services:
        yield services


@pytest.fixture(scope="session")
def client(serve: Serve, settings: Settings, services: Services) -> Iterator[httpx.Client]:
    """A client of the API."""
    with serve(settings) as client:
        yield client


@pytest.fixture
def job_id(client: httpx.Client) -> str:
    """A job that waits in the queue."""
    return str(upload(client).json()["job_id"])


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What is logged meanwhile."""
    lines: list[str] = []
    sink = add_sink(lines.append)
    yield lines
    loguru.logger.remove(sink)


def connect(client: httpx.Client, *, key: str = "any", retries: int = 0) -> OpenAI:
    """Return OpenAI's client, led to our API."""
    return OpenAI(base_url=f"{client.base_url}/v1", api_key=key, max_retries=retries)


def claim(services: Services, job_id: str) -> Claim:
    """Take a job as its first run does."""
    return ensure_claim(services.jobs, job_id, "run-1", attempt=1)


def publish(services: Services, job_id: str) -> Transcript:
    """Complete a job as a run does."""
    transcript = Transcript(
        job_id=job_id,
        text="Guten Morgen.",
        language="de",
        model="demo",
        duration_seconds=2.5,
        segments=[
            Segment(index=0, start=0.25, end=1.5, text="Guten Morgen.", words=WORDS, confidence=0.9),
        ],
        statistics=TranscriptStatistics(words=2, speech_seconds=1.25, chunks=1),
    )
    run = claim(services, job_id)
    prefix = object_keys.result_prefix(job_id, run.attempt)
    services.store.put_bytes(object_keys.transcript(prefix, "json"), transcript.model_dump_json().encode())
    run.complete(
        JobResult(
            prefix=prefix,
            formats=["json"],
            language="de",
            duration_seconds=2.5,
            words=2,
            segments=1,
            text_preview=transcript.text,
        )
    )
    return transcript


def everything(services: Services) -> tuple[set[str], set[str], set[str]]:
    """Return every job, object and queue entry there is."""
    jobs = services.jobs.list_jobs(limit=1000).jobs
    return {job.job_id for job in jobs}, set(services.store.list_keys("")), services.queue.members()


@pytest.fixture
def assert_nothing_left(services: Services) -> Iterator[None]:
    """Fail where the test leaves a job, an object or a queue entry behind."""
    before = everything(services)
    yield
    assert everything(services) == before


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables that make a process load these settings."""
    values = {name.upper(): getattr(settings, name) for name in settings.model_fields_set}
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value) for name, value in values.items()
    }


@dataclass
class ApiProcess:
    """A running `uvicorn api.main:app`."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        """What it logged so far."""
        return self.log.read_text()

    @property
    def url(self) -> str:
        """Where it listens; waits until it does."""
        pattern = re.compile(r"running on (http://127\.0\.0\.1:\d+)")
        wait_until(lambda: pattern.search(self.text) or self.process.poll() is not None, "the API listening")
        found = pattern.search(self.text)
        assert found, self.text
        return found[1]


@contextmanager
def api_process(environment: dict[str, str], folder: Path) -> Iterator[ApiProcess]:
    """Start the API as the local stack does."""
    log = folder / "api.log"
    command = [sys.executable, "-m", "uvicorn", "api.main:app", "--host", "127.0.0.1", "--port", "0", "--no-access-log"]
    command += ["--http", "api.server:HTTP", "--timeout-graceful-shutdown", "1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield ApiProcess(process, log)
    finally:
        process.terminate()
        process.wait(timeout=20)
