"""The ways in for a large recording, each beside the speed of the object store itself; `api.py` measures by it."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import secrets
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
from sounds import as_wav
from stack import TASKS, Stack, cpu_seconds
from watching import Watch

LEAST_OF_STORE, MOST_GROWTH_MB = 0.6, 100
STORE = "the object store itself"
#: The ways whose speed is promised. What is put straight into the store is there at the store's own speed, and read and
#: written once more when it is completed; what is fetched comes as fast as its source gives it.
PROMISED = ("form", "raw body")
#: As `curl -T` sends it.
BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Upload:
    """A recording that came in: how fast, beside the store's own speed, and how far the API's memory rose for it."""

    megabytes_per_second: float
    of_store: float
    grown_mb: float
    api_cpu_seconds: float

    @property
    def is_slow(self) -> bool:
        return self.of_store < LEAST_OF_STORE


def measure_uploads(stack: Stack, megabytes: int) -> dict[str, Upload]:
    """Send the same recording by every way, while the daemon is halted: nothing is transcribed."""
    url, client, api, daemon = stack.url, stack.client, stack.process("api"), stack.process("daemon")
    folder = stack.folder / "served"
    folder.mkdir()
    recording = folder / "recording.wav"
    with recording.open("wb") as file:
        file.write(as_wav(b""))
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    first = folder / "first.wav"
    first.write_bytes(as_wav(bytes(100_000)))
    with serving(folder) as source:
        ways: dict[str, Callable[[], str]] = {
            "form": lambda: send_form(url, recording),
            "raw body": lambda: send_raw(url, recording),
            "source_url": lambda: fetch(client, source),
            "presigned, completed": lambda: put_and_complete(client, recording),
        }

        def measure(way: Callable[[], str]) -> tuple[float, float, float]:
            """Return seconds, growth of the API (MB) and its CPU seconds."""
            os.sync()  # what was written before would be on its way to the disk meanwhile
            with growth_of(api) as growth:
                cpu, started = cpu_seconds([api]), time.perf_counter()
                job = way()
                figures = time.perf_counter() - started, growth(), cpu_seconds([api]) - cpu
            client.delete(f"{TASKS}/{job}").raise_for_status()
            return figures

        def measure_store() -> float:
            seconds, _, _ = measure(lambda: put_into_store(client, recording))
            return seconds

        client.delete(f"{TASKS}/{send_raw(url, first)}").raise_for_status()  # the first opens connections
        daemon.suspend()
        try:
            measured, store = {}, [measure_store()]
            for name, way in ways.items():
                measured[name] = measure(way)
                store.append(measure_store())
        finally:
            daemon.resume()
    size = recording.stat().st_size / 1e6
    recording.unlink()
    uploads = {
        name: Upload(size / seconds, statistics.mean(store[number : number + 2]) / seconds, grown, cpu)
        for number, (name, (seconds, grown, cpu)) in enumerate(measured.items())
    }
    return {STORE: Upload(size / statistics.median(store), 1.0, 0.0, 0.0)} | uploads


def send_form(url: str, recording: Path) -> str:
    boundary = "-" * 24 + secrets.token_urlsafe(16)  # as long as curl's: in a short one there is more to look for
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="recording.wav"\r\n\r\n'.encode()
    content_type = f"multipart/form-data; boundary={boundary}"
    tail = f"\r\n--{boundary}--\r\n".encode()
    return job_of(_send("POST", f"{url}{TASKS}/upload", recording, content_type, head, tail))


def send_raw(url: str, recording: Path) -> str:
    return job_of(_send("PUT", f"{url}{TASKS}/upload?filename=recording.wav", recording, "audio/wav"))


def fetch(client: httpx.Client, source: str) -> str:
    return job_of(
        client.post(f"{TASKS}/upload", json={"source_url": f"{source}/recording.wav"}).raise_for_status().content
    )


def put_into_store(client: httpx.Client, recording: Path) -> str:
    """Put the recording to a presigned URL: the store's own speed."""
    announced = client.post(f"{TASKS}/presign", json={"filename": "recording.wav"}).raise_for_status().json()
    _send("PUT", announced["upload"]["url"], recording, "audio/wav")
    return str(announced["job"]["job_id"])


def put_and_complete(client: httpx.Client, recording: Path) -> str:
    job = put_into_store(client, recording)
    client.post(f"{TASKS}/{job}/complete").raise_for_status()
    return job


def _send(method: str, url: str, recording: Path, content_type: str, head: bytes = b"", tail: bytes = b"") -> bytes:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=600)
    length = len(head) + recording.stat().st_size + len(tail)
    with recording.open("rb") as file:
        body = chain([head], iter(partial(file.read, BLOCK_BYTES), b""), [tail])
        headers = {"Content-Type": content_type, "Content-Length": str(length)}
        connection.request(method, f"{address.path}?{address.query}", body, headers)
        answer = connection.getresponse()
        text = answer.read()
    connection.close()
    if answer.status not in (200, 202):
        raise RuntimeError(f"{answer.status}: {text.decode()}")
    return text


def job_of(answer: bytes) -> str:
    return str(json.loads(answer)["job_id"])


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; gives the address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def growth_of(process: psutil.Process) -> Iterator[Callable[[], float]]:
    """Watch a process; gives how far its memory rose over where it began, in MB."""
    began = peak = process.memory_info().rss

    def look() -> None:
        nonlocal peak
        peak = max(peak, process.memory_info().rss)

    with Watch(look, 0.02):
        yield lambda: (peak - began) / 1e6
