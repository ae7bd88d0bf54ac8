"""Sentences: the words of a chunk grouped into segments, as subtitles and readers want them.

A segment ends with a sentence, or at a pause of the speaker where the text has no ends of sentences, and lasts 1 to 15
seconds where text and pauses allow. One dynamic program over the chunk weighs that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from stt_core.audio.plan import SAMPLE_RATE
from stt_core.transcript.document import ChunkSegment, Word
from stt_core.transcript.text import split_at_words
from stt_core.transcript.timeline import BREAK_SAMPLES

#: Segments last so long, seconds, where text and pauses allow.
_SHORTEST, _LONGEST = 1.0, 15.0
#: What a segment costs: by itself, and for each second that it is shorter or longer than that.
_SEGMENT, _SHORT, _LONG = 0.45, 2.0, 1.0
#: What a segment gains for each second of the pause before it, up to one.
_PAUSE = 1.2
#: A short word with a capital and a dot ("Mr.", "H.") ends a sentence only where a pause follows.
_ABBREVIATION_LETTERS = 4

_SENTENCE_ENDS = frozenset(".?!…。？！؟۔।။።")
_PART_ENDS = frozenset(",;:、，；：،؛–—-")
_OPENING = "\"'“‘„«([{「『（【¿¡"
_CLOSING = "\"'”’“»)]}」』）】"


class Border(Enum):
    """What the text says of the place between two words."""

    SENTENCE = "a sentence ends"
    SEGMENT = "the engine began another segment"
    PART = "a part of a sentence ends"
    CAPITAL = "a capital follows"
    NONE = "nothing"


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word of a chunk.

    `text` is the word with what follows it in its segment of the engine, whose number is `segment`; `pause` is how long
    the speaker is silent before it, seconds of the source.
    """

    word: Word
    text: str
    segment: int
    pause: float = 0.0


#: What a segment gains by what the text says of the place before it.
_GAINS = {Border.SENTENCE: 1.0, Border.SEGMENT: 0.2, Border.PART: 0.2, Border.CAPITAL: 0.1, Border.NONE: 0.0}


def spoken_words(segment: ChunkSegment, number: int) -> list[Spoken]:
    """Return the words of a segment, each with the spacing and punctuation that follow it there."""
    words = [word for word in segment.words if word.text.strip()]
    texts = split_at_words(segment.text, [word.text for word in words])
    return [Spoken(word, text, number) for word, text in zip(words, texts, strict=True)]


def border(before: Spoken, after: Spoken) -> Border:
    """Return what the text says of the place between two words."""
    end, begin = before.text.rstrip().rstrip(_CLOSING), after.text.lstrip().lstrip(_OPENING)
    if end and end[-1] in _SENTENCE_ENDS and (before.segment != after.segment or not begin[:1].islower()):
        is_abbreviation = end[-1] == "." and end[0].isupper() and len(end) <= _ABBREVIATION_LETTERS
        return Border.PART if is_abbreviation and not after.pause else Border.SENTENCE
    if before.segment != after.segment:
        return Border.SEGMENT
    if end and end[-1] in _PART_ENDS | _SENTENCE_ENDS:
        return Border.PART
    return Border.CAPITAL if begin[:1].isupper() and begin.split("'")[0] != "I" else Border.NONE


def group_sentences(words: Sequence[Spoken], flags: Sequence[Sequence[str]]) -> list[ChunkSegment]:
    """Group the words of a chunk into segments.

    Args:
        words: In order, with the times that they shall have.
        flags: Of each segment of the engine; a new segment has those of all that it is made of.
    """
    gains = {
        number: gain + _PAUSE * min(after.pause, 1.0)
        for number, (before, after) in enumerate(pairwise(words), start=1)
        if (gain := _GAINS[border(before, after)]) or after.pause
    }
    places = [0, *gains, len(words)]
    best, origin = [0.0], [0]
    for end in range(1, len(places)):
        prices = []
        for start in range(end - 1, -1, -1):
            first = words[places[start]]
            seconds = words[places[end] - 1].word.end - first.word.start
            off = _SHORT * max(0.0, _SHORTEST - seconds) + _LONG * max(0.0, seconds - _LONGEST)
            prices.append((best[start] + _SEGMENT + off - gains.get(places[start], 0.0), start))
            if first.pause * SAMPLE_RATE >= BREAK_SAMPLES:
                break
        price, chosen = min(prices)
        best.append(price)
        origin.append(chosen)
    cuts = [len(places) - 1]
    while cuts[-1]:
        cuts.append(origin[cuts[-1]])
    return [_segment(words[places[start] : places[end]], flags) for start, end in pairwise(reversed(cuts))]


def _segment(words: Sequence[Spoken], flags: Sequence[Sequence[str]]) -> ChunkSegment:
    text = words[0].text
    for before, after in pairwise(words):
        text += after.text if before.segment == after.segment else f" {after.text}"
    numbers = dict.fromkeys(spoken.segment for spoken in words)
    return ChunkSegment(
        start=words[0].word.start,
        end=words[-1].word.end,
        text=" ".join(text.split()),
        words=[spoken.word for spoken in words],
        flags=list(dict.fromkeys(flag for number in numbers for flag in flags[number])),
    )
