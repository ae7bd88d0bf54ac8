"""Seams: words that two chunks both heard where their audio overlaps.

Where speech had no pause to cut at, a chunk begins before the end of the previous one, and both transcribe the audio
they share. The shared words are found by aligning the two texts on words and times, and one copy of each is dropped. A
word is dropped only when its twin is kept: in doubt a word appears twice rather than never. Lines to which the
engine gave no words are left alone.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from stt_core.audio.plan import SAMPLE_RATE
from stt_core.logs import get_logger
from stt_core.transcript.text import bare
from stt_core.transcript.timeline import Line, PlacedWord, without_words

logger = get_logger(__name__)

#: Two hearings of one word differ by less than this, in samples: the engine's times go astray by most of a second
#: where a chunk cuts into a sentence.
SAME_WORD_SAMPLES = SAMPLE_RATE


class _Heard(NamedTuple):
    """A word of the shared audio: where it stands, and what it is compared by."""

    line: int
    position: int
    key: str
    word: PlacedWord


def drop_doubled_words(
    previous: list[Line], current: list[Line], start: int, end: int
) -> tuple[list[Line], list[Line], int]:
    """Keep one copy of every word that two neighbouring chunks both heard.

    Args:
        previous: Lines of the earlier chunk.
        current: Lines of the later chunk.
        start: Where the shared audio begins, in source samples.
        end: Where it ends.

    Returns:
        The lines of both chunks, and how many words were dropped. A line that lost all its words is gone.
    """
    tail, head = _words_between(previous, start, end), _words_between(current, start, end)
    pairs = _align(tail, head)
    seam = _choose_seam(pairs, tail, head, (start + end) // 2)
    dropped_early = {tail[i][:2] for i, _ in pairs[seam:]}
    dropped_late = {head[j][:2] for _, j in pairs[:seam]}
    unpaired = [len(words) - len(pairs) for words in (tail, head)]
    report = logger.warning if all(unpaired) else logger.debug
    report(
        "seam at {:.2f}-{:.2f} s: {} doubled words removed, kept {} only the first chunk heard, {} only the second",
        start / SAMPLE_RATE,
        end / SAMPLE_RATE,
        len(pairs),
        *unpaired,
    )
    return _without(previous, dropped_early), _without(current, dropped_late), len(pairs)


def _words_between(lines: list[Line], start: int, end: int) -> list[_Heard]:
    return [
        _Heard(number, position, _key(word.text), word)
        for number, line in enumerate(lines)
        for position, word in enumerate(line.words)
        if word.end > start and word.start < end
    ]


def _key(text: str) -> str:
    """Reduce a word to what two hearings of it share: neither case nor punctuation."""
    return bare(text).replace("'", "") or text


def _align(tail: list[_Heard], head: list[_Heard]) -> list[tuple[int, int]]:
    """Pair equal words in order so that the sum of their likeness is greatest.

    The longest common subsequence with times: of two readings of "no no no" the one that agrees in time wins.
    """
    best = [[0] * (len(head) + 1) for _ in range(len(tail) + 1)]
    for i in reversed(range(len(tail))):
        for j in reversed(range(len(head))):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + _likeness(tail[i], head[j]))
    pairs = []
    i = j = 0
    while i < len(tail) and j < len(head):
        if best[i][j] == best[i + 1][j]:
            i += 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            pairs.append((i, j))
            i, j = i + 1, j + 1
    return pairs


def _likeness(one: _Heard, other: _Heard) -> int:
    """Return how surely two words are one; 0 where they are not.

    The square makes one pair that agrees in time worth more than two that are both off by the next repetition.
    """
    return max(0, SAME_WORD_SAMPLES - abs(one.word.start - other.word.start)) ** 2 if one.key == other.key else 0


def _choose_seam(pairs: list[tuple[int, int]], tail: list[_Heard], head: list[_Heard], middle: int) -> int:
    """Return how many pairs keep their earlier copy; the rest keep the later one.

    An unpaired word must not end up on the wrong side of its neighbours; apart from that the seam lies in the middle of
    the shared audio, where both chunks heard the words before and after.
    """
    by_time = sum(tail[i].word.start < middle for i, _ in pairs)

    def misplaced(seam: int) -> int:
        late_in_tail = len(tail) - 1 - pairs[seam][0] - (len(pairs) - 1 - seam) if seam < len(pairs) else 0
        early_in_head = pairs[seam - 1][1] - (seam - 1) if seam else 0
        return late_in_tail + early_in_head

    return min(range(len(pairs) + 1), key=lambda seam: (misplaced(seam), abs(seam - by_time)))


def _without(lines: list[Line], dropped: Collection[tuple[int, int]]) -> list[Line]:
    kept = [
        without_words(line, {position for owner, position in dropped if owner == number})
        for number, line in enumerate(lines)
    ]
    return [line for line, original in zip(kept, lines, strict=True) if line.words or not original.words]
