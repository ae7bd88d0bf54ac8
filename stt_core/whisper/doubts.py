"""Stretches of chunks whose text is doubtful, each to be decoded once more by itself.

A chunk is speech from end to end (`stt_core.audio` drops the silences), and one chunk is mostly one way of speaking.
So three things give a decoder away that lost its place, however sure it was of every word:

* a *hole*: sound that no segment covers. The decoder ended early; over a whole recording it would go on from there,
  within one chunk the rest would be lost.
* a *rush*: a segment that repeats words and has far more letters a second than the others. It was not said twice.
* a *crawl*: a segment with far fewer letters a second than the others. It swallowed a sentence. One with an improbable
  word too (below) need be less slow: either alone is mostly a way of speaking, both together words left out.

And one says so itself: an *unsure* segment has a word that the decoder held for unlikely. Where words were dropped, the
word after them is often such a one.

The numbers are those at which hardly anything but errors was found in 40 minutes of test recordings. A stretch costs a
window when it is decoded again, so their number is bounded: two a chunk of the first three kinds (music that the
detector took for speech is one long hole), and of the unsure ones the least sure few of all chunks looked at together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
_CRAWL, _UNSURE_CRAWL, _CRAWL_SECONDS = 0.62, 0.75, 1.2
#: With fewer other segments nothing can be said about their pace.
_LEAST_OTHERS = 2
#: Sound around a segment that is heard again with it, seconds; its times may be off by as much.
_MARGIN_SECONDS = 0.2
_MOST = 2
#: A word less probable than this makes its segment unsure. Of several chunks together, so many unsure segments are
#: decoded again, and one more for so many chunks: most of what there is in a short recording, little in a long one.
_SURE = 0.9
_MOST_UNSURE, _CHUNKS_FOR_ONE_MORE = 4, 10


@dataclass(frozen=True)
class Doubt:
    """A stretch of a chunk, seconds from its start, that is to be decoded by itself.

    `reason` as above; `certainty` is the probability of its least probable word, 0 where the pace or a hole tells.
    """

    start: float
    end: float
    reason: str
    certainty: float = 0.0


@logged
def choose_doubts(transcripts: Sequence[ChunkTranscript], seconds: Sequence[float]) -> list[tuple[int, Doubt]]:
    """Return what is to be decoded again of several chunks of those lengths: positions in `transcripts` and stretches.

    The choice follows from the texts alone, so that it is the same whenever and wherever it is made.
    """
    found = [
        (position, doubt)
        for position, (transcript, length) in enumerate(zip(transcripts, seconds, strict=True))
        for doubt in find_doubts(transcript, length)
    ]
    unsure = sorted((one for one in found if one[1].reason == "unsure"), key=lambda one: one[1].certainty)
    left_out = unsure[_MOST_UNSURE + len(transcripts) // _CHUNKS_FOR_ONE_MORE :]
    return [one for one in found if one not in left_out]


@logged
def find_doubts(transcript: ChunkTranscript, seconds: float) -> list[Doubt]:
    """Return every stretch that is doubtful in a chunk of that length, in order; none where there is no text at all."""
    if not transcript.segments:
        return []
    astray = [*_holes(transcript.segments, seconds), *_paces(transcript.segments, seconds)]
    doubts = sorted(astray, key=lambda doubt: doubt.start - doubt.end)[:_MOST]
    doubts += [
        unsure
        for unsure in _unsure(transcript.segments, seconds)
        if not any(doubt.start < unsure.end and unsure.start < doubt.end for doubt in doubts)
    ]
    return sorted(doubts, key=lambda doubt: doubt.start)


@logged
def settle(transcript: ChunkTranscript, doubt: Doubt, again: ChunkTranscript) -> ChunkTranscript:
    """Return the transcript with the better text of a doubtful stretch.

    Args:
        transcript: The chunk's text.
        doubt: One of its doubts.
        again: The text of that stretch by itself, times from the start of the stretch.
    """
    heard = [segment.shifted(doubt.start) for segment in flag_loops(again).segments]
    questioned = [segment for segment in transcript.segments if doubt.start <= _middle(segment) <= doubt.end]
    before, after = _letters(questioned), _letters(heard)
    if doubt.reason == "unsure":
        better = bool(heard) and _certainty(heard) > _certainty(questioned)
    else:
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
    stretches = list(_stretches(segments, seconds))
    found: list[Doubt] = []
    for number, segment in enumerate(segments):
        others = paces[:number] + paces[number + 1 :]
        if len(others) < _LEAST_OTHERS:
            break
        pace = paces[number] / max(median(others), 0.1)
        rushes = pace >= _RUSH and count_echoes(spoken(segment)) >= _RUSH_ECHOES
        if segment.flags:  # a loop that was decoded again already
            continue
        slow = _UNSURE_CRAWL if segment.words and _certainty([segment]) < _SURE else _CRAWL
        if rushes or (pace < slow and segment.end - segment.start >= _CRAWL_SECONDS):
            found.append(Doubt(*stretches[number], "rush" if rushes else "crawl"))
    return found


def _unsure(segments: list[ChunkSegment], seconds: float) -> Iterator[Doubt]:
    for segment, (start, end) in zip(segments, _stretches(segments, seconds), strict=True):
        if segment.words and not segment.flags and _certainty([segment]) < _SURE:
            yield Doubt(start, end, "unsure", _certainty([segment]))


def _stretches(segments: list[ChunkSegment], seconds: float) -> Iterator[tuple[float, float]]:
    """Return start and end of each segment with its margins, which end where a neighbour's time begins."""
    edges = [0.0, *(border for segment in segments for border in (segment.start, segment.end)), seconds]
    free = list(pairwise(edges))[::2]  # between the segments
    for segment, (before, _), (_, after) in zip(segments, free, free[1:], strict=False):
        start = max(segment.start - _MARGIN_SECONDS, min(before, segment.start))
        yield start, min(segment.end + _MARGIN_SECONDS, max(after, segment.end))


def _middle(segment: ChunkSegment) -> float:
    return (segment.start + segment.end) / 2


def _certainty(segments: list[ChunkSegment]) -> float:
    """Return the probability of the least probable word, 0 where there are none."""
    return min((word.probability for segment in segments for word in segment.words), default=0.0)


def _letters(segments: list[ChunkSegment]) -> int:
    return sum(len(segment.text) for segment in segments)
