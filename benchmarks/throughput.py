"""How long the whole system takes for a recording, beside one process of the same engine over the whole file.

    python benchmarks/throughput.py [--recordings "10 min, 40 % silence" ...] [--runs 1] [--json throughput.json]

A stack of its own is started (`stt up --detach` in a temporary home, free ports, the user's environment otherwise),
and each recording is sent and waited for, from the upload to the transcript. Beside it, in turns, the same executable
runs with all cores, the same model and the same decoding flags on the same file. The model is as large as `base`, with
weights that mean nothing (`make_speed_model.py`). Recordings are put together from the sentences of the demo
recording, and each run has other noise in the lowest bit, so that no chunk is in the cache. The user's own servers are
not used.

CPU seconds are exact: those of the baseline from its rusage; those of the stack from its processes, dead ones included
(orphans come to this process, which leaves them unreaped while it measures); those of the engine within it from a shell
around the executable, which asks `times` at its end.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from hearing import run_whole
from make_speed_model import MODEL
from reports import parser_of, write_report
from rich.console import Console
from rich.table import Table
from sounds import as_wav, read_sentences, vary
from stack import Stack

from stt_core.audio.plan import SAMPLE_RATE
from stt_core.engines.process import children_cpu, find_executable
from stt_core.settings import Settings
from stt_core.whisper.models import resolve_model

CORES = os.cpu_count() or 1
MOST_OUTSIDE_WHISPER = 0.08
#: Between two sentences of speech without pauses, seconds.
DENSE_SECONDS = 0.05


@dataclass(frozen=True)
class Recording:
    """What is measured; `most` is the greatest ratio of wall seconds (two cores) that the issue accepts."""

    minutes: float
    silence: float
    most: float

    @property
    def name(self) -> str:
        return f"{self.minutes:g} min, {100 * self.silence:g} % silence"


#: The last is no measurement: it tries the benchmark out.
RECORDINGS = {
    one.name: one
    for one in (Recording(10, 0.4, 0.75), Recording(10, 0.0, 1.10), Recording(60, 0.15, 1.0), Recording(1, 0.3, 9))
}


@dataclass(frozen=True)
class Run:
    """Seconds of one pair of runs. `stack_cpu` holds `engine_cpu`."""

    system_wall: float
    stack_cpu: float
    engine_cpu: float
    whole_wall: float
    whole_cpu: float
    chunks: int

    @property
    def outside_whisper(self) -> float:
        """Share of the stack's CPU that was not whisper's."""
        return (self.stack_cpu - self.engine_cpu) / self.stack_cpu


def main() -> None:
    parser = parser_of(__doc__, "throughput.json")
    parser.add_argument("--recordings", nargs="+", choices=RECORDINGS, default=list(RECORDINGS)[:3])
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    runs: dict[str, list[Run]] = {name: [] for name in options.recordings}
    with MeasuredStack() as stack:
        stack.transcribe(synthesise(Recording(0.5, 0.0, 0.0), 0, stack.folder))  # the first run loads and hashes
        for name, number in ((name, number) for number in range(options.runs) for name in options.recordings):
            recording = synthesise(RECORDINGS[name], number + 1, stack.folder)
            measured = [stack.transcribe, stack.transcribe_whole]
            answers = {}
            for measure in measured if number % 2 == 0 else reversed(measured):
                answers[measure] = measure(recording)
            wall, stack_cpu, engine_cpu, chunks = answers[stack.transcribe]
            runs[name].append(Run(wall, stack_cpu, engine_cpu, *answers[stack.transcribe_whole], chunks))
            print(name, runs[name][-1], flush=True)
            recording.unlink()
    passed = show(runs)
    write_report(
        options.json,
        versions={name: version(name) for name in ("pywhispercpp", "dagster", "imageio-ffmpeg", "numpy")},
        recordings={
            name: {"median": _medians(pairs), "runs": [asdict(run) for run in pairs]} for name, pairs in runs.items()
        },
    )
    sys.exit(0 if passed else 1)


class MeasuredStack(Stack):
    """A stack of its own, and the engine it uses; a context manager."""

    def __init__(self) -> None:
        super().__init__(speed_model=True)
        engine = find_executable("stt-whisper-cli")
        self._times = self.folder / "times"
        self._times.mkdir()
        wrapper = self.folder / "engine"
        wrapper.write_text(f'#!/bin/sh\n"{engine}" "$@"\ncode=$?\ntimes > "{self._times}/$$"\nexit $code\n')
        wrapper.chmod(0o755)
        self.environment["WHISPER_CPP_EXECUTABLE"] = str(wrapper)

    def transcribe(self, recording: Path) -> tuple[float, float, float, int]:
        """Send a recording and wait for its transcript: wall, CPU of the stack and of its engines, chunks."""
        cpu, engine = self.cpu_seconds(), self.engine_seconds()
        wall, transcript = self.submit_and_wait(recording, model=MODEL, language="en")
        self.await_idle()
        chunks = transcript.statistics.chunks
        return wall, self.cpu_seconds() - cpu, self.engine_seconds() - engine, chunks

    def transcribe_whole(self, recording: Path) -> tuple[float, float]:
        """Run the engine over the whole file with all cores: wall and CPU."""
        settings = Settings(
            _env_file=None,  # type: ignore[call-arg]
            whisper_models_dir=self.folder / "models",
            whisper_cpp_executable="stt-whisper-cli",
        )
        model = resolve_model(MODEL, settings)
        before, started = children_cpu(), time.monotonic()
        run_whole(model, settings, recording, CORES)
        return time.monotonic() - started, children_cpu() - before

    def engine_seconds(self) -> float:
        """CPU of the engines that ended, as the shells around them say."""
        return sum(_shell_seconds(file.read_text()) for file in self._times.iterdir())


def synthesise(recording: Recording, seed: int, folder: Path) -> Path:
    """Write a recording of the demo's sentences in random order, with pauses that make up the silence wanted."""
    random = np.random.default_rng([seed, round(recording.minutes * 100), round(recording.silence * 100)])
    sentences = read_sentences()
    mean = sum(len(sentence) for sentence in sentences) / len(sentences) / SAMPLE_RATE
    pause = mean * recording.silence / (1 - recording.silence)
    total = round(recording.minutes * 60 * SAMPLE_RATE)
    samples = np.zeros(total + 60 * SAMPLE_RATE, np.int16)
    position = 0
    while position < total:
        sentence = sentences[random.integers(len(sentences))]
        samples[position : position + len(sentence)] = sentence
        seconds = random.uniform(0.2, 1.8) * pause if recording.silence else DENSE_SECONDS
        position += len(sentence) + round(seconds * SAMPLE_RATE)
    path = folder / f"{recording.minutes:g}-{100 * recording.silence:g}-{seed}.wav"
    path.write_bytes(as_wav(vary(samples[:total], random)))
    return path


