"""How faithful the system's transcripts are, beside the same engine over the whole file.

    python benchmarks/fidelity.py [--audio DIR] [--json fidelity.json]

The system is here the core's own path without servers (decode, find speech, pack, transcribe, merge): the same calls
that the steps of a job make. The baseline is the same executable with the same model and decoding flags, run once over
the whole recording, mixed to mono. Both are compared with the truth in the same run. A recording of two channels is
also transcribed channel by channel.

Recordings are those of this repository, or those of DIR: beside each a `.json` of the same name (`duration`,
`segments` of `start`, `end`, `text`, and `channel` where there are two). Exits with 1 when a requirement fails.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from scoring import Score, Truth, score, seams_of

from stt_core.audio import HEAD_BYTES, RecordingStream, detect_format, plan_recording, render_chunk
from stt_core.audio.clips import Clip, ReadRange
from stt_core.audio.plan import SAMPLE_BYTES, SAMPLE_RATE, Chunk, Span
from stt_core.audio.silence import estimate_threshold, find_speech, pad_spans
from stt_core.engines.rehearing import hear_missed
from stt_core.engines.transcriber import Transcriber
from stt_core.engines.whisper_cpp import WhisperCpp
from stt_core.engines.whisper_cpp_output import parse_output
from stt_core.logs import setup_logging
from stt_core.settings import Settings, load_settings
from stt_core.transcript.document import ChunkTranscript, Transcript
from stt_core.transcript.merging import merge_chunks
from stt_core.transcript.placing import place_words
from stt_core.whisper.models import WhisperModel, resolve_model

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data"
TESTS = ROOT / "tests" / "data" / "audio"
RECORDINGS = [
    ROOT / "stt_cli" / "data" / "demo.flac",
    *(TESTS / name for name in ("pauses.ogg", "noisy.ogg", "quiet.flac")),
    *(DATA / name for name in ("call.flac", "long.ogg")),
]
WINDOW_SECONDS = 29.0
START_MEDIAN_SECONDS, START_P95_SECONDS = 0.05, 0.3
#: Where a recording has a silence this long, seconds, whole-file whisper goes astray, and the system must be clearly
#: better: at most three quarters of its errors.
LONG_PAUSE_SECONDS = 6.0
CLEARLY = 0.75
WINDOWS_TOLERANCE = 1.15
#: Of a step, as `stt_core.processing.planning` makes them of a long recording.
CHUNKS_PER_BATCH = 20


@dataclass
class Engine:
    """What both sides run with."""

    transcriber: Transcriber
    settings: Settings
    threads: int
    retries: int = 0
    second_hearings: int = 0

    @property
    def model(self) -> WhisperModel:
        return self.transcriber.engine.model

    def hear(self, wavs: Sequence[Path]) -> list[ChunkTranscript]:
        return self.transcriber.transcribe(wavs, language="en", threads=self.threads)

    def settle(
        self, chunks: Sequence[Chunk], texts: Sequence[ChunkTranscript], read_range: ReadRange, folder: Path
    ) -> list[ChunkTranscript]:
        """Do what the step of a batch does with the texts of its chunks."""

        def hear(clips: Sequence[Clip], language: str) -> list[ChunkTranscript]:
            self.second_hearings += len(clips)
            wavs = [folder / f"stretch-{number}.wav" for number in range(len(clips))]
            for clip, wav in zip(clips, wavs, strict=True):
                clip.write_wav(wav)
            return self.hear(wavs)

        clips = [render_chunk(chunk, read_range) for chunk in chunks]
        texts = hear_missed(texts, chunks, clips, hear, window_seconds=self.transcriber.engine.window_seconds)
        return [place_words(text, chunk, clip.samples) for text, chunk, clip in zip(texts, chunks, clips, strict=True)]

    def watch(self, message: Any) -> None:
        """Count the loops the transcriber catches; it says so in its log."""
        self.retries += "repeats itself from" in message

    def take_counts(self) -> tuple[int, int]:
        """Return loops caught and stretches heard again since the last call."""
        taken = self.retries, self.second_hearings
        self.retries = self.second_hearings = 0
        return taken


@dataclass
class Row:
    """One recording, or one way of hearing it."""

    name: str
    truth: Truth
    system: Score
    whole: Score
    windows: int
    windows_needed: int
    loops_caught: int
    second_hearings: int
    seconds: tuple[float, float]
    sentences_astray: int = 0

    def requirements(self) -> dict[str, bool]:
        silences = [end - start for start, end in self.truth.silences]
        checks = {
            "WER <= whole file": self.system.wer <= self.whole.wer,
            "start median <= 0.05 s": self.system.start_median <= START_MEDIAN_SECONDS,
            "start p95 <= 0.3 s": self.system.start_p95 <= START_P95_SECONDS,
            "no word missing within 1 s of a seam": not self.system.missing_at_seams,
            "no word in silences over 2 s": not self.system.in_silence,
            "no loop kept unflagged": self.system.loops <= self.system.flagged_loops,
            "windows within 15 % of ceil(speech / 29 s)": self.windows <= WINDOWS_TOLERANCE * self.windows_needed,
        }
        if max(silences, default=0) > LONG_PAUSE_SECONDS:
            checks["WER clearly lower after long pauses"] = self.system.errors <= CLEARLY * self.whole.errors
        if self.name.endswith("(split)"):
            checks["each sentence on its channel"] = self.sentences_astray == 0
        return checks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, help="folder of other recordings with their .json")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--threads", type=int, default=2, help="of both sides (default %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("fidelity.json"))
    options = parser.parse_args()
    settings = load_settings()
    model = resolve_model(options.model, settings)
    engine = Engine(Transcriber.for_model(model, settings), settings, options.threads)
    setup_logging("WARNING", sink=engine.watch)
    rows: list[Row] = []
    for path in find_recordings(options.audio):
        rows += measure(path, engine)
    passed = show(rows)
    options.json.write_text(json.dumps(report(rows, engine), indent=1))
    sys.exit(0 if passed else 1)


def find_recordings(folder: Path | None) -> list[Path]:
    if folder is None:
        return RECORDINGS
    truths = {path.stem for path in folder.glob("*.json")}
    return sorted(path for path in folder.iterdir() if path.stem in truths and path.suffix not in (".json", ".txt"))


def find_truth(path: Path) -> Truth:
    beside = path.with_suffix(".json")
    return Truth.read(beside if beside.exists() else DATA / beside.name)


def measure(path: Path, engine: Engine) -> list[Row]:
    """Transcribe a recording both ways; one of two channels also channel by channel."""
    truth = find_truth(path)
    started = time.monotonic()
    transcript, chunks, channels = transcribe(path, engine, None)
    between = time.monotonic()
    whole = transcribe_whole(path, engine)
    seconds = (between - started, time.monotonic() - between)
    baseline = score(truth, whole.segments)
    two = channels == 2 and any(sentence.channel for sentence in truth.segments)
    rows = [
        Row(
            f"{path.name} (mono mix)" if two else path.name,
            truth,
            score(truth, transcript.segments, seams_of(chunks)),
            baseline,
            len(chunks),
            count_windows_needed(path, engine.settings, None),
            *engine.take_counts(),
            seconds,
        )
    ]
    if two:
        rows.append(measure_split(path, truth, baseline, seconds[1], engine))
    return rows


def measure_split(path: Path, truth: Truth, baseline: Score, baseline_seconds: float, engine: Engine) -> Row:
    """Transcribe both channels by themselves; what was said on a channel is compared with that channel's truth."""
    total, windows, needed, astray = Score(), 0, 0, 0
    started = time.monotonic()
    for channel in (0, 1):
        transcript, chunks, _ = transcribe(path, engine, channel)
        own = truth.of_channel(channel)
        here = score(own, transcript.segments, seams_of(chunks))
        total += here
        astray += here.sentences_heard.count(False) + sum(
            not any(
                sentence.start - 0.5 < segment.end and segment.start < sentence.end + 0.5 for sentence in own.segments
            )
            for segment in transcript.segments
        )
        windows += len(chunks)
        needed += count_windows_needed(path, engine.settings, channel)
    seconds = (time.monotonic() - started, baseline_seconds)
    name = f"{path.name} (split)"
    return Row(name, truth, total, baseline, windows, needed, *engine.take_counts(), seconds, astray)


