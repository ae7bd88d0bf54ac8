"""Where the time of one short recording goes, from the upload to the transcript.

    stt up --detach && python benchmarks/latency.py [--runs 5] [--recording FILE --model NAME] [--pause 25]

Uploads a recording, the bundled demo one by default, to a running stack, each time with other noise in the lowest bit
(so that no chunk is in the cache), after a pause in which warm engines end, and reads the times of every leg from the
answers, the job and Dagster's event log. Prints a table of medians and writes `latency.json`. Compare legs within one
table only: absolute times are this machine's.
"""

from __future__ import annotations

import statistics
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from dagster import DagsterEventType, DagsterInstance
from reports import parser_of, write_report
from rich.console import Console
from rich.table import Table
from sounds import DEMO, as_wav, listen, vary

from stt_core.settings import Settings, load_settings

STEPS = ("prepare_audio", "plan_chunks", "transcribe", "merge", "publish")


def measure(client: httpx.Client, instance: DagsterInstance, recording: bytes, model: str) -> dict[str, float]:
    """Send one recording, wait for its transcript and return the seconds of each leg."""
    started = time.time()
    answer = client.post("/api/v1/tasks/upload", files={"file": ("demo.wav", recording)}, data={"model": model})
    answer.raise_for_status()
    uploaded = time.time()
    url = f"/api/v1/tasks/{answer.json()['job_id']}"
    while (view := client.get(url).raise_for_status().json())["status"] not in ("completed", "failed", "cancelled"):
        time.sleep(0.05)
    client.get(f"{url}/result").raise_for_status()
    ended = time.time()

    record = instance.get_run_record_by_id(view["run_id"])
    assert record is not None
    edges = step_times(instance, view["run_id"])
    created = record.create_timestamp.timestamp()
    legs = {"upload": uploaded - started, "enqueue -> run requested": max(0.0, created - uploaded)}
    legs["run requested -> first op"] = edges["prepare_audio"][0] - max(created, uploaded)
    legs |= {name: edges[name][1] - edges[name][0] for name in STEPS}
    published = datetime.fromisoformat(view["completed_at"]).timestamp()
    legs["between steps"] = published - edges["prepare_audio"][0] - sum(legs[name] for name in STEPS)
    legs["published -> seen by client"] = ended - published
    return legs | {"total": ended - started}


def step_times(instance: DagsterInstance, run_id: str) -> dict[str, tuple[float, float]]:
    """Return when each step began and ended; mapped steps count from the first's begin to the last's end."""
    times: dict[str, tuple[float, float]] = {}
    for entry in instance.all_logs(run_id, of_type={DagsterEventType.STEP_START, DagsterEventType.STEP_SUCCESS}):
        name = str(entry.step_key).partition("[")[0]
        first, _ = times.get(name, (entry.timestamp, entry.timestamp))
        times[name] = (first, entry.timestamp)
    return times


def show(runs: list[dict[str, float]], title: str) -> None:
    table = Table("leg", "median s", "min s", "max s", title=f"{len(runs)} runs of {title}")
    for leg in runs[0]:
        values = [run[leg] for run in runs]
        table.add_row(leg, *(f"{value:.2f}" for value in (statistics.median(values), min(values), max(values))))
    Console().print(table)


def main() -> None:
    parser = parser_of(__doc__, "latency.json")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--recording", type=Path, default=DEMO)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds before each run (default %(default)s)")
    options = parser.parse_args()
    settings: Settings = load_settings()
    samples = np.frombuffer(listen(options.recording, settings)[0], "<i2")
    runs: list[dict[str, Any]] = []
    with (
        DagsterInstance.from_config(str(settings.stt_home.absolute() / "dagster")) as instance,
        httpx.Client(base_url=settings.api_url, timeout=60) as client,
    ):
        for number in range(options.runs + 1):  # the first warms up and does not count
            time.sleep(options.pause)
            recording = as_wav(vary(samples, np.random.default_rng(number + int(time.time()))))
            legs = measure(client, instance, recording, options.model)
            if number:
                runs.append(legs)
    show(runs, f"{options.recording.name}, model {options.model}")
    write_report(options.json, runs=runs)


if __name__ == "__main__":
    main()
