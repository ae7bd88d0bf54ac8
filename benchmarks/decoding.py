"""Which decisions of the audio path pay: a grid of configurations over real speech, in word errors for CPU seconds.

    python benchmarks/decoding.py RECORDING|FOLDER… --python PYTHON --cache DIR
        -c "today: whisper_model=base" -c "voice: whisper_model=base chunk_strategy=vad" [--json decoding.json]

A recording has its truth beside it: `NAME.json` (`composites.py`), or `NAME.txt`, whose folder's name begins with the
language. A configuration is a name and any of the settings (`.env.example`, in small letters), of the words below, and
of the constants of a module (`stt_core.audio.vad._BEGINS_AT=0.3`):

- `missed=off`: speech without a word is not heard again;
- `loops=off`: a text in a loop is not decoded again;
- `prompt=before`: each chunk is told the text of the one before it;
- `hear=whole`: no plan; one process of the engine over the whole recording, as its own users run it.

What an engine says of a sound is kept in `--cache`, so that another plan costs what is new of it. `--python` names a
Python that has `whisper-normalizer` and `jiwer`. Windows are sounds that went through the engine, second hearings
counted; those needed are the sum of ceil(speech / 29 s) over the recordings. CPU is that of one thread, the model
loaded (of a whole recording with its loading), when the sound was heard first. Differences are to the first
configuration, with 95 % of a paired bootstrap over the recordings. Of composites, the times of words are measured too.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import cast
from unittest.mock import patch

import numpy as np
from hearing import Hearing
from kept import KeptEngine
from real import hear_by_peer, hear_whole, measure_levels
from reports import parser_of, write_report
from rich.console import Console
from rich.table import Table
from scoring import Truth
from sounds import find_recordings, listen, spoken_in
from word_errors import count_errors
from word_times import heard_onsets, score_times

from stt_core.audio import RecordingStream, plan_recording
from stt_core.audio.clips import Clip
from stt_core.audio.plan import SAMPLE_BYTES, SAMPLE_RATE
from stt_core.engines.base import Engine
from stt_core.engines.transcriber import Transcriber
from stt_core.logs import setup_logging
from stt_core.settings import Settings
from stt_core.transcript.document import ChunkSegment, Segment
from stt_core.transcript.merging import merge_chunks
from stt_core.whisper.models import WhisperModel, resolve_model

WINDOW_SECONDS = 29.0
#: Of a configuration, beside settings and constants.
WORDS = ("missed", "loops", "prompt", "hear")


@dataclass(frozen=True)
class Recording:
    """A recording with its truth, decoded and listened to; `listening` is the CPU that this took, seconds."""

    name: str
    path: Path
    language: str
    truth: Truth
    pcm: bytes = field(repr=False)
    stream: RecordingStream = field(repr=False)
    listening: float

    @property
    def windows_needed(self) -> int:
        return math.ceil(self.truth.speech_seconds / WINDOW_SECONDS)


@dataclass(frozen=True)
class Configuration:
    name: str
    given: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Configuration:
        name, _, pairs = text.partition(":")
        return cls(name.strip(), dict(pair.split("=", 1) for pair in pairs.split()))

    @property
    def settings(self) -> Settings:
        own = {name: value for name, value in self.given.items() if name not in WORDS and "." not in name}
        if unknown := own.keys() - Settings.model_fields.keys():
            raise ValueError(f"{self.name}: there is no setting {', '.join(sorted(unknown))}")
        return Settings(_env_file=None, **own)  # type: ignore[arg-type]

    def applied(self) -> ExitStack:
        """Return a context in which the constants have their values."""
        stack = ExitStack()
        for name, value in self.given.items():
            if "." in name:
                module, _, constant = name.rpartition(".")
                stack.enter_context(patch.object(importlib.import_module(module), constant, json.loads(value)))
        return stack


@dataclass
class Result:
    """What a configuration made of a recording."""

    configuration: str
    recording: str
    language: str
    text: str = field(repr=False)
    windows: int
    windows_needed: int
    engine_cpu: float
    planning_cpu: float
    planned_seconds: float = 0.0
    hearings: dict[str, int] = field(default_factory=dict)
    units: int = 0
    errors: int = 0
    #: Of words, where the truth has them (`word_times.py`).
    times: dict[str, float] = field(default_factory=dict)


def main() -> None:
    parser = parser_of(__doc__, "decoding.json")
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("-c", "--configuration", dest="configurations", action="append", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--python", default=sys.executable, help="has whisper-normalizer and jiwer")
    options = parser.parse_args()
    setup_logging("ERROR")
    with tempfile.TemporaryDirectory(prefix="stt-slots-") as name:  # engines stay warm there
        options.slots = Path(name)
        measure(options)


def measure(options: argparse.Namespace) -> None:
    options.cache.mkdir(parents=True, exist_ok=True)
    configurations = [Configuration.parse(text) for text in options.configurations]
    results: list[Result] = []
    for path in find_told(options.recordings):
        recording = read_recording(path)
        for configuration in configurations:
            result = hear(recording, configuration, options)
            results.append(result)
            [(result.units, result.errors)] = count_errors(
                [(" ".join(one.text for one in recording.truth.segments), result.text)], result.language, options.python
            )
            wer = 100 * result.errors / result.units
            print(
                f"{result.recording:20} {result.configuration:20} {wer:6.2f} % of {result.units}, "
                f"{result.windows} windows for {result.windows_needed}, {result.engine_cpu:.1f} s",
                result.hearings,
                {name: round(value, 2) for name, value in result.times.items()},
                flush=True,
            )  # fmt: skip
        write_report(
            options.json,
            numpy=np.__version__,
            configurations={one.name: one.given for one in configurations},
            results=[asdict(result) for result in results],
        )
    show(results)


def find_told(places: Sequence[Path]) -> list[Path]:
    """Return the recordings in these places that have their truth beside them."""
    return list(filter(_truth_beside, find_recordings(places)))


def _truth_beside(path: Path) -> Path | None:
    beside = [path.with_suffix(suffix) for suffix in (".json", ".txt")]
    return next((one for one in beside if one.is_file() and one.read_text(encoding="utf-8").strip()), None)


def read_recording(path: Path) -> Recording:
    """Decode a recording as the product does, its levels and voice measured on the way."""
    began = time.process_time()
    pcm, stream = listen(path)
    listening = time.process_time() - began
    truth_path = _truth_beside(path)
    assert truth_path
    if truth_path.suffix == ".json":
        told = json.loads(truth_path.read_bytes())
        truth, language = Truth.model_validate(told), told.get("language", "en")
    else:
        duration = len(pcm) / SAMPLE_BYTES / SAMPLE_RATE
        text = truth_path.read_text(encoding="utf-8")
        truth = Truth.model_validate(
            {"duration": duration, "segments": [{"start": 0.0, "end": duration, "text": text}]}
        )
        language = spoken_in(path.parent.name) or "en"
    return Recording(path.stem, path, language, truth, pcm, stream, listening)


def hear(recording: Recording, configuration: Configuration, options: argparse.Namespace) -> Result:
    settings = configuration.settings
    model = resolve_model(settings.whisper_model, settings)
    if configuration.given.get("hear") == "whole":
        return hear_without_plan(recording, configuration, model, options)
    with tempfile.TemporaryDirectory(prefix="stt-decoding-") as name, configuration.applied():
        transcriber = Transcriber.for_model(model, settings)
        identity = hashlib.sha256(model.digest.encode()).hexdigest()[:12]
        engine = KeptEngine(transcriber.engine, options.cache, options.slots / f"{identity}.sock")
        given = configuration.given
        hearing = Hearing(
            replace(transcriber, engine=cast(Engine, engine)),
            Path(name),
            recording.language,
            keeps_loops=given.get("loops") == "off",
            keeps_gaps=given.get("missed") == "off",
            prompts=given.get("prompt") == "before",
        )
        began = time.process_time()
        plan = plan_recording(recording.stream.energies, recording.stream.voice, settings)
        planning = time.process_time() - began
        texts = hearing.texts_of(plan.chunks, recording.pcm)
        transcript = merge_chunks(
            recording.name,
            plan.chunks,
            dict(enumerate(texts)),
            duration_seconds=recording.truth.duration,
            model=model.name,
            language=recording.language,
            voices={None: recording.stream.voice},
        )
    return Result(
        configuration.name,
        recording.name,
        recording.language,
        transcript.text,
        engine.windows,
        recording.windows_needed,
        round(engine.cpu, 2),
        round(recording.listening + planning, 2),
        round(sum(chunk.length for chunk in plan.chunks) / SAMPLE_RATE, 1),
        {
            "loops": engine.windows - len(plan.chunks) - hearing.second_hearings,
            "missed": hearing.second_hearings,
        },
        times=measure_times(recording, transcript.segments),
    )


def hear_without_plan(
    recording: Recording, configuration: Configuration, model: WhisperModel, options: argparse.Namespace
) -> Result:
    """Run the engine over the whole recording: `stt-whisper-cli`, or faster-whisper in batches."""
    kept = options.cache / f"whole-segments-{hashlib.sha256(model.digest.encode() + recording.pcm).hexdigest()}.json"
    if not kept.exists():
        with tempfile.TemporaryDirectory(prefix="stt-decoding-") as name:
            wav = Path(name) / "whole.wav"
            Clip.of(recording.pcm).write_wav(wav)
            if model.is_folder:
                peer = argparse.Namespace(language=recording.language, python=sys.executable, peer=model.path)
                hearing = hear_by_peer(wav, peer)
            else:
                hearing = hear_whole(wav, model.path, recording.language)
        kept.write_text(json.dumps({"cpu": hearing.cpu, "segments": [one.model_dump() for one in hearing.segments]}))
    entry = json.loads(kept.read_bytes())
    segments = [ChunkSegment.model_validate(one) for one in entry["segments"]]
    text = " ".join(segment.text for segment in segments)
    return Result(
        configuration.name,
        recording.name,
        recording.language,
        text,
        0,
        recording.windows_needed,
        round(entry["cpu"], 2),
        0.0,
        times=measure_times(recording, segments),
    )


def measure_times(recording: Recording, segments: Sequence[ChunkSegment | Segment]) -> dict[str, float]:
    """Return how far words are from where they were said; nothing where the truth does not know."""
    if recording.truth.segments[0].end == recording.truth.duration:
        return {}
    onsets = heard_onsets(recording.truth, measure_levels(recording.path))
    heard = [ChunkSegment(start=one.start, end=one.end, text=one.text, words=one.words) for one in segments]
    return score_times(recording.truth, heard, onsets).figures()


def pooled(results: Sequence[Result]) -> Iterator[tuple[str, list[Result]]]:
    """Yield each configuration's results."""
    for name in dict.fromkeys(result.configuration for result in results):
        yield name, [result for result in results if result.configuration == name]


