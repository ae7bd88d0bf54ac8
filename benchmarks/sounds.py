"""The sounds of the benchmarks: decoded as the product decodes, the demo's sentences, varied, as WAV."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scoring import Truth

from stt_core.audio import RecordingStream, detect_file_format
from stt_core.audio.decode import PcmStream
from stt_core.audio.formats import is_named_like_a_recording
from stt_core.audio.plan import SAMPLE_BYTES, SAMPLE_RATE
from stt_core.languages import LANGUAGES
from stt_core.settings import Settings

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "stt_cli" / "data" / "demo.flac"
DEMO_TRUTH = Truth.read(ROOT / "benchmarks" / "data" / "demo.json")
#: What a user has who sets nothing.
DEFAULTS = Settings(_env_file=None)  # type: ignore[call-arg]

Samples = npt.NDArray[np.int16]


def listen(path: Path, settings: Settings = DEFAULTS, channel: int | None = None) -> tuple[bytes, RecordingStream]:
    """Decode a recording as a run does: its samples, and the stream, which has measured levels and voice."""
    with path.open("rb") as file:
        audio_format = detect_file_format(file)
    with RecordingStream(path, audio_format, settings, channel=channel) as stream:
        return b"".join(stream.blocks()), stream


def decode(path: Path) -> Iterator[bytes]:
    """Yield a recording's samples in blocks: 16 kHz, mono, signed 16 bit."""
    with path.open("rb") as file:
        audio_format = detect_file_format(file)
    with PcmStream(path, audio_format, DEFAULTS) as stream:
        yield from stream.blocks()


def find_recordings(places: Iterable[Path]) -> list[Path]:
    """Return the recordings among files and, at any depth, in folders, in the order of their names."""
    files = [path for place in places for path in (sorted(place.rglob("*")) if place.is_dir() else [place])]
    return [path for path in files if path.is_file() and is_named_like_a_recording(path.name)]


def spoken_in(folder: str) -> str | None:
    """Return the language of a folder's recordings, where its name begins with a language's code (`de`, `en-noisy`)."""
    code = folder.partition("-")[0]
    return code if code in LANGUAGES else None


def read_demo() -> Samples:
    return np.frombuffer(listen(DEMO)[0], "<i2")


def read_sentences() -> list[Samples]:
    """Return the sentences of the demo recording, those of `DEMO_TRUTH`."""
    samples = read_demo()
    return [
        samples[round(sentence.start * SAMPLE_RATE) : round(sentence.end * SAMPLE_RATE)]
        for sentence in DEMO_TRUTH.segments
    ]


def vary(samples: Samples, random: np.random.Generator) -> bytes:
    """Return samples with other noise in the lowest bit, so that nothing of them is in a cache."""
    return (samples ^ random.integers(0, 2, len(samples), np.int16)).astype("<i2").tobytes()


def as_wav(pcm: bytes) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as audio:
        audio.setparams((1, SAMPLE_BYTES, SAMPLE_RATE, 0, "NONE", ""))
        audio.writeframes(pcm)
    return buffer.getvalue()
