"""A transcript in the form that OpenAI's API calls `verbose_json`, for programs that are written for it.

What whisper.cpp does not tell is at its neutral value: no tokens, the temperature of the first try, no doubt that there
was speech (`no_speech_prob`), since silence was cut out before. `avg_logprob` is the logarithm of our confidence.
"""

from __future__ import annotations

import math

from pydantic import BaseModel

from stt_core.languages import ENGLISH, LANGUAGES
from stt_core.transcript.document import Segment, Task, Transcript
from stt_core.transcript.repetition import compression_ratio


class VerboseWord(BaseModel):
    """One word; seconds."""

    word: str
    start: float
    end: float


class VerboseSegment(BaseModel):
    """One segment; seconds."""

    id: int
    seek: int = 0
    start: float
    end: float
    text: str
    tokens: list[int] = []
    temperature: float = 0.0
    avg_logprob: float
    #: Length of the text over that of the text compressed: high where it repeats itself.
    compression_ratio: float
    no_speech_prob: float = 0.0


class VerboseTranscript(BaseModel):
    """A transcript as OpenAI's `verbose_json`; `words` only where they are wanted."""

    task: Task
    #: Of the text, in English, as whisper names it.
    language: str
    duration: float
    text: str
    segments: list[VerboseSegment] | None = None
    words: list[VerboseWord] | None = None


def verbose(transcript: Transcript, *, segments: bool = True, words: bool = True) -> VerboseTranscript:
    """Return a transcript as OpenAI's API gives it.

    Args:
        transcript: The transcript.
        segments: Whether it has segments.
        words: Whether it has words.
    """
    return VerboseTranscript(
        task=transcript.task,
        language=LANGUAGES.get(ENGLISH if transcript.task == "translate" else transcript.language, transcript.language),
        duration=transcript.duration_seconds,
        text=transcript.text,
        segments=[_segment(segment) for segment in transcript.segments] if segments else None,
        words=[
            VerboseWord(word=word.text.strip(), start=word.start, end=word.end)
            for segment in transcript.segments
            for word in segment.words
        ]
        if words
        else None,
    )


def _segment(segment: Segment) -> VerboseSegment:
    return VerboseSegment(
        id=segment.index,
        start=segment.start,
        end=segment.end,
        text=segment.text,
        avg_logprob=round(math.log(max(segment.confidence or 1.0, 1e-6)), 4),
        compression_ratio=round(compression_ratio(segment.text), 4),
    )
