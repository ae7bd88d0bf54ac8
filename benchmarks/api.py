"""How the API bears many clients that ask at once, and recordings of a gigabyte.

    python benchmarks/api.py [--clients 50] [--seconds 15] [--megabytes 1000] [--json api.json]

A stack of its own is started (`stt up --detach` in a temporary home, free ports, the embedded servers), which takes
about two minutes in all. The clients are in this process and take their share of the cores.

Polling: each client asks for the status of a job of its own, as soon as it has its answer; one of the jobs is being
transcribed, at lower niceness than all else, and the others wait. Once without API keys, once with one. Must hold on
two cores: 200 requests a second, 99 % of them within 250 ms.

Uploads: one recording by every way in, beside the same bytes put into the object store by the same client, before and
after. Must hold for a form, a raw body and a `source_url`: 60 % of the store's own speed; and for every way: the
process of the API grows by 100 MB at most. What is put straight into the store is there at the store's own speed; its
figure is that of both steps, in the second of which the store reads and writes all of it once more.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import http.server
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from stt_core.access.keys import ApiKeys
from stt_core.access.models import Scope
from stt_core.audio import HEAD_BYTES, RecordingStream, detect_format
from stt_core.audio.models import SAMPLE_RATE
from stt_core.jobs.database import Database
from stt_core.local_stack.home import StackHome, free_port
from stt_core.settings import Settings

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "stt_cli" / "data" / "demo.flac"
TASKS = "/api/v1/tasks"
#: The recording that is transcribed meanwhile: long enough for both rounds of polling.
TRANSCRIBED_MINUTES = 60
#: Of the code server, its runs, and the engines that they start.
NICENESS = 15
WARM_UP_SECONDS = 2.0
LEAST_REQUESTS, MOST_P99_MS = 200, 250
LEAST_OF_STORE, MOST_GROWTH_MB = 0.6, 100
#: As `curl -T` sends it.
BLOCK_BYTES = 64 * 1024


class Stack:
    """A stack of its own; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("MONGODB_", "REDIS_", "MINIO_", "API_KEYS"))
            },
            "STT_HOME": str(folder / "home"),
            "STT_API_PORT": str(free_port()),
            "STT_DAGSTER_PORT": str(free_port()),
            "SOURCE_URL_ALLOW": "127.0.0.1",
            "WHISPER_MODEL": "demo",
        }
        self.url = f"http://127.0.0.1:{self.environment['STT_API_PORT']}"
        self._home = folder / "home"
        self._parts: dict[str, Any] = {}

    def __enter__(self) -> Stack:
        self._stt("up", "--detach")
        home = StackHome.at(self._home)
        self._parts = home.read(home.state_file)["parts"]
        return self

    def __exit__(self, *_: object) -> None:
        self._stt("down")

    def process(self, part: str) -> psutil.Process:
        """Return the process of a part."""
        return psutil.Process(self._parts[part]["pid"])

    def make_key(self) -> str:
        """Make an API key, and return its token; from now on the API asks for one."""
        url = f"mongodb://127.0.0.1:{self._parts['mongo']['port']}"
        database = Database(Settings(_env_file=None, mongodb_url=url))  # type: ignore[call-arg]
        token = ApiKeys(database).create("benchmark", [Scope.ADMIN], rate=1_000_000).token.get_secret_value()
        database.close()
        return token

    def _stt(self, *arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "stt_cli", *arguments], env=self.environment, check=True, cwd=ROOT)


@dataclass(frozen=True)
class Polling:
    """A round of polling: requests, and the CPU that they took of the API, its servers and the clients."""

    requests_per_second: float
    median_ms: float
    p99_ms: float
    api_cpu_ms: float
    servers_cpu_ms: float
    clients_cpu_ms: float

    @property
    def holds(self) -> bool:
        return self.requests_per_second >= LEAST_REQUESTS and self.p99_ms <= MOST_P99_MS


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50, help="0 leaves polling out")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--megabytes", type=int, default=1000, help="0 leaves uploads out")
    parser.add_argument("--json", type=Path, default=Path("api.json"))
    options = parser.parse_args()
    polling: dict[str, Polling] = {}
    uploads: dict[str, Upload] = {}
    with tempfile.TemporaryDirectory(prefix="stt-api-") as folder, Stack(Path(folder)) as stack:
        if options.megabytes:
            uploads = measure_uploads(stack, Path(folder), options.megabytes)
        if options.clients:
            polling = measure_polling(stack, options.clients, options.seconds)
    passed = show(polling, uploads, options.clients)
    report = {
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "polling": {name: asdict(one) for name, one in polling.items()},
        "uploads": {name: asdict(one) for name, one in uploads.items()},
    }
    options.json.write_text(json.dumps(report, indent=1))
    sys.exit(0 if passed else 1)