def transcribe(path: Path, engine: Engine, channel: int | None) -> tuple[Transcript, list[Chunk], int]:
    """Take the core's path; return the transcript, the chunks and how many channels the recording has."""
    pcm, stream = decode(path, engine.settings, channel)
    plan = plan_recording(stream.energies, stream.voice, engine.settings)

    def read_range(offset: int, length: int) -> bytes:
        return pcm[offset : offset + length]

    with tempfile.TemporaryDirectory() as folder:
        wavs = [Path(folder) / f"{chunk.index}.wav" for chunk in plan.chunks]
        for chunk, wav in zip(plan.chunks, wavs, strict=True):
            render_chunk(chunk, read_range).write_wav(wav)
        texts = engine.hear(wavs)
        for start in range(0, len(plan.chunks), CHUNKS_PER_BATCH):
            batch = slice(start, start + CHUNKS_PER_BATCH)
            texts[batch] = engine.settle(plan.chunks[batch], texts[batch], read_range, Path(folder))
    transcript = merge_chunks(
        path.stem,
        plan.chunks,
        {chunk.index: text for chunk, text in zip(plan.chunks, texts, strict=True)},
        duration_seconds=stream.info.duration_seconds,
        model=engine.model.name,
    )
    return transcript, plan.chunks, stream.info.channels


