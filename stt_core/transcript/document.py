"""Transcripts as data: words, segments, the text of one chunk, the text of a recording. All times are seconds."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from stt_core.audio.plan import AudioInfo
from stt_core.settings import QualityName
from stt_core.warnings import RecordingWarnings

Task = Literal["transcribe", "translate"]


class Word(BaseModel):
    """One word, its time in seconds and the engine's probability for it (mean of its tokens)."""

    start: float
    end: float
    text: str
    probability: float = Field(ge=0, le=1)


class Segment(BaseModel):
    """One segment (usually a sentence) of a recording, times in seconds of the source."""

    index: int
    start: float
    end: float
    text: str
    words: list[Word] = []
    chunk: int | None = None
    channel: int | None = None
    speaker: str | None = None
    #: Set where each chunk detected its own.
    language: str | None = None
    #: Mean probability of the words; None where the engine gave none.
    confidence: float | None = None
    #: Set where the text is suspect, e.g. "repetition".
    flags: list[str] = []


class ChunkSegment(BaseModel):
    """One segment of a chunk, times in seconds from the start of the chunk as whisper heard it."""

    start: float
    end: float
    text: str
    words: list[Word] = []
    flags: list[str] = []

    def shifted(self, seconds: float) -> ChunkSegment:
        """Return the segment at times that are later by so much."""
        words = [
            word.model_copy(update={"start": word.start + seconds, "end": word.end + seconds}) for word in self.words
        ]
        return self.model_copy(update={"start": self.start + seconds, "end": self.end + seconds, "words": words})


class ChunkTranscript(BaseModel):
    """What the engine said of one chunk, before its times are mapped back to the source."""

    language: str
    segments: list[ChunkSegment] = []

    @property
    def text(self) -> str:
        """The words of the chunk on one line."""
        return " ".join(segment.text.strip() for segment in self.segments).strip()

    @property
    def word_count(self) -> int:
        """Number of words; where the engine told none apart, what stands between spaces."""
        return sum(len(segment.words) or len(segment.text.split()) for segment in self.segments)


class Gap(BaseModel):
    """A part of the recording that has no text because its chunk failed for good; seconds of the source."""

    chunk: int
    start: float
    end: float
    reason: str
    channel: int | None = None
    speaker: str | None = None


class TranscriptStatistics(BaseModel):
    """Figures about a transcript."""

    words: int
    speech_seconds: float
    chunks: int
    confidence: float | None = None
    duplicate_words_removed: int = 0


class QualityCheck(BaseModel):
    """What one check of a transcript's quality found (see `stt_core.transcript.quality`)."""

    name: QualityName
    passed: bool
    #: What a failure is: `error` for the checks that `QUALITY_ERRORS` names.
    severity: Literal["warn", "error"]
    #: What was measured; None where there was nothing to measure.
    value: float | None
    #: The most or the least that the value may be.
    limit: float
    #: What the value is, and where to look.
    description: str


class Transcript(BaseModel):
    """The result of a job: the JSON that `/result` answers with."""

    job_id: str
    text: str
    #: What is spoken; a translation is in English all the same.
    language: str
    #: What the engine was asked for.
    task: Task = "transcribe"
    model: str
    model_digest: str | None = None
    duration_seconds: float
    #: What was decoded: which of its tracks, which of their channels.
    audio: AudioInfo | None = None
    segments: list[Segment]
    #: What the engine wrote where nobody speaks ("[Music]"); no part of the text, and in no other format.
    sounds: list[Segment] = []
    gaps: list[Gap] = []
    #: What is lost or doubtful, each with a name for programs and a text for people.
    warnings: RecordingWarnings = []
    statistics: TranscriptStatistics
    #: Whether the text can be trusted, as far as it shows by itself; empty in one that was made before there were any.
    checks: list[QualityCheck] = []
    schema_version: Literal[1] = 1

    def without_words(self) -> Transcript:
        """Return the transcript without the times of words."""
        segments = [segment.model_copy(update={"words": []}) for segment in self.segments]
        return self.model_copy(update={"segments": segments})
