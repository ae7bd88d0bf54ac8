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
import platform
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from real import hear_by_peer, hear_whole, measure_levels
from rich.console import Console
from rich.table import Table
from scoring import Truth
from word_errors import count_errors
from word_times import heard_onsets, score_times

from stt_core.audio import RecordingStream, detect_file_format, plan_recording, render_chunk
from stt_core.audio.clips import Clip
from stt_core.audio.energies import FrameEnergies
from stt_core.audio.formats import is_named_like_a_recording
from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span
from stt_core.audio.vad import Voice
from stt_core.engines import transcriber as transcribing
from stt_core.engines.base import Decoding, Engine, ShouldStop
from stt_core.engines.process import engine_cpu_seconds
from stt_core.engines.rehearing import hear_missed
from stt_core.engines.transcriber import Transcriber
from stt_core.languages import LANGUAGES
from stt_core.logs import setup_logging
from stt_core.settings import Settings
from stt_core.transcript.document import ChunkSegment, ChunkTranscript, Segment
from stt_core.transcript.merging import merge_chunks
from stt_core.transcript.placing import place_words
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
    energies: FrameEnergies
    voice: Voice
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


class KeptEngine(Engine):
    """An engine whose texts are kept, with the CPU that each took; counts what went through it."""

    def __init__(self, engine: Engine, cache: Path, slot: Path) -> None:
        self.engine, self.model, self._cache, self._slot = engine, engine.model, cache, slot
        self.windows, self.cpu = 0, 0.0

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def window_seconds(self) -> float:
        return self.engine.window_seconds

    @property
    def chunks_per_call(self) -> int:
        return self.engine.chunks_per_call

    def fingerprint(self, decoding: Decoding, language: str) -> dict[str, object]:
        return self.engine.fingerprint(decoding, language)

    def transcribe(
        self,
        wavs: Sequence[Path],
        decoding: Decoding,
        *,
        language: str,
        threads: int,
        slot: Path | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Generator[ChunkTranscript]:
        del slot, should_stop
        how = json.dumps([self.model.digest, self.fingerprint(decoding, language)], sort_keys=True)
        kept = [self._cache / f"{hashlib.sha256(how.encode() + wav.read_bytes()).hexdigest()}.json" for wav in wavs]
        unknown = [position for position, path in enumerate(kept) if not path.exists()]
        for first in range(0, len(unknown), self.chunks_per_call):
            group = unknown[first : first + self.chunks_per_call]
            before = engine_cpu_seconds()
            own = [wavs[position] for position in group]
            heard = list(self.engine.transcribe(own, decoding, language=language, threads=threads, slot=self._slot))
            cpu = (engine_cpu_seconds() - before) / len(group)
            for position, transcript in zip(group, heard, strict=True):
                kept[position].write_text(json.dumps({"cpu": cpu, "transcript": transcript.model_dump()}))
        for path in kept:
            entry = json.loads(path.read_bytes())
            self.windows, self.cpu = self.windows + 1, self.cpu + entry["cpu"]
            yield ChunkTranscript.model_validate(entry["transcript"])

    def load(self, *, threads: int, slot: Path | None, should_stop: ShouldStop | None = None) -> None:
        raise NotImplementedError  # CPU is that without loading

    def detect_languages(
        self,
        wavs: Sequence[Path],
        *,
        allowed: Sequence[str] = (),
        threads: int,
        slot: Path | None = None,
        should_stop: ShouldStop | None = None,
    ) -> list[dict[str, float]]:
        raise NotImplementedError  # the language is given


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("-c", "--configuration", dest="configurations", action="append", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--python", default=sys.executable, help="has whisper-normalizer and jiwer")
    parser.add_argument("--json", type=Path, default=Path("decoding.json"))
    options = parser.parse_args()
    setup_logging("ERROR")
    with tempfile.TemporaryDirectory(prefix="stt-slots-") as name:  # engines stay warm there
        options.slots = Path(name)
        measure(options)


def measure(options: argparse.Namespace) -> None:
    options.cache.mkdir(parents=True, exist_ok=True)
    configurations = [Configuration.parse(text) for text in options.configurations]
    results: list[Result] = []
    for path in find_recordings(options.recordings):
        recording = listen(path)
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
        options.json.write_text(json.dumps(report(results, configurations), indent=1, ensure_ascii=False))
    show(results)


def find_recordings(places: Sequence[Path]) -> list[Path]:
    files = [path for place in places for path in (sorted(place.rglob("*")) if place.is_dir() else [place])]
    return [path for path in files if is_named_like_a_recording(path.name) and _truth_beside(path)]


def _truth_beside(path: Path) -> Path | None:
    beside = [path.with_suffix(suffix) for suffix in (".json", ".txt")]
    return next((one for one in beside if one.is_file() and one.read_text(encoding="utf-8").strip()), None)


def listen(path: Path) -> Recording:
    """Decode a recording as the product does, its levels and voice measured on the way."""
    began = time.process_time()
    with path.open("rb") as file:
        audio_format = detect_file_format(file)
    with RecordingStream(path, audio_format, Settings(_env_file=None)) as stream:  # type: ignore[call-arg]
        pcm = b"".join(stream.blocks())
    energies, voice = stream.energies, stream.voice
    listening = time.process_time() - began
    truth_path = _truth_beside(path)
    assert truth_path
    if truth_path.suffix == ".json":
        told = json.loads(truth_path.read_bytes())
        truth, language = Truth.model_validate(told), told.get("language", "en")
    else:
        duration = len(pcm) / 2 / SAMPLE_RATE
        text = truth_path.read_text(encoding="utf-8")
        truth = Truth.model_validate(
            {"duration": duration, "segments": [{"start": 0.0, "end": duration, "text": text}]}
        )
        spoken = path.parent.name.partition("-")[0]
        language = spoken if spoken in LANGUAGES else "en"
    return Recording(path.stem, path, language, truth, pcm, energies, voice, listening)


def hear(recording: Recording, configuration: Configuration, options: argparse.Namespace) -> Result:
    settings = configuration.settings
    model = resolve_model(settings.whisper_model, settings)
    if configuration.given.get("hear") == "whole":
        return hear_without_plan(recording, configuration, model, options)
    with tempfile.TemporaryDirectory(prefix="stt-decoding-") as name, configuration.applied():
        transcriber = Transcriber.for_model(model, settings)
        identity = hashlib.sha256(model.digest.encode()).hexdigest()[:12]
        engine = KeptEngine(transcriber.engine, options.cache, options.slots / f"{identity}.sock")
        transcriber = replace(transcriber, engine=engine)
        began = time.process_time()
        plan = plan_recording(recording.energies, recording.voice, settings)
        planning = time.process_time() - began
        hearing = _Hearing(recording, configuration, transcriber, Path(name))
        texts = hearing.of(plan.chunks)
        transcript = merge_chunks(
            recording.name,
            plan.chunks,
            dict(enumerate(texts)),
            duration_seconds=recording.truth.duration,
            model=model.name,
            language=recording.language,
            voices={None: recording.voice},
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
        hearing.counts,
        times=measure_times(recording, transcript.segments),
    )


@dataclass
class _Hearing:
    """The chunks of a recording on their way through a transcriber."""

    recording: Recording
    configuration: Configuration
    transcriber: Transcriber
    folder: Path
    counts: dict[str, int] = field(default_factory=dict)

    def of(self, chunks: Sequence[Chunk]) -> list[ChunkTranscript]:
        clips = [render_chunk(chunk, self._read_range) for chunk in chunks]
        texts = self._hear_each_after_the_last(clips) if self._given("prompt") == "before" else self._hear(clips)
        first_windows = self.transcriber.engine.windows  # type: ignore[attr-defined]
        if self._given("missed") != "off":
            engine = self.transcriber.engine
            texts = hear_missed(texts, chunks, clips, self._hear_stretches, window_seconds=engine.window_seconds)
        windows = self.transcriber.engine.windows  # type: ignore[attr-defined]
        self.counts = {"loops": first_windows - len(chunks), "missed": windows - first_windows}
        return [place_words(text, chunk, clip.samples) for text, chunk, clip in zip(texts, chunks, clips, strict=True)]

    def _hear_stretches(self, clips: Sequence[Clip], language: str) -> list[ChunkTranscript]:
        return self._hear(clips)

    def _given(self, word: str) -> str:
        return self.configuration.given.get(word, "")

    def _read_range(self, offset: int, length: int) -> bytes:
        return self.recording.pcm[offset : offset + length]

    def _hear(self, clips: Sequence[Clip], transcriber: Transcriber | None = None) -> list[ChunkTranscript]:
        transcriber = transcriber or self.transcriber
        wavs = [self.folder / f"{number}.wav" for number in range(len(clips))]
        for clip, wav in zip(clips, wavs, strict=True):
            clip.write_wav(wav)
        never = patch.object(transcribing, "find_loops", lambda transcript: [])
        with never if self._given("loops") == "off" else ExitStack():
            return transcriber.transcribe(wavs, language=self.recording.language, threads=1)

    def _hear_each_after_the_last(self, clips: Sequence[Clip]) -> list[ChunkTranscript]:
        texts: list[ChunkTranscript] = []
        for clip in clips:
            prompt = texts[-1].text[-400:] if texts else ""
            decoding = replace(self.transcriber.decoding, prompt=prompt or None)
            texts += self._hear([clip], replace(self.transcriber, decoding=decoding))
        return texts


def hear_without_plan(
    recording: Recording, configuration: Configuration, model: WhisperModel, options: argparse.Namespace
) -> Result:
    """Run the engine over the whole recording: `stt-whisper-cli`, or faster-whisper in batches."""
    kept = options.cache / f"whole-segments-{hashlib.sha256(model.digest.encode() + recording.pcm).hexdigest()}.json"
    if not kept.exists():
        samples = len(recording.pcm) // 2
        with tempfile.TemporaryDirectory(prefix="stt-decoding-") as name:
            wav = Path(name) / "whole.wav"
            whole = Chunk(index=0, spans=(Span(start=0, end=samples),))
            render_chunk(whole, lambda offset, length: recording.pcm[offset : offset + length]).write_wav(wav)
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


def report(results: Sequence[Result], configurations: Sequence[Configuration]) -> dict[str, object]:
    return {
        "machine": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "configurations": {one.name: one.given for one in configurations},
        "results": [asdict(result) for result in results],
    }


if __name__ == "__main__":
    main()
