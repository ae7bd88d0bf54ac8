"""Where the time of one short recording goes, from the upload to the transcript.

    stt up --detach && python benchmarks/latency.py [--runs 5] [--recording FILE --model NAME] [--pause 25]

Uploads a recording, the bundled demo one by default, to a running stack, each time with other noise in the lowest bit
(so that no chunk is in the cache), after a pause in which warm engines end, and reads the times of every leg from the
answers, the job and Dagster's event log. Prints a table of medians and writes `latency.json`. Compare legs within one
table only: absolute times are this machine's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from dagster import DagsterEventType, DagsterInstance
from rich.console import Console
from rich.table import Table
from ways_in import as_wav

from stt_core.audio.decode import PcmStream
from stt_core.audio.detection import detect_format
from stt_core.settings import Settings, load_settings

DEMO = Path(__file__).parents[1] / "stt_cli" / "data" / "demo.flac"
STEPS = ("prepare_audio", "plan_chunks", "transcribe", "merge", "publish")


def variant(pcm: bytes, seed: int) -> bytes:
    """Return the recording as a WAV file whose lowest bits are random."""
    samples = np.frombuffer(pcm, np.int16) ^ np.random.default_rng(seed).integers(0, 2, len(pcm) // 2, np.int16)
    return as_wav(samples.tobytes())


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--recording", type=Path, default=DEMO)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds before each run (default %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("latency.json"))
    options = parser.parse_args()
    settings: Settings = load_settings()
    with options.recording.open("rb") as file:
        audio_format = detect_format(file.read(65536))
    with PcmStream(options.recording, audio_format, settings) as stream:
        pcm = b"".join(stream.blocks())
    runs: list[dict[str, Any]] = []
    with (
        DagsterInstance.from_config(str(settings.stt_home.absolute() / "dagster")) as instance,
        httpx.Client(base_url=settings.api_url, timeout=60) as client,
    ):
        for number in range(options.runs + 1):  # the first warms up and does not count
            time.sleep(options.pause)
            legs = measure(client, instance, variant(pcm, number + int(time.time())), options.model)
            if number:
                runs.append(legs)
    show(runs, f"{options.recording.name}, model {options.model}")
    options.json.write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
