"""A chunk as whisper hears it: its spans read from the prepared samples, joined, written as a WAV file.

This is where pydub works: a chunk is at most half a minute, so it is held in memory as an `AudioSegment`.
"""

from __future__ import annotations

import hashlib
import io
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stt_core.audio.plan import SAMPLE_BYTES, SAMPLE_RATE, Chunk, Span
from stt_core.disk import disk_errors
from stt_core.errors import ObjectNotFoundError

with warnings.catch_warnings():
    # pydub looks for an ffmpeg on PATH (we give it none to do) and imports the deprecated audioop.
    warnings.simplefilter("ignore")
    from pydub.audio_segment import AudioSegment

#: Whisper answers 0.1 s of audio with nothing; chunks are filled up with silence to this, seconds.
SHORTEST_SECONDS = 0.5
#: Spans no further apart than this are read in one request: 16 s are 512 KB, which take less time than a round trip.
_NEAR_SAMPLES = 16 * SAMPLE_RATE

ReadRange = Callable[[int, int], bytes]


@dataclass(frozen=True, eq=False)
class Clip:
    """The sound of one chunk. `digest` is the SHA-256 of its samples; `dbfs` is None for digital silence."""

    segment: AudioSegment
    digest: str
    dbfs: float | None

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return float(self.segment.frame_count()) / SAMPLE_RATE

    @property
    def samples(self) -> npt.NDArray[np.int16]:
        """The samples, 16 kHz, mono."""
        return np.frombuffer(self.segment.raw_data, "<i2")

    @classmethod
    def of(cls, pcm: bytes) -> Clip:
        """Return the clip of these samples (16 kHz, mono, signed 16 bit), filled up to `SHORTEST_SECONDS`."""
        pcm += b"\0" * (math.ceil(SHORTEST_SECONDS * SAMPLE_RATE) * SAMPLE_BYTES - len(pcm))
        segment = AudioSegment(pcm, sample_width=SAMPLE_BYTES, frame_rate=SAMPLE_RATE, channels=1)
        dbfs = float(segment.dBFS)
        return cls(segment, hashlib.sha256(pcm).hexdigest(), dbfs if math.isfinite(dbfs) else None)

    def part(self, start: float, end: float) -> Clip:
        """Return a part of the clip, seconds from its start."""
        first, last = (round(seconds * SAMPLE_RATE) * SAMPLE_BYTES for seconds in (start, end))
        return Clip.of(self.segment.raw_data[first:last])

    def write_wav(self, path: Path) -> None:
        """Write the clip as a WAV file (16 kHz, mono, 16 bit).

        Raises:
            DiskFullError: There is no room for it.
        """
        file = io.BytesIO()
        self.segment.export(file, format="wav")
        with disk_errors(f"for a chunk of {self.seconds:.0f} s in {path.parent}", mend="Free space there."):
            path.write_bytes(file.getbuffer())


def join_clips(clips: Sequence[Clip], pause_seconds: float) -> Clip:
    """Return clips one behind the other, with so much silence between them."""
    pause = b"\0" * (round(pause_seconds * SAMPLE_RATE) * SAMPLE_BYTES)
    return Clip.of(pause.join(clip.segment.raw_data for clip in clips))


def render_chunk(chunk: Chunk, read_range: ReadRange) -> Clip:
    """Return the sound of a chunk.

    Args:
        chunk: What it holds.
        read_range: Reads the prepared samples: `(offset, length)` in bytes to exactly so many bytes.

    Raises:
        ObjectNotFoundError: The prepared samples are shorter than the chunk says.
    """
    joint = b"\0" * (chunk.joint * SAMPLE_BYTES)
    return Clip.of(joint.join(_read_spans(chunk.spans, read_range)))


def _read_spans(spans: tuple[Span, ...], read_range: ReadRange) -> list[bytes]:
    """Read the samples of each span, spans that lie near each other in one request."""
    groups: list[list[Span]] = []
    for span in spans:
        if groups and span.start - groups[-1][-1].end <= _NEAR_SAMPLES:
            groups[-1].append(span)
        else:
            groups.append([span])
    parts: list[bytes] = []
    for group in groups:
        origin = group[0].start
        length = (group[-1].end - origin) * SAMPLE_BYTES
        data = read_range(origin * SAMPLE_BYTES, length)
        if len(data) != length:
            raise ObjectNotFoundError(
                f"The prepared audio ends early: {len(data)} of {length} bytes at {origin / SAMPLE_RATE:.2f} s.",
                mend="Send the job again; its audio is prepared anew.",
            )
        for span in group:
            parts.append(data[(span.start - origin) * SAMPLE_BYTES : (span.end - origin) * SAMPLE_BYTES])
    return parts
