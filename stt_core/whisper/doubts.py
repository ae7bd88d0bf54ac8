"""Stretches of a chunk whose text cannot be right, though the engine was sure of every word.

A chunk is speech from end to end (`stt_core.audio` drops the silences), and one chunk is mostly one way of speaking.
So three things give a decoder away that lost its place:

* a *hole*: sound that no segment covers. The decoder ended early; over a whole recording it would go on from there,
  within one chunk the rest would be lost.
* a *rush*: a segment that repeats words and has far more letters a second than the others. It was not said twice.
* a *crawl*: a segment with far fewer letters a second than the others. It swallowed a sentence.

The numbers are those at which hardly anything but errors was found in 40 minutes of test recordings. A stretch costs a
window when it is decoded again, so a chunk has two at most: music that the detector took for speech is one long hole.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from stt_core.logs import logged
from stt_core.transcript.models import ChunkSegment, ChunkTranscript
from stt_core.transcript.repetition import count_echoes
from stt_core.whisper.loops import find_loops, flag_loops, spoken

#: Longer than all silence a chunk may hold in one place: pauses under 0.5 s, or padding on both sides of a joint.
_HOLE_SECONDS = 1.2
_RUSH, _RUSH_ECHOES = 1.15, 2
_CRAWL, _CRAWL_SECONDS = 0.62, 1.2
#: With fewer other segments nothing can be said about their pace.
_LEAST_OTHERS = 2
#: Sound around a segment that is heard again with it, seconds; its times may be off by as much.
_MARGIN_SECONDS = 0.2
_MOST = 2


@dataclass(frozen=True)
class Doubt:
    """A stretch of a chunk, seconds from its start, that is to be decoded by itself; `reason` as above."""

    start: float
    end: float
    reason: str


@logged
def find_doubts(transcript: ChunkTranscript, seconds: float) -> list[Doubt]:
    """Return what is to be decoded again in a chunk of that length, in order; nothing where there is no text at all."""
    if not transcript.segments:
        return []
    doubts = [*_holes(transcript.segments, seconds), *_paces(transcript.segments, seconds)]
    return sorted(sorted(doubts, key=lambda doubt: doubt.start - doubt.end)[:_MOST], key=lambda doubt: doubt.start)


@logged
def settle(transcript: ChunkTranscript, doubt: Doubt, again: ChunkTranscript) -> ChunkTranscript:
    """Return the transcript with the better text of a doubtful stretch.

    Args:
        transcript: The chunk's text.
        doubt: One of its doubts.
        again: The text of that stretch by itself, times from the start of the stretch.
    """
    heard = [_shifted(segment, doubt.start) for segment in flag_loops(again).segments]
    questioned = [segment for segment in transcript.segments if doubt.start <= _middle(segment) <= doubt.end]
    before, after = _letters(questioned), _letters(heard)
    better = after < before if doubt.reason == "rush" else after > before
    if not better or (questioned and find_loops(again)):
        return transcript
    kept = [segment for segment in transcript.segments if segment not in questioned]
    segments = sorted([*kept, *heard], key=lambda segment: segment.start)
    return transcript.model_copy(update={"segments": segments})


def _holes(segments: list[ChunkSegment], seconds: float) -> list[Doubt]:
    reached = 0.0
    holes: list[Doubt] = []
    for start, end in [*((segment.start, segment.end) for segment in segments), (seconds, seconds)]:
        if start - reached >= _HOLE_SECONDS:
            holes.append(Doubt(reached, start, "hole"))
        reached = max(reached, end)
    return holes


def _paces(segments: list[ChunkSegment], seconds: float) -> list[Doubt]:
    paces = [len(segment.text) / max(segment.end - segment.start, 0.1) for segment in segments]
    edges = [0.0, *(border for segment in segments for border in (segment.start, segment.end)), seconds]
    free = list(pairwise(edges))[::2]  # between the segments
    found: list[Doubt] = []
    for number, segment in enumerate(segments):
        others = paces[:number] + paces[number + 1 :]
        if len(others) < _LEAST_OTHERS:
            break
        pace = paces[number] / max(median(others), 0.1)
        rushes = pace >= _RUSH and count_echoes(spoken(segment)) >= _RUSH_ECHOES
        if segment.flags:  # a loop that was decoded again already
            continue
        if rushes or (pace < _CRAWL and segment.end - segment.start >= _CRAWL_SECONDS):
            start = max(segment.start - _MARGIN_SECONDS, min(free[number][0], segment.start))
            end = min(segment.end + _MARGIN_SECONDS, max(free[number + 1][1], segment.end))
            found.append(Doubt(start, end, "rush" if rushes else "crawl"))
    return found


def _shifted(segment: ChunkSegment, seconds: float) -> ChunkSegment:
    words = [
        word.model_copy(update={"start": word.start + seconds, "end": word.end + seconds}) for word in segment.words
    ]
    return segment.model_copy(update={"start": segment.start + seconds, "end": segment.end + seconds, "words": words})


def _middle(segment: ChunkSegment) -> float:
    return (segment.start + segment.end) / 2


def _letters(segments: list[ChunkSegment]) -> int:
    return sum(len(segment.text) for segment in segments)
