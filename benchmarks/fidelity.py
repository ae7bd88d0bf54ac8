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

import math
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hearing import Hearing, run_whole
from reports import parser_of, write_report
from rich.console import Console
from rich.table import Table
from scoring import Score, Truth, score, seams_of
from sounds import DEMO, ROOT, listen

from stt_core.audio import RecordingStream, plan_recording
from stt_core.audio.clips import Clip
from stt_core.audio.plan import SAMPLE_BYTES, SAMPLE_RATE, Chunk, Span
from stt_core.audio.silence import estimate_threshold, find_speech, pad_spans
from stt_core.engines.transcriber import Transcriber
from stt_core.engines.whisper_cpp_output import parse_output
from stt_core.logs import setup_logging
from stt_core.settings import Settings, load_settings
from stt_core.transcript.document import Transcript
from stt_core.transcript.merging import merge_chunks
from stt_core.whisper.models import WhisperModel, resolve_model

DATA = Path(__file__).parent / "data"
TESTS = ROOT / "tests" / "data" / "audio"
RECORDINGS = [
    DEMO,
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

    def report(self) -> dict[str, object]:
        """Return the figures for a JSON file."""
        return {
            "name": self.name,
            "system": self.system.report(),
            "whole_file": self.whole.report(),
            "windows": self.windows,
            "windows_needed": self.windows_needed,
            "loops_caught": self.loops_caught,
            "second_hearings": self.second_hearings,
            "sentences_astray": self.sentences_astray,
            "seconds": {"system": round(self.seconds[0], 2), "whole_file": round(self.seconds[1], 2)},
            "requirements": self.requirements(),
        }


def main() -> None:
    parser = parser_of(__doc__, "fidelity.json")
    parser.add_argument("--audio", type=Path, help="folder of other recordings with their .json")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--threads", type=int, default=2, help="of both sides (default %(default)s)")
    options = parser.parse_args()
    settings = load_settings()
    model = resolve_model(options.model, settings)
    engine = Engine(Transcriber.for_model(model, settings), settings, options.threads)
    setup_logging("WARNING", sink=engine.watch)
    rows: list[Row] = []
    for path in find_recordings(options.audio):
        rows += measure(path, engine)
    passed = show(rows)
    write_report(
        options.json,
        engine=type(engine.transcriber.engine).__name__,
        pywhispercpp=version("pywhispercpp"),
        model=engine.model.name,
        threads=engine.threads,
        recordings=[row.report() for row in rows],
    )
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
    here, stream = transcribe(path, engine, truth)
    between = time.monotonic()
    whole = score(truth, transcribe_whole(path, engine).segments)
    seconds = (between - started, time.monotonic() - between)
    two = stream.info.channels == 2 and any(sentence.channel for sentence in truth.segments)
    name = f"{path.name} (mono mix)" if two else path.name
    rows = [Row(name, truth, here.score, whole, here.windows, here.needed, *engine.take_counts(), seconds)]
    if two:
        rows.append(measure_split(path, truth, whole, seconds[1], engine))
    return rows


def measure_split(path: Path, truth: Truth, baseline: Score, baseline_seconds: float, engine: Engine) -> Row:
    """Transcribe both channels by themselves; what was said on a channel is compared with that channel's truth."""
    started = time.monotonic()
    both = [transcribe(path, engine, truth.of_channel(channel), channel)[0] for channel in (0, 1)]
    seconds = (time.monotonic() - started, baseline_seconds)
    windows, needed, astray = (sum(getattr(one, name) for one in both) for name in ("windows", "needed", "astray"))
    total = both[0].score + both[1].score
    name = f"{path.name} (split)"
    return Row(name, truth, total, baseline, windows, needed, *engine.take_counts(), seconds, astray)


@dataclass
class Heard:
    """What the system made of a recording, or of a channel; `needed` are the windows that its speech would fill."""

    score: Score
    windows: int
    needed: int
    #: Sentences of the truth that are not there, and segments where the truth has none.
    astray: int


def transcribe(path: Path, engine: Engine, truth: Truth, channel: int | None = None) -> tuple[Heard, RecordingStream]:
    """Take the core's path."""
    pcm, stream = listen(path, engine.settings, channel)
    chunks = plan_recording(stream.energies, stream.voice, engine.settings).chunks
    with tempfile.TemporaryDirectory() as folder:
        hearing = Hearing(engine.transcriber, Path(folder), threads=engine.threads)
        texts = dict(enumerate(hearing.texts_of(chunks, pcm)))
    engine.second_hearings += hearing.second_hearings
    duration = stream.info.duration_seconds
    segments = merge_chunks(path.stem, chunks, texts, duration_seconds=duration, model=engine.model.name).segments
    here = score(truth, segments, seams_of(chunks))
    astray = here.sentences_heard.count(False) + sum(
        not any(said.start - 0.5 < segment.end and segment.start < said.end + 0.5 for said in truth.segments)
        for segment in segments
    )
    return Heard(here, len(chunks), count_windows_needed(stream, engine.settings), astray), stream


def count_windows_needed(stream: RecordingStream, settings: Settings) -> int:
    """Return how many windows the speech that is found, with its least padding, would fill one end to the next."""
    spans = find_speech(
        stream.energies,
        threshold_dbfs=estimate_threshold(stream.energies),
        min_silence_ms=settings.silence_min_ms,
    )
    padded = pad_spans(spans, settings.speech_padding_ms * SAMPLE_RATE // 1000, stream.energies.total_samples)
    return math.ceil(sum(span.length for span in padded) / SAMPLE_RATE / WINDOW_SECONDS)


def transcribe_whole(path: Path, engine: Engine) -> Transcript:
    """Run the engine once over the whole recording; its times are those of the recording."""
    pcm, stream = listen(path, engine.settings)
    samples = len(pcm) // SAMPLE_BYTES
    whole = Chunk(index=0, spans=(Span(start=0, end=samples),))
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "whole.wav"
        Clip.of(pcm).write_wav(wav)
        output = run_whole(engine.model, engine.settings, wav, engine.threads)
        text = parse_output(output.read_bytes(), samples / SAMPLE_RATE)
    duration = stream.info.duration_seconds
    return merge_chunks(path.stem, [whole], {0: text}, duration_seconds=duration, model=engine.model.name)


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


if __name__ == "__main__":
    main()