def measure_polling(stack: Stack, clients: int, seconds: float) -> dict[str, Polling]:
    """Poll while the first of the jobs is transcribed and the others wait, without keys and then with one."""
    with httpx.Client(base_url=stack.url, timeout=60, trust_env=False) as client:
        jobs = [_send_form(client, long_recording(), priority="high")]
        _await_stage(client, jobs[0], "transcribing")
        code = stack.process("code")
        for process in (code, *code.children(recursive=True)):
            process.nice(NICENESS)
        # Later priorities than the one at work: they wait until all is measured.
        jobs += [_send_form(client, as_wav(os.urandom(32_000)), priority="low") for _ in range(clients - 1)]
        rounds = {"without keys": poll_round(stack, jobs, seconds, None)}
        token = stack.make_key()
        rounds["with a key"] = poll_round(stack, jobs, seconds, token)
        client.headers["X-API-Key"] = token
        view = client.get(f"{TASKS}/{jobs[0]}").raise_for_status().json()
    if view["stage"] != "transcribing":
        sys.exit(f"the recording was too short: {view['status']} {view['stage']}")
    return rounds


def poll_round(stack: Stack, jobs: list[str], seconds: float, token: str | None) -> Polling:
    asyncio.run(poll(stack.url, jobs, WARM_UP_SECONDS, token))
    servers = [stack.process(part) for part in ("mongo", "redis", "s3")]
    measured = [[stack.process("api")], servers, [psutil.Process()]]
    before = [_cpu_seconds(processes) for processes in measured]
    times = asyncio.run(poll(stack.url, jobs, seconds, token))
    api, behind, clients = (
        1000 * (_cpu_seconds(processes) - spent) / len(times) for processes, spent in zip(measured, before, strict=True)
    )
    cuts = statistics.quantiles(times, n=100)
    return Polling(len(times) / seconds, 1000 * cuts[49], 1000 * cuts[98], api, behind, clients)


async def poll(url: str, jobs: list[str], seconds: float, token: str | None) -> list[float]:
    """Return how long each answer took, in seconds; every job is asked for over a connection of its own."""
    address, times = urlsplit(url), list[float]()
    until = time.perf_counter() + seconds
    key = f"Authorization: Bearer {token}\r\n" if token else ""

    async def ask(job: str) -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        request = f"GET {TASKS}/{job} HTTP/1.1\r\nHost: {address.netloc}\r\n{key}\r\n".encode()
        while (started := time.perf_counter()) < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
            times.append(time.perf_counter() - started)
            if not head.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(head.decode())
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*map(ask, jobs))
    return times


def measure_uploads(stack: Stack, folder: Path, megabytes: int) -> dict[str, Upload]:
    """Send the same recording by every way; nothing is transcribed meanwhile."""
    recording = folder / "recording.wav"
    with recording.open("wb") as file:
        file.write(as_wav(b""))
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    size = recording.stat().st_size
    daemon, api = stack.process("daemon"), stack.process("api")
    seconds: dict[str, float] = {}
    figures: dict[str, tuple[float, float]] = {}
    with httpx.Client(base_url=stack.url, timeout=600, trust_env=False) as client, serving(folder) as source:
        ways: dict[str, Callable[[], str | None]] = {
            "the store, before": lambda: put_into_store(client, recording),
            "form": lambda: send_form(stack.url, recording),
            "raw body": lambda: send_raw(stack.url, recording),
            "source_url": lambda: fetch(client, source),
            "presigned, completed": lambda: put_and_complete(client, recording),
            "the store, after": lambda: put_into_store(client, recording),
        }
        send_raw(stack.url, DEMO)  # the first of all opens connections
        daemon.suspend()
        try:
            for name, way in ways.items():
                with growth_of(api) as growth:
                    cpu, started = _cpu_seconds([api]), time.perf_counter()
                    job = way()
                    seconds[name] = time.perf_counter() - started
                    figures[name] = (growth(), _cpu_seconds([api]) - cpu)
                client.delete(f"{TASKS}/{job}").raise_for_status()
        finally:
            daemon.resume()
    store = statistics.mean(seconds[name] for name in seconds if name.startswith("the store"))
    recording.unlink()
    return {name: Upload(size / 1e6 / seconds[name], store / seconds[name], *figures[name]) for name in ways}


def send_form(url: str, recording: Path) -> str:
    field = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="recording.wav"\r\n\r\n'
    return _job(_send("POST", f"{url}{TASKS}/upload", recording, "multipart/form-data; boundary=edge", field, _END))


