"""How far a transcript is from the truth: words, times, seams, silences, loops.

Words are compared without case and punctuation (jiwer's alignment). The truth names the times of sentences; where in a
sentence a word lies is estimated from its letters, which is right to a tenth of a second or two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
from pydantic import BaseModel

from stt_core.audio.plan import SAMPLE_RATE, Chunk
from stt_core.transcript.document import ChunkSegment, Segment
from stt_core.transcript.loops import REPETITION_FLAG
from stt_core.transcript.repetition import find_repetitions
from stt_core.transcript.text import bare

#: A reference word missing so near a seam, seconds, is the cut's fault.
SEAM_SECONDS = 1.0
#: A silence so long, seconds, must hold no word; a word counts where its middle lies deeper in it than the margin
#: (padding of speech, and the truth's own grain).
SILENCE_SECONDS = 2.0
SILENCE_MARGIN_SECONDS = 0.25


class Sentence(BaseModel):
    """A sentence of the truth; seconds."""

    start: float
    end: float
    text: str
    channel: int | None = None


class Truth(BaseModel):
    """What was said in a recording; `segments` in order."""

    duration: float
    segments: list[Sentence]

    @classmethod
    def read(cls, path: Path) -> Truth:
        return cls.model_validate_json(path.read_bytes())

    def of_channel(self, channel: int) -> Truth:
        return Truth(
            duration=self.duration, segments=[sentence for sentence in self.segments if sentence.channel == channel]
        )

    @property
    def speech_seconds(self) -> float:
        """Seconds in which somebody speaks."""
        total = reached = 0.0
        for sentence in sorted(self.segments, key=lambda sentence: sentence.start):
            total += max(0.0, sentence.end - max(sentence.start, reached))
            reached = max(reached, sentence.end)
        return total

    @property
    def silences(self) -> list[tuple[float, float]]:
        """The silences over `SILENCE_SECONDS`, those before the first and after the last sentence included."""
        silences, reached = [], 0.0
        for start, end in [*sorted((item.start, item.end) for item in self.segments), (self.duration, self.duration)]:
            if start - reached > SILENCE_SECONDS:
                silences.append((reached, start))
            reached = max(reached, end)
        return silences


@dataclass
class Score:
    """Counts, so that the scores of two channels add up. Times are seconds."""

    words: int = 0
    errors: int = 0
    missing: list[tuple[float, str]] = field(default_factory=list)
    missing_at_seams: list[tuple[float, str]] = field(default_factory=list)
    in_silence: list[tuple[float, str]] = field(default_factory=list)
    start_errors: list[float] = field(default_factory=list)
    loops: int = 0
    flagged_loops: int = 0
    #: Whether at least half of each sentence's words were recognised, one by one.
    sentences_heard: list[bool] = field(default_factory=list)

    @property
    def wer(self) -> float:
        return self.errors / max(1, self.words)

    @property
    def start_median(self) -> float:
        return float(np.median(self.start_errors)) if self.start_errors else float("nan")

    @property
    def start_p95(self) -> float:
        return float(np.percentile(self.start_errors, 95)) if self.start_errors else float("nan")

    def __add__(self, other: Score) -> Score:
        return Score(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def report(self) -> dict[str, object]:
        """Return the figures for a JSON file."""
        return {
            "words": self.words,
            "errors": self.errors,
            "wer": round(self.wer, 5),
            "start_median": round(self.start_median, 3),
            "start_p95": round(self.start_p95, 3),
            "missing": self.missing,
            "missing_at_seams": self.missing_at_seams,
            "in_silence": self.in_silence,
            "loops": self.loops,
            "flagged_loops": self.flagged_loops,
        }


def score(truth: Truth, segments: Sequence[Segment], seams: Iterable[float] = ()) -> Score:
    """Compare segments (of one channel, or of all) with the truth; `seams` are the places of cuts, seconds."""
    reference = [word for sentence in truth.segments for word in _timed_words(sentence)]
    owners = [number for number, sentence in enumerate(truth.segments) for _ in split_words(sentence.text)]
    heard = [word for segment in segments for word in split_words(segment.text)]
    result = Score(words=len(reference), errors=len(heard) if not reference else 0)
    hits = [0] * len(truth.segments)
    if reference:
        output = jiwer.process_words(" ".join(word for _, _, word in reference), " ".join(heard))
        result.errors = output.substitutions + output.deletions + output.insertions
        for piece in output.alignments[0]:
            positions = range(piece.ref_start_idx, piece.ref_end_idx)
            if piece.type == "equal":
                for position in positions:
                    hits[owners[position]] += 1
            elif piece.type == "delete":
                result.missing += [(round(reference[i][0], 2), reference[i][2]) for i in positions]
                result.missing_at_seams += [
                    (round(reference[i][0], 2), reference[i][2]) for i in positions if _near(reference[i], seams)
                ]
    result.sentences_heard = [
        2 * hits[number] >= len(split_words(sentence.text)) for number, sentence in enumerate(truth.segments)
    ]
    starts = np.array([segment.start for segment in segments] or [float("inf")])
    result.start_errors = [float(np.abs(starts - sentence.start).min()) for sentence in truth.segments]
    result.in_silence = words_in_silence(truth, segments)
    result.loops = len(find_repetitions(heard))
    result.flagged_loops = sum(REPETITION_FLAG in segment.flags for segment in segments)
    return result


def split_words(text: str) -> list[str]:
    """Return the words of a text without case and punctuation."""
    return bare(text).split()


def seams_of(chunks: Sequence[Chunk]) -> list[float]:
    """Return where chunks end and begin, seconds; the ends of the recording are no seams."""
    edges = [(before.spans[-1].end, after.spans[0].start) for before, after in pairwise(chunks)]
    return [sample / SAMPLE_RATE for edge in edges for sample in edge]


def words_in_silence(truth: Truth, segments: Iterable[Segment | ChunkSegment]) -> list[tuple[float, str]]:
    """Return the words whose middle lies in a silence over `SILENCE_SECONDS`, and when; seconds."""
    silences = truth.silences
    found = []
    for segment in segments:
        for word in segment.words or [segment]:
            middle = (word.start + word.end) / 2
            if any(low + SILENCE_MARGIN_SECONDS < middle < high - SILENCE_MARGIN_SECONDS for low, high in silences):
                found.append((round(middle, 2), word.text))
    return found


def _timed_words(sentence: Sentence) -> list[tuple[float, float, str]]:
    """Return start, end and text of each word; a letter takes as long as any other, and so does the space."""
    words = split_words(sentence.text)
    borders = np.cumsum([0, *(len(word) + 1 for word in words)])
    times = sentence.start + (sentence.end - sentence.start) * borders / borders[-1]
    return [(float(start), float(end), word) for (start, end), word in zip(pairwise(times), words, strict=True)]


def _near(word: tuple[float, float, str], seams: Iterable[float]) -> bool:
    start, end, _ = word
    return any(start - SEAM_SECONDS < seam < end + SEAM_SECONDS for seam in seams)
