"""What a backfill costs an upload of high priority that comes while it is at work.

    python benchmarks/lanes.py [--uploads 4] [--json lanes.json]

A stack of its own is started, with a model as large as `base` whose weights mean nothing (`make_speed_model.py`). The
same minute of speech is uploaded with high priority, each time with other noise in its lowest bit: first to the idle
stack, then, in turns, while a backfill of hours of speech is transcribing. How much longer the uploads take must not
exceed what one chunk batch of the backfill takes, which is read from Dagster's record of the backfill's own steps
while nothing else was there to do.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np
from dagster import DagsterInstance
from make_speed_model import make_speed_model
from rich.console import Console
from rich.table import Table
from stack import Stack, await_until, make_bucket
from throughput import MODEL, Recording, synthesise

BUCKET = "archive"
SOURCES = json.dumps([{"bucket": BUCKET, "language": "en", "model": MODEL}])
#: Long enough that the backfill never ends while uploads are measured.
BACKFILLED, BACKFILLED_MINUTES = 2, 45
UPLOADED = Recording(1, 0.15, 0)
FINAL = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Lanes:
    """Seconds from the upload to the transcript, without and beside a backfill, and of the backfill's batches."""

    alone: list[float]
    beside: list[float]
    batches: list[float]

    @property
    def delay(self) -> float:
        """How much longer the slowest upload took beside the backfill than the median one took alone."""
        return max(self.beside) - statistics.median(self.alone)

    @property
    def holds(self) -> bool:
        return self.delay <= max(self.batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=4)
    parser.add_argument("--json", type=Path, default=Path("lanes.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stt-lanes-") as name:
        folder = Path(name)
        (folder / "models").mkdir()
        make_speed_model(folder / "models" / f"ggml-{MODEL}.bin")
        with (
            Stack(
                folder, BACKFILL_SOURCES=SOURCES, WHISPER_MODELS_DIR=str(folder / "models"), WHISPER_MODEL=MODEL
            ) as stack,
            httpx.Client(base_url=stack.url, timeout=120, trust_env=False) as client,
        ):
            lanes = measure(stack, client, options.uploads, folder)
    show(lanes)
    options.json.write_text(
        json.dumps({"machine": platform.platform(), "delay": lanes.delay, **asdict(lanes)}, indent=1)
    )
    sys.exit(0 if lanes.holds else 1)


def measure(stack: Stack, client: httpx.Client, uploads: int, folder: Path) -> Lanes:
    """Time the uploads, first alone, then beside a backfill."""
    put_recordings(stack, folder)
    upload(client, synthesise(UPLOADED, 0, folder))  # loads and hashes the model
    alone = [upload(client, synthesise(UPLOADED, number, folder)) for number in range(1, uploads + 1)]
    await_until(lambda: len(objects(client)) == BACKFILLED, "the discovery of the recordings")
    stack.stt("backfill", BUCKET)
    # The first batch that was transcribed alone says what a batch takes.
    await_until(lambda: bool(batch_seconds(stack)), "the first batch of the backfill")
    batches = batch_seconds(stack)
    random, beside = np.random.default_rng(0), []
    for number in range(uploads):
        time.sleep(random.uniform(0, max(batches)))  # at some moment of a batch
        beside.append(upload(client, synthesise(UPLOADED, 100 + number, folder)))
    assert any(item["state"] == "running" for item in objects(client)), "the backfill was over before the uploads"
    return Lanes(alone, beside, batches)


def put_recordings(stack: Stack, folder: Path) -> None:
    store = make_bucket(stack.settings(), BUCKET)
    for number in range(BACKFILLED):
        recording = synthesise(Recording(BACKFILLED_MINUTES, 0.15, 0), number, folder)
        store.fput_object(BUCKET, f"{number}.wav", str(recording))
        recording.unlink()


def upload(client: httpx.Client, recording: Path) -> float:
    """Send a recording with high priority and wait for its transcript; return the seconds that it took."""
    started = time.monotonic()
    with recording.open("rb") as file:
        answer = client.post("/api/v1/tasks/upload", files={"file": (recording.name, file)}, data={"priority": "high"})
    url = answer.raise_for_status().headers["Location"]
    while (status := client.get(url, params={"wait": 30}).raise_for_status().json()["status"]) not in FINAL:
        continue
    if status != "completed":
        raise RuntimeError(f"{url} is {status}")
    return time.monotonic() - started


def objects(client: httpx.Client) -> list[dict[str, object]]:
    """Return the objects that discovery has registered."""
    answer = client.get("/api/v1/backfill/objects", params={"bucket": BUCKET}).raise_for_status()
    found: list[dict[str, object]] = answer.json()["objects"]
    return found


def batch_seconds(stack: Stack) -> list[float]:
    """Return what the engine took for each batch of the backfill that is done, as its step says in Dagster."""
    home = Path(stack.environment["STT_HOME"]) / "dagster"
    with DagsterInstance.from_config(str(home)) as instance:
        return [
            float(output.metadata["engine_seconds"].value)  # type: ignore[arg-type]
            for run in instance.get_runs()
            if run.tags.get("stt/lane") == "backfill"
            for record in instance.all_logs(run.run_id)
            if record.is_dagster_event
            and (event := record.get_dagster_event()).is_successful_output
            and "engine_seconds" in (output := event.step_output_data).metadata
        ]


def show(lanes: Lanes) -> None:
    table = Table("", "median s", "least s", "most s", title="One minute uploaded with high priority")
    rows = {"alone": lanes.alone, "beside a backfill": lanes.beside, "a chunk batch of the backfill": lanes.batches}
    for name, seconds in rows.items():
        table.add_row(name, *(f"{value:.1f}" for value in (statistics.median(seconds), min(seconds), max(seconds))))
    console = Console(width=100)
    console.print(table)
    verdict = "at most" if lanes.holds else "more than"
    console.print(f"The backfill delayed an upload by {lanes.delay:.1f} s at most: {verdict} one batch.")


if __name__ == "__main__":
    main()
