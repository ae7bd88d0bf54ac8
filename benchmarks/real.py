"""Real speech through a running stack: word errors, the times of words, wall, CPU, memory, beside others in one run.

    WHISPER_MODELS_DIR=FOLDER python benchmarks/real.py COMPOSITE… [--model base] [--whole [GGML_MODEL]]
        [--peer CT2_FOLDER] [--python PYTHON] [--runs 3] [--language en] [--json real.json]

A stack of its own is started (`stt up --detach` in a temporary home, free ports, the user's environment otherwise, so
`WHISPER_ENGINE` and the rest are as users set them). A composite is a recording with its truth beside it
(`composites.py`). Each run sends it with other noise in the lowest bit, so that nothing comes from a cache, as WAV of
16 kHz, and the same file goes to the others, who take turns at being first:

- whole: one `stt-whisper-cli` over the whole file, beam 5, two threads;
- peer: faster-whisper, batches of 8, int8, beam 5, times of words, by a Python that has it (`--python`), one process
  with its model to load.

That Python also needs `whisper-normalizer` and `jiwer`, for the word errors. Wall is from submit to result, or a
process from start to end. CPU and memory of the others are those of the process; the stack's CPU is exact, that of its
engines is looked at while they run (`watching.py`), as is their memory. Medians of the runs are printed; every run, and
each word that is out of its place, is in the JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import sounds
from reports import parser_of, write_report
from rich.console import Console
from rich.table import Table
from scoring import Truth
from stack import Stack
from watching import EngineWatch, await_no_engine
from word_errors import count_errors
from word_times import Levels, heard_onsets, score_times

from stt_core.audio.energies import EnergyMeter
from stt_core.audio.plan import SAMPLE_BYTES, SAMPLE_RATE
from stt_core.engines.whisper_cpp_output import parse_output
from stt_core.logs import setup_logging
from stt_core.settings import load_settings
from stt_core.transcript.document import ChunkSegment
from stt_core.whisper.models import resolve_model

WHOLE_THREADS = 2
#: What the stack hears before it is measured, so that its model was hashed, seconds.
FIRST_SECONDS = 5.0
#: How a figure of a table is written; the rest are times.
FORMATS = {"wer_percent": ".2f", "outside_percent": ".2f", "wall": ".1f", "cpu": ".1f", "cpu_outside_engine": ".1f"}
FORMATS |= dict.fromkeys(
    ("first_words", "words_without_length", "words_in_pauses", "empty_sentences", "peak_mb"), ".0f"
)


@dataclass
class Hearing:
    """What a system made of a recording, and what it took: seconds, megabytes."""

    segments: list[ChunkSegment]
    wall: float
    cpu: float
    peak_mb: float
    #: Of the stack alone.
    cpu_outside_engine: float | None = None


@dataclass
class Run:
    """One hearing, compared with the truth."""

    composite: str
    system: str
    number: int
    figures: dict[str, float]
    outside: list[tuple[float, str, float]] = field(default_factory=list)
    in_pauses: list[tuple[float, str]] = field(default_factory=list)
    empty_sentences: list[tuple[float, str]] = field(default_factory=list)


def main() -> None:
    parser = parser_of(__doc__, "real.json")
    parser.add_argument("composites", type=Path, nargs="+")
    parser.add_argument("--model", help="name or path, for the stack; its own default otherwise")
    parser.add_argument("--whole", nargs="?", const="", help="the model of the whole file, as --model where not named")
    parser.add_argument("--peer", type=Path, help="the same weights as a CTranslate2 model")
    parser.add_argument("--python", default=sys.executable, help="has faster-whisper, whisper-normalizer and jiwer")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--language", default="en", help="that is spoken, or auto")
    options = parser.parse_args()
    setup_logging()
    truths = {path: Truth.read(path.with_suffix(".json")) for path in options.composites}
    runs: list[Run] = []
    with Stack() as stack:
        hear = systems(stack, options)
        hear["system"](vary(options.composites[0], 0, stack.folder, FIRST_SECONDS))
        for path, truth in truths.items():
            onsets = heard_onsets(truth, measure_levels(path))
            for number in range(options.runs):
                recording = vary(path, number + 1, stack.folder)
                heard = {system: hear[system](recording) for system in turn(list(hear), number)}
                recording.unlink()
                new = compare(path.stem, number, truth, onsets, heard, options)
                runs += new
                for run in new:
                    print(run.composite, run.system, number + 1, json.dumps(run.figures), flush=True)
                write_report(
                    options.json,
                    settings={name: value for name, value in os.environ.items() if name.startswith("WHISPER_")},
                    model=options.model,
                    language=options.language,
                    medians=medians(runs),
                    runs=[asdict(run) for run in runs],
                )
    show(runs)


def systems(stack: Stack, options: argparse.Namespace) -> dict[str, Callable[[Path], Hearing]]:
    """Return what hears a recording, by name; the stack first."""
    fields = {"model": options.model, "language": None if options.language == "auto" else options.language}
    given = {name: value for name, value in fields.items() if value}
    hear: dict[str, Callable[[Path], Hearing]] = {"system": lambda recording: hear_by_stack(stack, recording, given)}
    if options.whole is not None:
        settings = load_settings()
        model = resolve_model(options.whole or options.model or settings.whisper_model, settings).path
        hear["whole"] = lambda recording: hear_whole(recording, model, options.language)
    if options.peer:
        hear["peer"] = lambda recording: hear_by_peer(recording, options)
    return hear


def hear_by_stack(stack: Stack, recording: Path, fields: dict[str, str]) -> Hearing:
    await_no_engine()
    before = stack.cpu_seconds()
    with EngineWatch() as engines:
        wall, transcript = stack.submit_and_wait(recording, **fields)
        stack.await_idle()
    cpu = stack.cpu_seconds() - before
    segments = [
        ChunkSegment(start=one.start, end=one.end, text=one.text, words=one.words) for one in transcript.segments
    ]
    return Hearing(segments, wall, cpu, engines.peak_mb, cpu - engines.cpu_seconds)


def hear_whole(recording: Path, model: Path, language: str) -> Hearing:
    engine = Path(sys.executable).with_name("stt-whisper-cli")
    flags = ["-t", str(WHOLE_THREADS), "-bs", "5", "-bo", "5", "-l", language, "-np", "-ojf"]
    taken = run_measured([engine, "-m", model, *flags, "-f", recording, "-of", recording.with_suffix("")])
    output = recording.with_suffix(".json").read_bytes()
    seconds = recording.stat().st_size / SAMPLE_BYTES / SAMPLE_RATE
    return Hearing(parse_output(output, seconds).segments, *taken)


def hear_by_peer(recording: Path, options: argparse.Namespace) -> Hearing:
    out = recording.with_suffix(".peer.json")
    language = [] if options.language == "auto" else [options.language]
    program = Path(__file__).with_name("peer.py")
    taken = run_measured([options.python, "-P", program, options.peer, recording, out, *language])
    return Hearing([ChunkSegment.model_validate(one) for one in json.loads(out.read_bytes())], *taken)


#: Runs a command and tells what it took. By itself it is small: the most memory that a process held counts what its
#: parent held when it was started.
MEASURE = """
import json, os, sys
null = os.open(os.devnull, os.O_WRONLY)
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
_, status, used = os.wait4(process, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def run_measured(command: Sequence[str | Path]) -> tuple[float, float, float]:
    """Run a command: its wall and CPU seconds, and the most memory that it held, MB."""
    started = time.monotonic()
    told = subprocess.run([sys.executable, "-I", "-S", "-c", MEASURE, *command], check=True, stdout=subprocess.PIPE)
    wall = time.monotonic() - started
    code, cpu, peak_kb = json.loads(told.stdout)
    if code:
        raise subprocess.CalledProcessError(code, list(map(str, command)))
    return wall, cpu, peak_kb * 1024 / 1e6


def turn(names: list[str], number: int) -> list[str]:
    """Return the names, begun at another one in each run."""
    first = number % len(names)
    return names[first:] + names[:first]


def vary(path: Path, seed: int, folder: Path, seconds: float = math.inf) -> Path:
    """Write a recording as WAV with noise in the lowest bit. It goes by in blocks: what this process holds at its most
    would pass for the memory of those that it starts."""
    random = np.random.default_rng([seed, path.stat().st_size])
    varied = folder / f"{path.stem}-{seed}.wav"
    left = math.inf if math.isinf(seconds) else round(seconds * SAMPLE_RATE)
    with wave.open(str(varied), "wb") as file:
        file.setparams((1, SAMPLE_BYTES, SAMPLE_RATE, 0, "NONE", ""))
        for block in sounds.decode(path):
            samples = np.frombuffer(block, "<i2")[: left if left < len(block) else None]
            file.writeframes(sounds.vary(samples, random))
            left -= len(samples)
            if left <= 0:
                break
    return varied


def measure_levels(path: Path) -> Levels:
    meter = EnergyMeter()
    for block in sounds.decode(path):
        meter.add(block)
    return meter.finish().levels()


def compare(
    composite: str,
    number: int,
    truth: Truth,
    onsets: Sequence[float | None],
    heard: dict[str, Hearing],
    options: argparse.Namespace,
) -> list[Run]:
    said = " ".join(sentence.text for sentence in truth.segments)
    pairs = [(said, " ".join(segment.text for segment in hearing.segments)) for hearing in heard.values()]
    language = "en" if options.language == "auto" else options.language
    runs = []
    for (system, hearing), (units, errors) in zip(
        heard.items(), count_errors(pairs, language, options.python), strict=True
    ):
        times = score_times(truth, hearing.segments, onsets)
        figures = {"wer_percent": 100 * errors / units, **times.figures()}
        figures |= {"wall": hearing.wall, "cpu": hearing.cpu, "peak_mb": hearing.peak_mb}
        if hearing.cpu_outside_engine is not None:
            figures["cpu_outside_engine"] = hearing.cpu_outside_engine
        rounded = {name: round(figure, 4) for name, figure in figures.items()}
        runs.append(Run(composite, system, number, rounded, times.outside, times.in_pauses, times.empty_sentences))
    return runs


def medians(runs: Sequence[Run]) -> dict[str, dict[str, dict[str, float]]]:
    """Return each figure's median by composite and system; those of the walls of a system and another are ratios."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for composite, system in dict.fromkeys((run.composite, run.system) for run in runs):
        own = [run.figures for run in runs if (run.composite, run.system) == (composite, system)]
        figures = {name: statistics.median(one[name] for one in own) for name in own[0]}
        found.setdefault(composite, {})[system] = figures
    for by_name in found.values():
        for system, figures in by_name.items():
            for name in ("wall", "cpu"):
                figures[f"{name}_ratio"] = by_name["system"][name] / by_name[system][name]
    return found


def show(runs: Sequence[Run]) -> None:
    console = Console(width=110)
    for composite, by_name in medians(runs).items():
        table = Table("", *by_name, title=f"{composite}, medians of {max(run.number for run in runs) + 1} runs")
        for name in dict.fromkeys(name for figures in by_name.values() for name in figures):
            cells = [
                f"{figures[name]:{FORMATS.get(name, '.3f')}}" if name in figures else "" for figures in by_name.values()
            ]
            label = (
                f"system's {name.removesuffix('_ratio')} / this" if name.endswith("_ratio") else name.replace("_", " ")
            )
            table.add_row(label, *cells)
        console.print(table)


if __name__ == "__main__":
    main()
