"""The cues of subtitles: what is shown when, and, where a width is asked for, in lines that fit it.

A cue that needs more lines than may stand at once becomes several, each from the time of its first word to that of its
last; the time of a word that is cut, or of a segment whose words the engine did not tell apart, is shared out among its
characters.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from stt_core.logs import get_logger
from stt_core.transcript.document import Segment
from stt_core.transcript.lines import wrap
from stt_core.transcript.text import find_words, one_line

logger = get_logger(__name__)


@dataclass(frozen=True)
class CueLayout:
    """How wide and how high a cue may be.

    Args:
        max_line_width: Columns in a line, of which a wide character takes two; None for any number.
        max_line_count: Lines shown at once; None for any number. Counts only where there is a width.
    """

    max_line_width: int | None = None
    max_line_count: int | None = None


@dataclass(frozen=True)
class Cue:
    """Lines of text, shown from `start` to `end` (milliseconds)."""

    start: int
    end: int
    lines: list[str]
    speaker: str | None


def cues(segments: Iterable[Segment], layout: CueLayout, *, name_speakers: bool) -> Iterator[Cue]:
    """Yield the cues of segments; players refuse those without text and those that end as they begin.

    Args:
        segments: What is shown, by start.
        layout: The room for it.
        name_speakers: Whether the text itself begins with its speaker, where there is one.
    """
    for segment in segments:
        text = one_line(segment.text)
        if not text:
            continue
        said_by = f"{segment.speaker}: " if name_speakers and segment.speaker else ""
        for start, end, lines in _fitted(segment, said_by + text, len(said_by), layout):
            begin = round(start * 1000)
            yield Cue(begin, max(round(end * 1000), begin + 1), lines, segment.speaker)


def _fitted(segment: Segment, text: str, begin: int, layout: CueLayout) -> Iterator[tuple[float, float, list[str]]]:
    """Yield start, end (seconds) and lines of the cues of a segment, whose own words start at `begin` of the text."""
    if layout.max_line_width is None:
        yield segment.start, segment.end, [text]
        return
    lines = list(wrap(text, layout.max_line_width))
    height = layout.max_line_count or len(lines)
    words = _timed(segment, text, begin)
    for first in range(0, len(lines), height):
        shown = lines[first : first + height]
        # The first cue begins and the last ends with the segment, so that together they show as long as it does.
        yield (
            segment.start if first == 0 else _said(shown[0][0], words, bisect_right),
            segment.end if first + height >= len(lines) else _said(shown[-1][1], words, bisect_left),
            [text[start:end] for start, end in shown],
        )


@dataclass(frozen=True)
class _Timed:
    """A word at its place in a text: characters `begin` to `end` are said from `start` to `stop` (seconds)."""

    begin: int
    end: int
    start: float
    stop: float


def _timed(segment: Segment, text: str, begin: int) -> list[_Timed]:
    """Return the words of a segment at their places in the text; all of it as one where they are not to be found."""
    places = find_words(text[begin:], (word.text for word in segment.words))
    if not places:
        return [_Timed(begin, len(text), segment.start, segment.end)]
    return [
        _Timed(begin + place, begin + place + len(word.text), word.start, word.end)
        for place, word in zip(places, segment.words, strict=True)
    ]


def _said(position: int, words: list[_Timed], bisect: Callable[..., int]) -> float:
    """Return when a position of the text is reached: by the word that ends there, or (`bisect_right`) begins there."""
    word = words[max(bisect(words, position, key=attrgetter("begin")) - 1, 0)]
    share = (position - word.begin) / (word.end - word.begin)
    return word.start + (word.stop - word.start) * min(max(share, 0.0), 1.0)
