"""What a backfill costs an upload of high priority that comes while it is at work.

    python benchmarks/lanes.py [--uploads 4] [--json lanes.json]

A stack of its own is started, with a model as large as `base` whose weights mean nothing (`make_speed_model.py`). The
same minute of speech is uploaded with high priority, each time with other noise in its lowest bit: first to the idle
stack, then, in turns, while a backfill of hours of speech is transcribing. How much longer the uploads take must not
exceed what one chunk batch of the backfill takes, which is read from Dagster's record of the backfill's own steps
while nothing else was there to do.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from dagster import DagsterInstance
from make_speed_model import MODEL
from reports import parser_of, write_report
from rich.console import Console
from rich.table import Table
from stack import Stack, await_until, make_bucket
from throughput import Recording, synthesise

BUCKET = "archive"
SOURCES = json.dumps([{"bucket": BUCKET, "language": "en", "model": MODEL}])
#: Long enough that the backfill never ends while uploads are measured.
BACKFILLED, BACKFILLED_MINUTES = 2, 45
UPLOADED = Recording(1, 0.15, 0)


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
    parser = parser_of(__doc__, "lanes.json")
    parser.add_argument("--uploads", type=int, default=4)
    options = parser.parse_args()
    with Stack(speed_model=True, BACKFILL_SOURCES=SOURCES, WHISPER_MODEL=MODEL) as stack:
        lanes = measure(stack, options.uploads)
    show(lanes)
    write_report(options.json, delay=lanes.delay, **asdict(lanes))
    sys.exit(0 if lanes.holds else 1)


def measure(stack: Stack, uploads: int) -> Lanes:
    """Time the uploads, first alone, then beside a backfill."""
    put_recordings(stack)
    upload(stack, 0)  # loads and hashes the model
    alone = [upload(stack, number) for number in range(1, uploads + 1)]
    await_until(lambda: len(objects(stack)) == BACKFILLED, "the discovery of the recordings")
    stack.stt("backfill", BUCKET)
    # The first batch that was transcribed alone says what a batch takes.
    await_until(lambda: bool(batch_seconds(stack)), "the first batch of the backfill")
    batches = batch_seconds(stack)
    random, beside = np.random.default_rng(0), []
    for number in range(uploads):
        time.sleep(random.uniform(0, max(batches)))  # at some moment of a batch
        beside.append(upload(stack, 100 + number))
    assert any(item["state"] == "running" for item in objects(stack)), "the backfill was over before the uploads"
    return Lanes(alone, beside, batches)


def put_recordings(stack: Stack) -> None:
    store = make_bucket(stack.settings(), BUCKET)
    for number in range(BACKFILLED):
        recording = synthesise(Recording(BACKFILLED_MINUTES, 0.15, 0), number, stack.folder)
        store.fput_object(BUCKET, f"{number}.wav", str(recording))
        recording.unlink()


def upload(stack: Stack, seed: int) -> float:
    """Send a recording with high priority and wait for its transcript; return the seconds that it took."""
    seconds, _ = stack.submit_and_wait(synthesise(UPLOADED, seed, stack.folder), priority="high")
    return seconds


def objects(stack: Stack) -> list[dict[str, object]]:
    """Return the objects that discovery has registered."""
    answer = stack.client.get("/api/v1/backfill/objects", params={"bucket": BUCKET}).raise_for_status()
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
