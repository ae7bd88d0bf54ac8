"""Audio as data: spans of samples, chunks with their exact time map, facts about a recording.

Positions are integer samples at 16 kHz of the prepared (decoded) recording, so that the time map is exact; seconds
appear only at the borders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from stt_core.options import Strategy
from stt_core.warnings import RecordingWarnings

#: Sample rate whisper works at, Hz.
SAMPLE_RATE = 16_000
#: Bytes of one prepared sample (signed 16 bit, mono).
SAMPLE_BYTES = 2


class Span(BaseModel):
    """A half-open interval `[start, end)` of source samples."""

    model_config = ConfigDict(frozen=True)

    start: int = Field(ge=0)
    end: int = Field(ge=0)

    @property
    def length(self) -> int:
        """Number of samples."""
        return self.end - self.start


class Chunk(BaseModel):
    """What one whisper window hears: spans of the source, in order, joined by `joint` samples of silence.

    `overlaps_previous` says that the first span begins before the end of the previous chunk's last one (a cut where
    there was no pause), so that the merger looks for doubled words there.
    """

    model_config = ConfigDict(frozen=True)

    index: int = Field(ge=0)
    spans: tuple[Span, ...] = Field(min_length=1)
    joint: int = Field(default=0, ge=0)
    overlaps_previous: bool = False
    channel: int | None = None

    @property
    def length(self) -> int:
        """Samples of the chunk as whisper hears it, joints included."""
        return self.speech_samples + self.joint * (len(self.spans) - 1)

    @property
    def speech_samples(self) -> int:
        """Samples taken from the source."""
        return sum(span.length for span in self.spans)

    @property
    def speech_seconds(self) -> float:
        """Seconds taken from the source."""
        return self.speech_samples / SAMPLE_RATE

    @property
    def start_seconds(self) -> float:
        """Where the chunk begins in the source."""
        return self.spans[0].start / SAMPLE_RATE

    @property
    def end_seconds(self) -> float:
        """Where the chunk ends in the source."""
        return self.spans[-1].end / SAMPLE_RATE

    def pieces(self) -> Iterator[tuple[int, Span]]:
        """Yield each span with the position in the chunk at which it begins."""
        position = 0
        for span in self.spans:
            yield position, span
            position += span.length + self.joint

    def to_source(self, position: int, edge: Literal["start", "end"]) -> int:
        """Map a position in the chunk to the source, in samples.

        Monotonic, and exact inside spans. A position outside the chunk is clamped to it, since whisper's own end times
        are not (29.0 s out of a 10 s file was seen). A joint is no place in the source, and the border of two spans is
        two places: where the position begins something (`start`), it is the start of the next span, else the end of the
        previous one.
        """
        previous_end = self.spans[0].start
        for begin, span in self.pieces():
            if position < begin or (position == begin and edge == "end"):  # in the joint before this span, or its rim
                return span.start if edge == "start" else previous_end
            if position < begin + span.length:
                return span.start + position - begin
            previous_end = span.end
        return previous_end


def covered_samples(spans: Iterable[Span]) -> int:
    """Return how many samples spans hold together, in order of their starts; those of an overlap count once."""
    covered = reached = 0
    for span in spans:
        covered += max(0, span.end - max(span.start, reached))
        reached = max(reached, span.end)
    return covered


class AudioTrack(BaseModel):
    """An audio track of a file, as its container names it; `number` counts from 1."""

    number: int
    codec: str
    #: ISO 639 code; None where the container names none.
    language: str | None = None
    channels: int = 1
    sample_rate: int | None = None
    is_default: bool = False
    #: Where its sound begins, where the container says that it begins late.
    start_seconds: float = 0.0


class AudioInfo(BaseModel):
    """Facts about a decoded recording."""

    samples: int = Field(ge=0)
    channels: int = Field(ge=1)
    codec: str
    source_sample_rate: int | None = None
    #: The number of the track that was decoded, and all that there are.
    track: int = 1
    tracks: list[AudioTrack] = []
    #: The channels in the mix, counted from 1 as speakers are; empty where there is one channel, or none was chosen.
    channels_used: list[int] = []
    #: What was lost of it or is doubtful.
    warnings: RecordingWarnings = []

    @property
    def duration_seconds(self) -> float:
        """Length of the recording."""
        return self.samples / SAMPLE_RATE


class ChunkStatistics(BaseModel):
    """Figures about a plan. `speech_seconds` counts doubled samples once, `silence_seconds` is what no chunk holds."""

    chunks: int
    duration_seconds: float
    speech_seconds: float
    silence_seconds: float
    mean_seconds: float
    shortest_seconds: float
    longest_seconds: float
    overlaps: int


class ChunkPlan(BaseModel):
    """How a recording (or one channel of it) is cut: the chunks in order, and figures about them."""

    strategy: Strategy
    #: The level over which frames counted as sound, dBFS.
    threshold_dbfs: float
    chunks: list[Chunk]
    statistics: ChunkStatistics
    warnings: RecordingWarnings = []
