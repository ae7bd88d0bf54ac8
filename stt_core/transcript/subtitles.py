"""The cues of subtitles: what is shown when, and, where a width is asked for, in lines that fit it.

A cue that needs more lines than may stand at once becomes several, each from the time of its first word to that of its
last; where the engine told no words apart, the time of a segment is shared out among its characters.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from stt_core.logs import get_logger, logged
from stt_core.transcript.models import Segment

logger = get_logger(__name__)


@dataclass(frozen=True)
class CueLayout:
    """How wide and how high a cue may be.

    Args:
        max_line_width: Characters in a line; None for any number.
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


@logged
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


@logged
def one_line(text: str) -> str:
    """Return a text without line ends and tabs, which would end a cue or a column."""
    return " ".join(text.split())


def _fitted(segment: Segment, text: str, begin: int, layout: CueLayout) -> Iterator[tuple[float, float, list[str]]]:
    """Yield start, end (seconds) and lines of the cues of a segment, whose own words start at `begin` of the text."""
    if layout.max_line_width is None:
        yield segment.start, segment.end, [text]
        return
    lines = textwrap.wrap(text, layout.max_line_width, break_on_hyphens=False)
    height = layout.max_line_count or len(lines)
    places, times = _places(segment, text, begin)
    position = 0
    for first in range(0, len(lines), height):
        shown = lines[first : first + height]
        start = position
        for line in shown:
            position = text.index(line, position) + len(line)
        # The first cue begins and the last ends with the segment, so that together they show as long as it does.
        yield (
            segment.start if first == 0 else float(np.interp(start + 1, places, times)),
            segment.end if first + height >= len(lines) else float(np.interp(position, places, times)),
            shown,
        )


def _places(segment: Segment, text: str, begin: int) -> tuple[list[int], list[float]]:
    """Return at which characters of the text it is what time, in order."""
    tokens = text[begin:].split()
    if len(tokens) != len(segment.words):
        return [begin, len(text)], [segment.start, segment.end]
    places, times, position = [], [], begin
    for token, word in zip(tokens, segment.words, strict=True):
        places += [position, position + len(token)]
        times += [word.start, word.end]
        position += len(token) + 1
    return places, times