def _shell_seconds(text: str) -> float:
    """Return what `times` said: a line for the shell, a line for its children, each user and system (0m1.23s)."""
    return sum(60 * float(minutes) + float(seconds) for minutes, seconds in re.findall(r"(\d+)m([\d.]+)s", text))


def show(runs: dict[str, list[Run]]) -> bool:
    """Print medians and verdicts; return whether everything holds."""
    table = Table(title=f"System / whole file, {CORES} cores")
    for header in ("recording", "runs", "wall s", "ratio", "must be", "CPU s", "ratio", "outside whisper", "chunks"):
        table.add_column(header, justify="left" if header == "recording" else "right")
    passed = True
    for name, pairs in runs.items():
        medians = _medians(pairs)
        wall, cpu = medians["wall_ratio"], medians["cpu_ratio"]
        limited = RECORDINGS[name].minutes >= 60
        good = wall <= RECORDINGS[name].most
        good_cpu = not limited or medians["outside_whisper"] <= MOST_OUTSIDE_WHISPER
        passed &= good and good_cpu
        table.add_row(
            name,
            str(len(pairs)),
            f"{medians['system_wall']:.1f} / {medians['whole_wall']:.1f}",
            f"[{'green' if good else 'red'}]{wall:.2f}",
            f"<= {RECORDINGS[name].most:.2f}",
            f"{medians['stack_cpu']:.1f} / {medians['whole_cpu']:.1f}",
            f"{cpu:.2f}",
            f"[{'green' if good_cpu else 'red'}]{100 * medians['outside_whisper']:.1f} %"
            + (" (<= 8 %)" if limited else ""),
            str(pairs[0].chunks),
        )
    Console(width=130).print(table)
    return passed


def _medians(pairs: list[Run]) -> dict[str, float]:
    figures = [
        asdict(run)
        | {
            "wall_ratio": run.system_wall / run.whole_wall,
            "cpu_ratio": run.stack_cpu / run.whole_cpu,
            "outside_whisper": run.outside_whisper,
        }
        for run in pairs
    ]
    return {name: round(statistics.median(figure[name] for figure in figures), 4) for name in figures[0]}


if __name__ == "__main__":
    main()
