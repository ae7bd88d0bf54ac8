"""How the API bears many clients that ask at once, and recordings of a gigabyte.

    python benchmarks/api.py [--clients 50] [--seconds 15] [--megabytes 1000] [--json api.json]

A stack of its own is started (`stt up --detach` in a temporary home, free ports, the embedded servers), which takes
about two minutes in all. The clients are in this process and take their share of the cores.

Polling: each client asks for the status of a job five times a second, then as soon as it has its answer. Every second
one asks for that which is being transcribed, at a lower priority than all else, the others for one of their own that
waits. Once without API keys, once with one. Must hold on two cores: 200 requests a second, and for clients that pause
99 % of them within 250 ms (clients that do not wait for each other, by as much as the API can bear).

Uploads: one recording by every way in, each between two times that the same client puts the same bytes into the object
store itself. Must hold for a form and a raw body: 60 % of the store's own speed; and for every way: the process of the
API grows by 100 MB at most.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import numpy as np
import psutil
from reports import parser_of, write_report
from sounds import as_wav, read_demo, vary
from stack import TASKS, Stack, await_until, cpu_seconds
from ways_in import MOST_GROWTH_MB, PROMISED, Upload, measure_uploads

from stt_core.access.api_key import Scope
from stt_core.access.keys import ApiKeys
from stt_core.audio.plan import SAMPLE_RATE
from stt_core.stores.database import Database

#: The recording that is transcribed meanwhile: long enough for both rounds of polling.
TRANSCRIBED_MINUTES = 60
#: Of the code server, its runs, and the engines that they start.
NICENESS = 15
VARIABLES = {"SOURCE_URL_ALLOW": "127.0.0.1", "WHISPER_MODEL": "demo", "MAX_CONCURRENT_RUNS": "1"}
WARM_UP_SECONDS = 2.0
LEAST_REQUESTS, MOST_P99_MS = 200, 250
#: How often each client asks, a second (None: again and again).
RATES = {"5 a second each": 5, "without a pause": None}


def make_key(stack: Stack) -> str:
    """Make an API key, and return its token; from now on the API asks for one."""
    database = Database(stack.settings())
    token = ApiKeys(database).create("benchmark", [Scope.ADMIN], rate=1_000_000).token.get_secret_value()
    database.close()
    return token


@dataclass(frozen=True)
class Polling:
    """A round of polling: requests, and the CPU that they took of the API, its servers and the clients."""

    #: How often each client asks, a second; None: as soon as it has its answer.
    rate: int | None
    requests_per_second: float
    median_ms: float
    p99_ms: float
    api_cpu_ms: float
    servers_cpu_ms: float
    clients_cpu_ms: float

    @property
    def holds(self) -> bool:
        in_time = self.rate is None or self.p99_ms <= MOST_P99_MS
        return self.requests_per_second >= LEAST_REQUESTS and in_time


def main() -> None:
    parser = parser_of(__doc__, "api.json")
    parser.add_argument("--clients", type=int, default=50, help="0 leaves polling out")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--megabytes", type=int, default=1000, help="0 leaves uploads out")
    options = parser.parse_args()
    polling: dict[str, Polling] = {}
    uploads: dict[str, Upload] = {}
    with Stack(**VARIABLES) as stack:
        if options.megabytes:
            uploads = measure_uploads(stack, options.megabytes)
        if options.clients:
            polling = measure_polling(stack, options.clients, options.seconds)
    passed = show(polling, uploads)
    write_report(
        options.json,
        polling={name: asdict(one) for name, one in polling.items()},
        uploads={name: asdict(one) for name, one in uploads.items()},
    )
    sys.exit(0 if passed else 1)


def measure_polling(stack: Stack, clients: int, seconds: float) -> dict[str, Polling]:
    """Poll while one job is transcribed and the others wait, without keys and then with one."""
    at_work = send_form(stack, long_recording(), priority="high")
    await_until(lambda: stack.look_at(at_work)["stage"] == "transcribing", "the way to the first chunk")
    code = stack.process("code")
    for process in (code, *code.children(recursive=True)):
        process.nice(NICENESS)
    # Of a lower priority than the one at work: they wait until all is measured.
    waiting = [send_form(stack, as_wav(bytes(32_000)), priority="low") for _ in range(clients // 2)]
    jobs = waiting + [at_work] * (clients - len(waiting))
    rounds = {f"off, {name}": poll_round(stack, jobs, seconds, rate, None) for name, rate in RATES.items()}
    token = make_key(stack)
    rounds |= {f"on, {name}": poll_round(stack, jobs, seconds, rate, token) for name, rate in RATES.items()}
    stack.client.headers["X-API-Key"] = token
    view = stack.look_at(at_work)
    if view["stage"] != "transcribing":
        sys.exit(f"the recording was too short: {view['status']} {view['stage']}")
    return rounds


def poll_round(stack: Stack, jobs: list[str], seconds: float, rate: int | None, token: str | None) -> Polling:
    asyncio.run(poll(stack.url, jobs, WARM_UP_SECONDS, rate, token))
    servers = [stack.process(part) for part in ("mongo", "redis")]
    measured = [[stack.process("api")], servers, [psutil.Process()]]
    before = [cpu_seconds(processes) for processes in measured]
    times = asyncio.run(poll(stack.url, jobs, seconds, rate, token))
    api, behind, clients = (
        1000 * (cpu_seconds(processes) - spent) / len(times) for processes, spent in zip(measured, before, strict=True)
    )
    cuts = statistics.quantiles(times, n=100)
    return Polling(rate, len(times) / seconds, 1000 * cuts[49], 1000 * cuts[98], api, behind, clients)


async def poll(url: str, jobs: list[str], seconds: float, rate: int | None, token: str | None) -> list[float]:
    """Return how long each answer took, in seconds; every client asks for its job over a connection of its own."""
    address, times = urlsplit(url), list[float]()
    begin = time.perf_counter()
    until = begin + seconds
    key = f"Authorization: Bearer {token}\r\n" if token else ""

    async def ask(job: str, number: int) -> None:
        turn = begin + number / len(jobs) / rate if rate else begin  # they do not all ask at the same moment
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        request = f"GET {TASKS}/{job} HTTP/1.1\r\nHost: {address.netloc}\r\n{key}\r\n".encode()
        while (started := time.perf_counter()) < until:
            if rate and started < turn:
                await asyncio.sleep(turn - started)
                continue
            turn += 1 / rate if rate else 0
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
            times.append(time.perf_counter() - started)
            if not head.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(head.decode())
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*map(ask, jobs, range(len(jobs))))
    return times


def long_recording() -> bytes:
    """Return the demo recording again and again, noisy in the lowest bit, so that nothing comes from the cache."""
    samples = np.resize(read_demo(), TRANSCRIBED_MINUTES * 60 * SAMPLE_RATE)
    return as_wav(vary(samples, np.random.default_rng()))


def send_form(stack: Stack, recording: bytes, priority: str) -> str:
    answer = stack.client.post(f"{TASKS}/upload", files={"file": ("a.wav", recording)}, data={"priority": priority})
    return str(answer.raise_for_status().json()["job_id"])


def show(polling: dict[str, Polling], uploads: dict[str, Upload]) -> bool:
    """Print the tables of docs/performance.md; return whether all holds that must."""
    if polling:
        print("\n| API keys, clients | requests/s | median ms | p99 ms | CPU ms: API | MongoDB, Redis | clients |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for name, one in polling.items():
            cpu = f"{one.api_cpu_ms:.2f} | {one.servers_cpu_ms:.2f} | {one.clients_cpu_ms:.2f}"
            print(f"| {name} | {one.requests_per_second:.0f} | {one.median_ms:.0f} | {one.p99_ms:.0f} | {cpu} |")
    if uploads:
        print("\n| Way in | MB/s | of the store's speed | the API grew by MB | CPU s of the API |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name, way in uploads.items():
            grown = f"{way.grown_mb:.0f} | {way.api_cpu_seconds:.1f}"
            print(f"| {name} | {way.megabytes_per_second:.0f} | {way.of_store:.2f} | {grown} |")
    bad = [f"polling, keys {name}" for name, one in polling.items() if not one.holds]
    bad += [f"speed of {name}" for name in PROMISED if name in uploads and uploads[name].is_slow]
    bad += [f"memory of {name}" for name, way in uploads.items() if way.grown_mb > MOST_GROWTH_MB]
    print(f"\nNot within limits: {', '.join(bad)}." if bad else "\nAll within limits.")
    return not bad


if __name__ == "__main__":
    main()
