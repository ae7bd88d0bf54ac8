"""Repetition loops: the same few words over and over, the way a speech decoder fails when its attention jumps back.

"… at ten thirty five in the city at ten thirty five in the morning" is a run of 15 words with the period 7. People
repeat themselves too ("eight one eight one", "no no no"), so the shorter the period, the more repeats it takes.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from stt_core.transcript.text import bare

#: Longest period looked for, words; a window of 30 s holds some 100.
MAX_PERIOD = 40
#: How often a period of 1, 2, 3 and 4 words must be said to count as a loop; longer ones twice.
_SHORT_PERIODS = {1: 6, 2: 4, 3: 3, 4: 3}
_OTHER_PERIODS = 2


@dataclass(frozen=True)
class Repetition:
    """Words `start` to `end` (exclusive) repeat themselves every `period` words."""

    start: int
    end: int
    period: int


def find_repetitions(words: Sequence[str]) -> list[Repetition]:
    """Return the loops in a sequence of words, in order, none overlapping another; case and punctuation are ignored.

    Args:
        words: The words of one chunk or text.
    """
    spoken = [bare(word) for word in words]
    found: list[Repetition] = []
    for period in range(1, min(MAX_PERIOD, len(spoken) // 2) + 1):
        needed = _SHORT_PERIODS.get(period, _OTHER_PERIODS) * period
        for start, end in _runs(spoken, period):
            if end - start >= needed and not any(start < other.end and other.start < end for other in found):
                found.append(Repetition(start, end, period))
    return sorted(found, key=lambda repetition: repetition.start)


def compression_ratio(text: str) -> float:
    """Return the length of a text over that of the text compressed: high where it repeats itself."""
    plain = text.encode()
    return len(plain) / len(zlib.compress(plain))


def _runs(words: Sequence[str], period: int) -> list[tuple[int, int]]:
    """Return the longest stretches in which every word equals the one a period before."""
    runs = []
    begin = None
    for position in range(len(words) - period + 1):
        same = position + period < len(words) and words[position] == words[position + period]
        if same and begin is None:
            begin = position
        elif not same and begin is not None:
            runs.append((begin, position + period))
            begin = None
    return runs
