"""The time line: what the engine said of a chunk, mapped back to the recording and made monotonic.

A chunk is spans of the source joined by short silences, so a time the engine gives may lie in a span, in a joint or
past the end. The time map decides, not the engine: every word lands in exactly one span (the one it overlaps most), a
line begins in the span of its first word and ends in the span of its last, and nothing begins or ends in silence that
was left out. Times are integer samples of the source (see `stt_core.audio.plan`) until the very end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span
from stt_core.transcript.document import ChunkSegment, ChunkTranscript, Word
from stt_core.transcript.text import split_at_words

#: A line with words on both sides of a dropped silence this long is broken there, in samples. After one second a
#: reader expects a new subtitle; shorter pauses stay inside a sentence.
BREAK_SAMPLES = 1 * SAMPLE_RATE

#: The shortest words are spoken in so much, samples.
LEAST_SAMPLES = round(0.06 * SAMPLE_RATE)

#: A span with the position in its chunk at which it begins.
Piece = tuple[int, Span]


@dataclass(slots=True)
class PlacedWord:
    """A word of the recording; `start` and `end` in source samples."""

    start: int
    end: int
    text: str
    probability: float


@dataclass(slots=True)
class Line:
    """A segment in the making; `start` and `end` in source samples."""

    start: int
    end: int
    text: str
    words: list[PlacedWord] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)


def place_chunk(chunk: Chunk, transcript: ChunkTranscript) -> list[Line]:
    """Return the lines of a chunk on the time line of the source, in the engine's order; blank ones are left out."""
    lines: list[Line] = []
    for segment in transcript.segments:
        if segment.text.strip():
            lines.extend(_place(segment, chunk))
    return lines


def without_words(line: Line, dropped: Collection[int]) -> Line:
    """Return the line without the words at these positions, their text, and the time they took at its ends."""
    kept = [position for position in range(len(line.words)) if position not in dropped]
    if len(kept) == len(line.words):
        return line
    words = [line.words[position] for position in kept]
    texts = split_at_words(line.text, [word.text for word in line.words])
    return Line(
        start=line.start if 0 in kept or not words else words[0].start,
        end=line.end if len(line.words) - 1 in kept or not words else words[-1].end,
        text="".join(texts[position] for position in kept).strip(),
        words=words,
        flags=line.flags,
    )


def straighten(lines: Sequence[Line], limit: int) -> None:
    """Make the times of one channel's lines monotonic and free of overlap, in place and inside `[0, limit]` samples.

    The order of the text is kept. Where two times disagree the start of the later word is right and the end of the
    earlier one gives way, since the engine's ends are the looser of the two; but no word loses all of its length.
    """
    # A line without words of its own counts as one word, so that its neighbours respect it.
    atoms: list[PlacedWord | Line] = []
    for line in lines:
        atoms.extend(line.words or [line])
    for item in (*atoms, *lines):
        item.start = min(max(item.start, 0), limit)
        item.end = min(max(item.end, item.start), limit)
    for before, after in pairwise(atoms):
        if isinstance(before, PlacedWord) and isinstance(after, PlacedWord):
            _part(before, after)
        after.start = max(after.start, before.start)
        after.end = max(after.end, after.start)
        before.end = min(before.end, after.start)
    earliest = 0
    for line in lines:
        if line.words:
            line.start = min(max(line.start, earliest), line.words[0].start)
            line.end = max(line.end, line.words[-1].end)
        earliest = line.words[-1].end if line.words else line.end
    for line, following in pairwise(lines):
        line.end = min(line.end, following.start)


def _part(before: PlacedWord, after: PlacedWord) -> None:
    """Let the later word begin where the earlier one still has the length of a short word, and it has some itself."""
    if after.end <= before.start:  # they share the time of the earlier one
        after.end = before.end
    begin = max(after.start, before.start)
    after.start = max(begin, min(before.start + LEAST_SAMPLES, before.end, (begin + after.end) // 2))


def _place(segment: ChunkSegment, chunk: Chunk) -> list[Line]:
    start, end = _samples(segment.start), _samples(segment.end)
    pieces = list(chunk.pieces())
    placed = [_place_word(word, pieces) for word in segment.words if word.text.strip()]
    if not placed:
        begin = chunk.to_source(start, "start")
        finish = max(begin, chunk.to_source(end, "end"))
        return [Line(begin, finish, segment.text.strip(), flags=list(segment.flags))]
    words = [word for _, word in placed]
    line = Line(
        start=min(_inside(placed[0][0], start), words[0].start),
        end=max(_inside(placed[-1][0], end), words[-1].end),
        text=segment.text.strip(),
        words=words,
        flags=list(segment.flags),
    )
    breaks = [
        position
        for position, ((left, _), (right, _)) in enumerate(pairwise(placed), start=1)
        if right[1].start - left[1].end >= BREAK_SAMPLES
    ]
    every = range(len(words))
    return [
        without_words(line, {position for position in every if not first <= position < last})
        for first, last in pairwise([0, *breaks, len(words)])
    ]


def _place_word(word: Word, pieces: Sequence[Piece]) -> tuple[Piece, PlacedWord]:
    start, end = _samples(word.start), _samples(word.end)

    def overlap(piece: Piece) -> int:  # negative: how far away the word is
        begin, span = piece
        return min(end, begin + span.length) - max(start, begin)

    home = max(pieces, key=overlap)
    begin = _inside(home, start)
    return home, PlacedWord(begin, max(begin, _inside(home, end)), word.text.strip(), word.probability)


def _inside(piece: Piece, position: int) -> int:
    """Map a position in the chunk to the source, held inside one span."""
    begin, span = piece
    return span.start + min(max(position - begin, 0), span.length)


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)
