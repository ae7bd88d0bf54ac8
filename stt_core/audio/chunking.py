"""Which parts of a recording whisper hears together.

Whisper encodes a window of 30 s whatever a chunk holds, so windows are what transcription costs. Speech intervals are
packed into as few chunks as they fit in, gaps dropped, without cutting where it hurts. Every place where a chunk may
end is a *seam* with a price, in windows:

* between two intervals, and in a pause inside one (clearly quieter than the speech around it): the shorter the pause,
  the dearer;
* where speech goes on without such a pause: the quietest point of each second. The chunk after it begins
  `overlap_seconds` earlier, so that a word cut through is heard whole in one of the two.

The cheapest sequence of seams is found exactly (dynamic programming over at most one window's seams at a time), so
the plan is deterministic. Every sample of speech is in a chunk, no chunk is longer than the limit, and there are never
more than twice as many as the speech alone would fill.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stt_core.audio.energies import FrameEnergies
from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span
from stt_core.audio.silence import pad_spans, runs
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: A cut in a pause of this many seconds costs a whole window; one in a pause twice as long costs half of that.
_DEAREST_PAUSE_SECONDS = 0.04
_DEAREST_PAUSE_PRICE = 0.3
#: A cut through speech: it doubles the overlap and asks the merger to find the doubled words.
OVERLAP_PRICE = 0.5
#: Chunks shorter than this, seconds, give whisper little context; the price rises to `_SHORT_PRICE` at no length.
_SHORT_SECONDS = 5.0
_SHORT_PRICE = 0.2
#: Shortest pause inside an interval at which a cut needs no overlap: a stop consonant closes the mouth for less.
_PAUSE_MS = 100
#: So many times the windows that the speech alone fills are accepted before joints are made shorter.
_WASTE = 1.15
#: So near the ends of an interval, ms, no pause is looked for: there is its padding, and a cut would leave a crumb.
_EDGE_MS = 500
#: A pause lies in the lowest quarter of the levels around it; where they span less than this, dB, there is none.
_LEAST_RANGE_DB = 6.0
_GREATEST_RANGE_DB = 40.0
#: Speech without a pause for this share of a chunk may be cut through.
_UNBROKEN_SHARE = 0.25


@dataclass(frozen=True, slots=True)  # tens of thousands in a long recording
class _Seam:
    """A place where a chunk may end (`left`) and the next one begin (`right`), in interval number `interval`."""

    left: int
    right: int
    left_interval: int
    right_interval: int
    price: float


def plan_chunks(
    speech: Sequence[Span],
    energies: FrameEnergies,
    *,
    padding_ms: int = 0,
    max_seconds: float = 29.0,
    joint_ms: int = 200,
    overlap_seconds: float = 2.0,
) -> list[Chunk]:
    """Pack speech into chunks.

    Args:
        speech: Disjoint spans in order.
        energies: Of the recording; cuts are placed by them.
        padding_ms: Sound kept on both sides of each span.
        max_seconds: Longest chunk, joints included.
        joint_ms: Silence put between two spans of a chunk; half of it, or none, where that saves windows (speech has
            padding of its own). A gap that is no longer is kept as it is.
        overlap_seconds: How much a chunk repeats where there was no pause; at most a quarter of a chunk.

    Returns:
        The chunks in order; none without speech.
    """
    longest = int(max_seconds * SAMPLE_RATE)
    joint = joint_ms * SAMPLE_RATE // 1000
    padding = padding_ms * SAMPLE_RATE // 1000
    overlap = min(int(overlap_seconds * SAMPLE_RATE), longest // 4)
    intervals = _join_near(pad_spans(speech, padding, energies.total_samples), joint)
    if not intervals:
        return []
    seams = _find_seams(intervals, energies, longest, overlap, padding)
    enough = _WASTE * math.ceil(sum(interval.length for interval in intervals) / longest)
    plans = []
    for tried in (joint, joint // 2, 0):  # many short sentences: the joints would cost whole windows
        plans.append(_pack(intervals, seams, longest, tried))
        if len(plans[-1]) <= enough:
            break
    return min(plans, key=len)


def cut_fixed(total_samples: int, *, max_seconds: float = 29.0, overlap_seconds: float = 2.0) -> list[Chunk]:
    """Cut a whole recording into chunks of `max_seconds`, each repeating `overlap_seconds` of the one before."""
    longest = int(max_seconds * SAMPLE_RATE)
    step = longest - min(int(overlap_seconds * SAMPLE_RATE), longest // 4)
    count = max(1, math.ceil((total_samples - (longest - step)) / step)) if total_samples else 0
    return [
        Chunk(
            index=index,
            spans=(Span(start=index * step, end=min(index * step + longest, total_samples)),),
            overlaps_previous=index > 0,
        )
        for index in range(count)
    ]


def _join_near(speech: Sequence[Span], gap: int) -> list[Span]:
    """Return the intervals, one where the gap between two is at most `gap`."""
    joined: list[Span] = []
    for span in speech:
        if joined and span.start - joined[-1].end <= gap:
            joined[-1] = Span(start=joined[-1].start, end=max(span.end, joined[-1].end))
        elif span.length:
            joined.append(span)
    return joined


def _find_seams(
    intervals: list[Span], energies: FrameEnergies, longest: int, overlap: int, padding: int
) -> list[_Seam]:
    levels = energies.levels()
    seams = [_Seam(intervals[0].start, intervals[0].start, 0, 0, 0.0)]
    for number, interval in enumerate(intervals):
        seams.extend(_seams_inside(number, interval, levels, energies.frame_samples, longest, overlap))
        if number + 1 < len(intervals):
            following = intervals[number + 1]
            # The pause itself, not what its padding left of it: speech rests here longer than in any pause inside.
            price = _pause_price((following.start - interval.end + 2 * padding) / SAMPLE_RATE)
            seams.append(_Seam(interval.end, following.start, number, number + 1, price))
    last = len(intervals) - 1
    return [*seams, _Seam(intervals[-1].end, intervals[-1].end, last, last, 0.0)]


def _pause_price(seconds: float) -> float:
    return min(_DEAREST_PAUSE_PRICE, _DEAREST_PAUSE_SECONDS / max(seconds, 1e-3))


def _seams_inside(
    number: int, interval: Span, levels: npt.NDArray[np.float32], frame: int, longest: int, overlap: int
) -> list[_Seam]:
    """Return the seams inside an interval: its pauses, and the quietest points of what has none."""
    unbroken = int(longest * _UNBROKEN_SHARE)
    seams: list[_Seam] = []
    previous = interval.start
    for middle, seconds in [*_find_pauses(interval, levels, frame, longest), (interval.end, 0.0)]:
        if middle - previous > unbroken:
            for point in _quietest_points(previous, middle, levels, frame, longest // 29):
                seams.append(_Seam(point, max(interval.start, point - overlap), number, number, OVERLAP_PRICE))
        if middle < interval.end:
            seams.append(_Seam(middle, middle, number, number, _pause_price(seconds)))
        previous = middle
    return seams


def _find_pauses(interval: Span, levels: npt.NDArray[np.float32], frame: int, block: int) -> list[tuple[int, float]]:
    """Return the middle (sample) and length (seconds) of every pause inside an interval.

    Levels are compared within blocks of a chunk's length: a speaker may be quieter than the one an hour before.
    """
    pauses: list[tuple[int, float]] = []
    margin = _EDGE_MS * SAMPLE_RATE // (1000 * frame)
    first, end = interval.start // frame + margin, interval.end // frame - margin
    for start in range(first, end, block // frame):
        part = levels[start : min(start + block // frame, end)]
        high = float(np.percentile(part, 90))
        low = max(float(np.percentile(part, 1)), high - _GREATEST_RANGE_DB)
        if high - low < _LEAST_RANGE_DB:
            continue
        for begin, stop in runs(part < low + (high - low) / 4, bridge=1):
            length = stop - begin
            middle = (start + begin) * frame + length * frame // 2
            if length * frame * 1000 >= _PAUSE_MS * SAMPLE_RATE and interval.start < middle < interval.end:
                pauses.append((middle, length * frame / SAMPLE_RATE))
    return pauses


def _quietest_points(start: int, end: int, levels: npt.NDArray[np.float32], frame: int, block: int) -> list[int]:
    """Return the quietest point (middle of the quietest 50 ms) of every `block` samples strictly inside a stretch."""
    points: list[int] = []
    for begin in range(start + block, end - block // 2, block):
        first = begin // frame
        part = levels[first : (begin + block) // frame]
        if len(part) < 5:
            continue
        smooth = np.convolve(part, np.full(5, 0.2, np.float32), mode="valid")
        point = (first + int(smooth.argmin()) + 2) * frame + frame // 2
        if start < point < end and (not points or point > points[-1]):
            points.append(point)
    return points


def _pack(intervals: list[Span], seams: list[_Seam], longest: int, joint: int) -> list[Chunk]:
    """Choose the cheapest sequence of seams between which chunks are at most `longest`."""
    starts = np.array([interval.start for interval in intervals])
    before = np.concatenate(([0], np.cumsum([interval.length for interval in intervals])))[:-1]
    left_number = np.array([seam.left_interval for seam in seams])
    right_number = np.array([seam.right_interval for seam in seams])
    # Positions on a line on which only speech and joints take room.
    left = np.array([seam.left for seam in seams]) - starts[left_number] + before[left_number] + joint * left_number
    right = (
        np.array([seam.right for seam in seams]) - starts[right_number] + before[right_number] + joint * right_number
    )
    price = np.array([seam.price for seam in seams])
    best = np.full(len(seams), np.inf)
    best[0] = 0.0
    origin = np.zeros(len(seams), np.int64)
    for here in range(1, len(seams)):
        first = int(np.searchsorted(left[:here], left[here] - longest))
        length = left[here] - right[first:here]
        shortness = np.clip(1 - length / (_SHORT_SECONDS * SAMPLE_RATE), 0, 1) * _SHORT_PRICE
        total = best[first:here] + shortness
        # Both ends of a chunk lie after those of the chunk before it, overlaps included.
        total[(length > longest) | (length <= 0) | (right[here] <= right[first:here])] = np.inf
        choice = int(total.argmin())
        best[here] = total[choice] + 1 + price[here]
        origin[here] = first + choice
    return _build(intervals, seams, origin, joint)


def _build(intervals: list[Span], seams: list[_Seam], origin: npt.NDArray[np.int64], joint: int) -> list[Chunk]:
    """Follow the choices back from the end and make the chunks."""
    borders = [len(seams) - 1]
    while borders[-1] != 0:
        borders.append(int(origin[borders[-1]]))
    borders.reverse()
    chunks: list[Chunk] = []
    for index, (begin, end) in enumerate(itertools.pairwise(borders)):
        first, last = seams[begin], seams[end]
        spans = tuple(
            Span(
                start=max(interval.start, first.right) if number == first.right_interval else interval.start,
                end=min(interval.end, last.left) if number == last.left_interval else interval.end,
            )
            for number, interval in enumerate(
                intervals[first.right_interval : last.left_interval + 1], first.right_interval
            )
        )
        chunks.append(Chunk(index=index, spans=spans, joint=joint, overlaps_previous=first.right < first.left))
    return chunks