def send_raw(url: str, recording: Path) -> str:
    return _job(_send("PUT", f"{url}{TASKS}/upload?filename=recording.wav", recording, "audio/wav"))


def fetch(client: httpx.Client, source: str) -> str:
    return _job(
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


#: The end of a form.
_END = b"\r\n--edge--\r\n"


class _Parts:
    """Bytes, a file, bytes, as one stream."""

    def __init__(self, *sources: BinaryIO) -> None:
        self._sources = list(sources)

    def read(self, size: int) -> bytes:
        while self._sources:
            if block := self._sources[0].read(size):
                return block
            self._sources.pop(0)
        return b""


def _send(method: str, url: str, recording: Path, content_type: str, head: bytes = b"", tail: bytes = b"") -> bytes:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=600, blocksize=BLOCK_BYTES)
    length = len(head) + recording.stat().st_size + len(tail)
    with recording.open("rb") as file:
        body: Any = _Parts(io.BytesIO(head), file, io.BytesIO(tail))
        headers = {"Content-Type": content_type, "Content-Length": str(length)}
        connection.request(method, f"{address.path}?{address.query}", body, headers)
        answer = connection.getresponse()
        text = answer.read()
    connection.close()
    if answer.status not in (200, 202):
        raise RuntimeError(f"{answer.status}: {text.decode()}")
    return text


def _job(answer: bytes) -> str:
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
    stopped = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stopped.wait(0.02):
            peak = max(peak, process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: (peak - began) / 1e6
    finally:
        stopped.set()
        thread.join()


def long_recording() -> bytes:
    """Return the demo recording again and again, noisy in the lowest bit, so that nothing comes from the cache."""
    with DEMO.open("rb") as file:
        audio_format = detect_format(file.read(HEAD_BYTES))
    with RecordingStream(DEMO, audio_format, Settings(_env_file=None)) as stream:  # type: ignore[call-arg]
        once = np.frombuffer(b"".join(stream.blocks()), np.int16)
    samples = np.resize(once, TRANSCRIBED_MINUTES * 60 * SAMPLE_RATE)
    return as_wav((samples ^ np.random.default_rng().integers(0, 2, len(samples), np.int16)).tobytes())


def as_wav(pcm: bytes) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as audio:
        audio.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        audio.writeframes(pcm)
    return buffer.getvalue()


def _send_form(client: httpx.Client, recording: bytes, priority: str) -> str:
    answer = client.post(f"{TASKS}/upload", files={"file": ("a.wav", recording)}, data={"priority": priority})
    if answer.status_code != 202:
        raise RuntimeError(answer.text)
    return _job(answer.content)


def _await_stage(client: httpx.Client, job: str, stage: str) -> None:
    deadline = time.monotonic() + 120
    while (view := client.get(f"{TASKS}/{job}").raise_for_status().json())["stage"] != stage:
        if time.monotonic() > deadline:
            sys.exit(f"the recording is not transcribed: {view['status']} {view['stage']}")
        time.sleep(0.2)


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def show(polling: dict[str, Polling], uploads: dict[str, Upload], clients: int) -> bool:
    """Print the figures; return whether all holds that must."""
    console = Console(width=130)
    if polling:
        table = Table(
            *("", "requests/s", "median ms", "p99 ms", "CPU ms of the API", "of its servers", "of the clients"),
            title=f"{clients} clients ask for the status of {clients} jobs, a request",
        )
        for name, one in polling.items():
            figures = (one.api_cpu_ms, one.servers_cpu_ms, one.clients_cpu_ms)
            table.add_row(
                name,
                f"{one.requests_per_second:.0f}",
                f"{one.median_ms:.0f}",
                f"{one.p99_ms:.0f}",
                *(f"{figure:.2f}" for figure in figures),
            )
        console.print(table)
    if uploads:
        table = Table("way", "MB/s", "of the store's speed", "API grew by MB", "CPU s of the API", title="Uploads")
        for name, one in uploads.items():
            table.add_row(
                name,
                f"{one.megabytes_per_second:.0f}",
                f"{one.of_store:.2f}",
                f"{one.grown_mb:.0f}",
                f"{one.api_cpu_seconds:.1f}",
            )
        console.print(table)
    bad = [f"polling {name}" for name, one in polling.items() if not one.holds]
    bad += [f"speed of {name}" for name, one in uploads.items() if one.is_slow and name != "presigned, completed"]
    bad += [f"memory of {name}" for name, one in uploads.items() if one.grown_mb > MOST_GROWTH_MB]
    console.print(f"[red]Not within limits: {', '.join(bad)}." if bad else "[green]All within limits.")
    return not bad


if __name__ == "__main__":
    main()
