"""How a bucket of many small recordings is discovered and transcribed, and what that costs.

    python benchmarks/backfill.py [--objects 10000] [--backfilled 500] [--runs 2] [--json backfill.json]

A stack of its own is started, objects are put into a bucket through S3, and the discovery sensor is waited for until it
has registered them all. Then `stt backfill --watch` transcribes the first few hundred with the demo model: each is one
sentence of the demo recording with other noise in its lowest bit, so that no chunk is in the cache; the objects that
are only registered share one recording. At the end every object that was backfilled must have one job, completed, whose
transcript is the exported one; anything else is counted as lost or doubled. The memory of the parts of the stack is
looked at all the time.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import jiwer
import numpy as np
from reports import parser_of, write_report
from rich.console import Console
from rich.table import Table
from scoring import split_words
from sounds import DEMO_TRUTH, as_wav, read_sentences, vary
from stack import Stack, await_until, make_bucket
from watching import Watch

from stt_core.backfill.objects import BucketObjects, ObjectState
from stt_core.backfill.partitions import partition_key
from stt_core.jobs.job import JobStatus
from stt_core.services import Services
from stt_core.settings import Settings

BUCKET, BACKFILLED, REGISTERED = "archive", "calls/backfilled/", "calls/registered/"
SOURCES = json.dumps([{"bucket": BUCKET, "prefix": "calls/", "language": "en"}])
PUTTERS = 8
#: Parts whose memory is watched: those that know of every partition.
WATCHED = ("daemon", "code", "webserver", "api")
SECONDS_BETWEEN_LOOKS = 2.0
MEMORY_SHOWN = 11
#: How long discovery may take before the benchmark gives up.
MOST_DISCOVERY_SECONDS = 900.0


def main() -> None:
    parser = parser_of(__doc__, "backfill.json")
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--backfilled", type=int, default=500)
    parser.add_argument("--runs", type=int, default=2, help="MAX_CONCURRENT_BACKFILLS")
    options = parser.parse_args()
    memory: dict[str, list[float]] = {part: [] for part in WATCHED}

    def look() -> None:
        for part in WATCHED:
            memory[part].append(round(stack.process(part).memory_info().rss / 1e6, 1))

    with Stack(BACKFILL_SOURCES=SOURCES, MAX_CONCURRENT_BACKFILLS=str(options.runs), WHISPER_MODEL="demo") as stack:
        services = Services.open(stack.settings())
        look()
        with Watch(look, SECONDS_BETWEEN_LOOKS):
            figures = measure(stack, services, options.objects, options.backfilled)
        services.close()
    figures |= {f"{part} MB, from begin to end": evenly_spaced(values) for part, values in memory.items()}
    show(figures)
    write_report(options.json, dagster=version("dagster"), runs=options.runs, **figures)
    sys.exit(0 if figures["lost"] == figures["doubled"] == figures["wrong"] == 0 else 1)


def measure(stack: Stack, services: Services, objects: int, backfilled: int) -> dict[str, Any]:
    """Fill the bucket, wait for its discovery, backfill a part of it, and look at what came of each object."""
    truths = put_objects(services.settings, objects, backfilled)
    started, idle_cpu = time.monotonic(), stack.cpu_seconds()
    known = services.database.bucket_objects
    await_until(
        lambda: known.count_documents({}) >= objects, f"the discovery of {objects} objects", MOST_DISCOVERY_SECONDS
    )
    discovered = time.monotonic() - started
    cpu, began = stack.cpu_seconds(), time.monotonic()
    stack.stt("backfill", f"{BUCKET}/{BACKFILLED}", "--watch")
    wall, used = time.monotonic() - began, stack.cpu_seconds() - cpu
    return {
        "objects": objects,
        "discovered after the last was put, s": round(discovered, 1),
        "CPU s of the stack for discovery": round(cpu - idle_cpu, 1),
        "backfilled": backfilled,
        "wall s": round(wall, 1),
        "wall s per object": round(wall / backfilled, 2),
        "CPU s per object": round(used / backfilled, 2),
        **look_at_results(services, truths),
    }


def put_objects(settings: Settings, objects: int, backfilled: int) -> dict[str, str]:
    """Put the recordings; return the text of each that is to be backfilled, by key."""
    client = make_bucket(settings, BUCKET)
    sentences = read_sentences()
    texts = [sentence.text for sentence in DEMO_TRUTH.segments]
    shared = as_wav(sentences[0].tobytes())

    def put(number: int) -> None:
        name = f"{BACKFILLED}{number:05d}.wav" if number < backfilled else f"{REGISTERED}{number:05d}.wav"
        content = shared
        if number < backfilled:
            content = as_wav(vary(sentences[number % len(sentences)], np.random.default_rng(number)))
        client.put_object(BUCKET, name, io.BytesIO(content), len(content), content_type="audio/wav")

    with ThreadPoolExecutor(PUTTERS) as threads:
        list(threads.map(put, range(objects)))
    return {f"{BACKFILLED}{number:05d}.wav": texts[number % len(texts)] for number in range(backfilled)}


def look_at_results(services: Services, truths: dict[str, str]) -> dict[str, Any]:
    """Count objects without one completed job and its transcript; return that, and the others' word error rate."""
    jobs = services.jobs.find_versions(partition_key(BUCKET, key) for key in truths)
    completed = Counter(job.partition for job in jobs if job.status is JobStatus.COMPLETED)
    others = Counter(job.status.value for job in jobs if job.status is not JobStatus.COMPLETED)
    references, hypotheses, wrong = [], [], 0
    for key, text in truths.items():
        item = BucketObjects.of(services).get(partition_key(BUCKET, key))
        if item.current_job_id is None:
            continue
        latest = services.jobs.get_job(item.current_job_id)
        transcript = services.tasks.get_task_result(item.current_job_id)
        wrong += item.state(latest) is not ObjectState.DONE or transcript.job_id != item.current_job_id
        references.append(" ".join(split_words(text)))
        hypotheses.append(" ".join(split_words(transcript.text)))
    return {
        "lost": sum(completed[partition_key(BUCKET, key)] == 0 for key in truths),
        "doubled": sum(count - 1 for count in completed.values()),
        "wrong": wrong,
        "jobs that did not complete": dict(others),
        "word error rate": round(jiwer.wer(references, hypotheses), 4),
    }


def evenly_spaced(values: list[float]) -> list[float]:
    """Return the first value, the last, and up to nine between them, as far apart in time as each other."""
    places = np.linspace(0, len(values) - 1, MEMORY_SHOWN).round().astype(int)
    return [values[place] for place in dict.fromkeys(places)]


def show(figures: dict[str, Any]) -> None:
    table = Table(title="A backfill of many small recordings")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, str(value))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