def count_windows_needed(path: Path, settings: Settings, channel: int | None) -> int:
    """Return how many windows the speech that is found, with its least padding, would fill one end to the next."""
    _, stream = decode(path, settings, channel)
    spans = find_speech(
        stream.energies,
        threshold_dbfs=estimate_threshold(stream.energies),
        min_silence_ms=settings.silence_min_ms,
    )
    padded = pad_spans(spans, settings.speech_padding_ms * SAMPLE_RATE // 1000, stream.energies.total_samples)
    return math.ceil(sum(span.length for span in padded) / SAMPLE_RATE / WINDOW_SECONDS)


def transcribe_whole(path: Path, engine: Engine) -> Transcript:
    """Run the engine once over the whole recording; its times are those of the recording."""
    pcm, stream = decode(path, engine.settings, None)
    samples = len(pcm) // SAMPLE_BYTES
    whole = Chunk(index=0, spans=(Span(start=0, end=samples),))
    with tempfile.TemporaryDirectory() as folder:
        wav, base = Path(folder) / "whole.wav", Path(folder) / "whole"
        render_chunk(whole, lambda offset, length: pcm[offset : offset + length]).write_wav(wav)
        whisper = WhisperCpp.from_settings(engine.model, engine.settings)
        flags: Any = whisper.fingerprint(engine.transcriber.decoding, "en")["flags"]
        command = [whisper.executable, "-m", engine.model.path, "-t", str(engine.threads), *flags]
        subprocess.run([*command, "-ojf", "-f", wav, "-of", base], check=True, capture_output=True)
        text = parse_output(base.with_suffix(".json").read_bytes(), samples / SAMPLE_RATE)
    duration = stream.info.duration_seconds
    return merge_chunks(path.stem, [whole], {0: text}, duration_seconds=duration, model=engine.model.name)


def decode(path: Path, settings: Settings, channel: int | None) -> tuple[bytes, RecordingStream]:
    with path.open("rb") as file:
        audio_format = detect_format(file.read(HEAD_BYTES))
    with RecordingStream(path, audio_format, settings, channel=channel) as stream:
        return b"".join(stream.blocks()), stream


def show(rows: list[Row]) -> bool:
    """Print the figures and the requirements; return whether all hold."""
    console = Console(width=150)
    table = Table(title="System / whole file")
    for header in ("recording", "words", "WER %", "start median s", "start p95 s", "missing", "at seams"):
        table.add_column(header, justify="left" if header == "recording" else "right")
    for header in ("in silences", "loops caught / kept", "heard again", "windows / needed", "wall s"):
        table.add_column(header, justify="right")
    for row in rows:
        system, whole = row.system, row.whole
        table.add_row(
            row.name,
            str(system.words),
            f"{100 * system.wer:.2f} / {100 * whole.wer:.2f}",
            f"{system.start_median:.3f} / {whole.start_median:.3f}",
            f"{system.start_p95:.2f} / {whole.start_p95:.2f}",
            f"{len(system.missing)} / {len(whole.missing)}",
            str(len(system.missing_at_seams)),
            f"{len(system.in_silence)} / {len(whole.in_silence)}",
            f"{row.loops_caught} / {system.loops}",
            str(row.second_hearings),
            f"{row.windows} / {row.windows_needed}",
            f"{row.seconds[0]:.1f} / {row.seconds[1]:.1f}",
        )
    console.print(table)
    verdicts = Table("requirement", "holds", "fails on", title="Must hold")
    failures = {name: [row.name for row in rows if not row.requirements().get(name, True)] for name in _names(rows)}
    by_name = {row.name: row for row in rows}
    for name, row in by_name.items():
        if name.endswith("(split)"):
            mono = by_name[name.replace("(split)", "(mono mix)")]
            better = row.system.wer < min(mono.system.wer, mono.whole.wer)
            failures.setdefault("split better than the mono mix", []).extend([] if better else [name])
    for name, files in failures.items():
        verdicts.add_row(name, "[red]no" if files else "[green]yes", ", ".join(files))
    console.print(verdicts)
    return not any(failures.values())


def _names(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.requirements()))


def report(rows: list[Row], engine: Engine) -> dict[str, object]:
    return {
        "machine": platform.platform(),
        "python": platform.python_version(),
        "engine": type(engine.transcriber.engine).__name__,
        "pywhispercpp": version("pywhispercpp"),
        "model": engine.model.name,
        "threads": engine.threads,
        "recordings": [
            {
                "name": row.name,
                "system": row.system.report(),
                "whole_file": row.whole.report(),
                "windows": row.windows,
                "windows_needed": row.windows_needed,
                "loops_caught": row.loops_caught,
                "second_hearings": row.second_hearings,
                "sentences_astray": row.sentences_astray,
                "seconds": {"system": round(row.seconds[0], 2), "whole_file": round(row.seconds[1], 2)},
                "requirements": row.requirements(),
            }
            for row in rows
        ],
    }


if __name__ == "__main__":
    main()