def difference(results: Sequence[Result], first: Sequence[Result]) -> str:
    """Return by how many points of WER results differ from those of the same recordings, and between what it lies."""
    counts = np.array([(one.errors - other.errors, one.units) for one, other in zip(results, first, strict=True)])
    drawn = np.random.default_rng(1).integers(0, len(counts), (10_000, len(counts)))
    sums = counts[drawn].sum(axis=1)
    low, high = np.percentile(100 * sums[:, 0] / sums[:, 1], (2.5, 97.5))
    errors, units = counts.sum(axis=0)
    return f"{100 * errors / units:+.2f} ({low:+.2f} to {high:+.2f})"


def show(results: Sequence[Result]) -> None:
    recordings = list(dict.fromkeys(result.recording for result in results))
    columns = recordings if len(recordings) <= 12 else []
    table = Table(
        "configuration", *columns, "WER %", "difference", "windows / needed", "engine CPU s", "planning CPU s", "empty"
    )
    [(_, first), *_] = pooled(results)
    for name, own in pooled(results):
        by_recording = {result.recording: result for result in own}
        cells = [f"{100 * by_recording[one].errors / by_recording[one].units:.2f}" for one in columns]
        windows, needed = sum(one.windows for one in own), sum(one.windows_needed for one in own)
        table.add_row(
            name,
            *cells,
            f"{100 * sum(one.errors for one in own) / sum(one.units for one in own):.2f}",
            difference(own, first),
            f"{windows} / {needed} = {windows / needed:.2f}",
            f"{sum(one.engine_cpu for one in own):.0f}",
            f"{sum(one.planning_cpu for one in own):.1f}",
            str(sum(not one.text for one in own)),
        )
    Console(width=240).print(table)


if __name__ == "__main__":
    main()
