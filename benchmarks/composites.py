"""Long recordings with exact times, made of short ones.

    python benchmarks/composites.py make FOLDER… --out DIR [--seed 1] [--minutes 10] [--pauses dense|sparse]
                                                [--noise-db 10] [--noise NOISE.flac] [--name NAME]
    python benchmarks/composites.py join COMPOSITE… --out DIR [--seed 1] [--minutes 60] [--name NAME]

`make` takes every recording of the folders that has its text beside it (`NAME.txt`), trims it, brings its speech to one
level, and places the clips in random order at known times. Between them are 0.3 to 1.2 s (dense) or 3 to 12 s (sparse)
of room noise at -60 dBFS; `--noise-db` lays noise under everything, so many dB below the speech: a recording of it, or
pink noise. `join` puts such composites one behind the other, in varied order, until they are long enough.

Written are `NAME.flac` (16 kHz, mono) and `NAME.json`: `duration` and `segments`, whose `start` and `end` are where the
clip is heard to begin and to end by its own energy, before any noise; `clip_start` and `clip_end` are all of it. The
same seed and the same clips make the same composite.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from imageio_ffmpeg import get_ffmpeg_exe
from scoring import Truth
from sounds import decode
from word_times import FRAME_SECONDS, audible_span

from stt_core.audio.energies import measure_energies
from stt_core.audio.formats import is_named_like_a_recording
from stt_core.audio.plan import SAMPLE_BYTES, SAMPLE_RATE

Sound = npt.NDArray[np.float32]

#: Seconds of pause, from the end of a clip that is heard to the beginning of the next.
PAUSES = {"dense": (0.3, 1.2), "sparse": (3.0, 12.0)}
ROOM_DBFS = -60.0
#: Root mean square of a clip's speech; usual for speech, with room for its peaks.
SPEECH_DBFS = -23.0
PEAK = 0.9
#: How much of a clip is kept before and after what is heard, and how long it takes to fade there, seconds.
MARGIN_SECONDS, FADE_SECONDS = 0.1, 0.01
#: In a longer clip the times of one sentence say little.
LONGEST_SECONDS = 30.0


@dataclass(frozen=True)
class Clip:
    """A clip, trimmed and levelled; `start` and `end` are where in it speech is heard, seconds."""

    source: str
    text: str
    samples: Sound
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """Where a clip lies in a composite, seconds."""

    start: float
    end: float
    text: str
    source: str
    clip_start: float
    clip_end: float

    def later(self, seconds: float) -> Segment:
        times = {name: round(getattr(self, name) + seconds, 4) for name in ("start", "end", "clip_start", "clip_end")}
        return replace(self, **times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    make_parser, join_parser = commands.add_parser("make"), commands.add_parser("join")
    make_parser.add_argument("folders", type=Path, nargs="+")
    make_parser.add_argument("--pauses", choices=PAUSES, default="dense")
    make_parser.add_argument("--noise-db", type=float, help="how far the noise lies below the speech, dB")
    make_parser.add_argument("--noise", type=Path, help="a recording of noise, repeated; pink noise otherwise")
    make_parser.add_argument("--minutes", type=float, default=10.0)
    join_parser.add_argument("composites", type=Path, nargs="+")
    join_parser.add_argument("--minutes", type=float, default=60.0)
    for one in (make_parser, join_parser):
        one.add_argument("--out", type=Path, required=True)
        one.add_argument("--seed", type=int, default=1)
        one.add_argument("--language", default="en", help="for the truth")
        one.add_argument("--name")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.command == "join":
        name = options.name or f"joined-{options.seed}"
        written = join(options.composites, options.out / name, options.minutes, options.seed, options.language)
    else:
        noise = "" if options.noise_db is None else f"-noise{options.noise_db:g}db"
        clips = read_clips(options.folders)
        samples, segments = compose(
            clips,
            np.random.default_rng(options.seed),
            seconds=options.minutes * 60,
            pauses=PAUSES[options.pauses],
            noise_db=options.noise_db,
            noise=read_sound(options.noise) if options.noise else None,
        )
        written = options.out / (options.name or f"{options.pauses}{noise}-{options.seed}")
        with flac(written.with_suffix(".flac")) as file:
            file.write(samples.tobytes())
        write_truth(written, len(samples) / SAMPLE_RATE, segments, options.language)
    print(written.with_suffix(".flac"))


def compose(
    clips: Sequence[Clip],
    random: np.random.Generator,
    *,
    seconds: float,
    pauses: tuple[float, float],
    noise_db: float | None = None,
    noise: Sound | None = None,
) -> tuple[npt.NDArray[np.int16], list[Segment]]:
    """Place clips, each once before one comes again, until `seconds` are full; 16-bit samples, and where the clips lie.

    Args:
        clips: What is spoken, see `read_clips`.
        random: Chooses the order, the pauses and the noise.
        seconds: Length; the last pause may go beyond it, and so may a clip that is longer than all.
        pauses: Least and most, seconds.
        noise_db: How far the noise lies below the speech; None for the room alone.
        noise: A recording of noise, -1 to 1, repeated; None for pink noise.
    """
    placed: list[tuple[Clip, int]] = []
    order = varied_order(len(clips), random)
    clip = clips[next(order)]
    end = random.uniform(*pauses)
    while not placed or end + clip.end - clip.start < seconds:
        place = round((end - clip.start) * SAMPLE_RATE)
        placed.append((clip, place))
        end = place / SAMPLE_RATE + clip.end + random.uniform(*pauses)
        clip = clips[next(order)]
    sound = pink_noise(round(end * SAMPLE_RATE), random) * _amplitude(ROOM_DBFS)
    if noise_db is not None:
        source = pink_noise(len(sound), random) if noise is None else np.resize(noise, len(sound))
        sound += source * (_amplitude(SPEECH_DBFS - noise_db) / _rms(source))
    for clip, place in placed:
        sound[place : place + len(clip.samples)] += clip.samples
    samples = (np.clip(sound, -1.0, 1.0) * 32767).astype("<i2")
    return samples, [
        Segment(clip.start, clip.end, clip.text, clip.source, 0.0, len(clip.samples) / SAMPLE_RATE).later(
            place / SAMPLE_RATE
        )
        for clip, place in placed
    ]


def varied_order(count: int, random: np.random.Generator) -> Iterator[int]:
    """Yield numbers below `count` for ever: all of them in one order, then in another, none twice in a row."""
    last = -1
    while True:
        round_ = random.permutation(count)
        if round_[0] == last:
            round_ = np.roll(round_, -1)
        yield from map(int, round_)
        last = int(round_[-1])


def read_clips(folders: Iterable[Path]) -> list[Clip]:
    """Read the recordings with a text beside them, in the order of their names; those too long are named and left."""
    clips = []
    for path in sorted(path for folder in folders for path in folder.iterdir() if is_named_like_a_recording(path.name)):
        text = path.with_suffix(".txt")
        words = " ".join(text.read_text(encoding="utf-8").split()) if text.is_file() else ""
        if not words:
            continue
        clip = trim(read_sound(path), words, f"{path.parent.name}/{path.stem}")
        if clip is None or clip.end - clip.start > LONGEST_SECONDS:
            print(f"left out: {path.name} ({'longer than 30 s' if clip else 'nothing is heard'})")
        else:
            clips.append(clip)
    if len(clips) < 2:
        raise SystemExit("There are not two recordings with their text (NAME.txt) beside them.")
    return clips


def trim(sound: Sound, text: str, source: str) -> Clip | None:
    """Cut off what is not heard but for a margin, fade the edges, bring the speech to its level; None for silence."""
    levels = measure_energies((sound * 32767).astype("<i2").tobytes()).levels()
    span = audible_span(levels)
    if span is None:
        return None
    first = max(0, round((span[0] - MARGIN_SECONDS) * SAMPLE_RATE))
    part = sound[first : round((span[1] + MARGIN_SECONDS) * SAMPLE_RATE)].copy()
    heard = levels[round(span[0] / FRAME_SECONDS) : round(span[1] / FRAME_SECONDS)]
    part *= min(_amplitude(SPEECH_DBFS) / _active_rms(heard), PEAK / float(np.abs(part).max()))
    fade = np.linspace(0, 1, round(FADE_SECONDS * SAMPLE_RATE), dtype=np.float32)
    part[: len(fade)] *= fade
    part[-len(fade) :] *= fade[::-1]
    start = span[0] - first / SAMPLE_RATE
    return Clip(source, text, part, start, start + span[1] - span[0])


def join(composites: Sequence[Path], target: Path, minutes: float, seed: int, language: str) -> Path:
    """Write composites one behind the other, in varied order, until they last `minutes`; their truth is shifted."""
    truths = [json.loads(path.with_suffix(".json").read_bytes()) for path in composites]
    order = varied_order(len(composites), np.random.default_rng(seed))
    segments, samples = [], 0
    with flac(target.with_suffix(".flac")) as file:
        while samples < minutes * 60 * SAMPLE_RATE:
            number = next(order)
            segments += [_segment(one).later(samples / SAMPLE_RATE) for one in truths[number]["segments"]]
            for block in decode(composites[number]):
                file.write(block)
                samples += len(block) // SAMPLE_BYTES
    write_truth(target, samples / SAMPLE_RATE, segments, language)
    return target


def pink_noise(count: int, random: np.random.Generator) -> Sound:
    """Return noise of as much power in each octave over 20 Hz, its root mean square 1."""
    spectrum = np.fft.rfft(random.standard_normal(count, dtype=np.float32))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(count, 1 / SAMPLE_RATE), 20.0))
    noise: Sound = np.fft.irfft(spectrum, count).astype(np.float32)
    return noise / np.float32(_rms(noise))


def read_sound(path: Path) -> Sound:
    return np.frombuffer(b"".join(decode(path)), "<i2").astype(np.float32) / np.float32(32768)


@contextmanager
def flac(path: Path) -> Iterator[IO[bytes]]:
    """Open a FLAC file to write samples to: 16 kHz, mono, signed 16 bit."""
    command = [get_ffmpeg_exe(), "-v", "error", "-y", "-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "1", "-i", "-"]
    command += ["-fflags", "+bitexact", "-flags:a", "+bitexact", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        yield process.stdin
        process.stdin.close()
        if process.wait() != 0:
            raise SystemExit(f"{path} could not be written: ffmpeg said why.")


def write_truth(target: Path, duration: float, segments: Sequence[Segment], language: str) -> None:
    truth = {
        "language": language,
        "duration": round(duration, 4),
        "speech_seconds": round(sum(one.end - one.start for one in segments), 1),
        "segments": [asdict(one) for one in segments],
    }
    Truth.model_validate(truth)
    target.with_suffix(".json").write_text(json.dumps(truth, indent=1, ensure_ascii=False))


def _segment(told: dict[str, Any]) -> Segment:
    start, end = told["start"], told["end"]
    times = told.get("clip_start", start), told.get("clip_end", end)
    return Segment(start, end, told["text"], told.get("source", ""), *times)


def _amplitude(dbfs: float) -> float:
    return float(10 ** (dbfs / 20))


def _rms(sound: Sound) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def _active_rms(levels: npt.NDArray[np.float32]) -> float:
    """Return the amplitude of speech, of its frames within 20 dB of the loudest: pauses do not count."""
    powers = 10 ** (levels[levels > levels.max() - 20].astype(np.float64) / 10)
    return float(np.sqrt(powers.mean()))


if __name__ == "__main__":
    main()
