"""Placing: the words of a chunk where they are heard.

The engine's times come from its attention, or from guesses between its time tokens. They are good to a tenth of a
second within a sentence, and go astray where speakers pause, by as much as was left out there. The sound knows the
pauses. So each stretch of speech between two pauses gets the words that fit it best, in order: by the engine's times,
by how many letters are spoken in so much time, and by the text, since people pause at the ends of sentences. One
dynamic program over the chunk finds the best of all ways to share them out. Then the first word of a stretch begins
with it, the last ends with it, and no word reaches out of it.

No word is lost, changed or moved past another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stt_core.audio.models import SAMPLE_RATE, Chunk
from stt_core.audio.stretches import Samples, Stretch, find_stretches
from stt_core.logs import logged
from stt_core.transcript.models import ChunkSegment, ChunkTranscript
from stt_core.transcript.sentences import Border, Spoken, border, group_sentences
from stt_core.transcript.text import find_words

#: A word has room for so much, seconds: the shortest are spoken in as little.
LEAST_SECONDS = 0.06
#: Prices are seconds that one word lies away from where the engine heard it: so much at the most, since times that are
#: further off are wrong altogether. A second by which a stretch is longer or shorter than what its letters are spoken
#: in, beyond a share of the stretch, costs so much;
_MOST_AWAY, _TEMPO, _TEMPO_TOLERANCE = 1.0, 0.5, 0.2
#: each second of words that have no room in their stretch;
_CROWD = 20.0
#: each second of a pause inside a word that is longer than a stop consonant takes; so many stretches at most are one.
_SPLIT, _CLOSURE_SECONDS, _MOST_SPLIT = 1.5, 0.12, 4
#: What a pause saves by what the text says of its place, and as much again for each of its first seconds.
_SAVED = {Border.SENTENCE: 0.6, Border.PART: 0.3, Border.CAPITAL: 0.15}
_MOST_PAUSE = 3.0
#: A first word that the engine heard so much later than its stretch begins, seconds, is not spread over that, nor is a
#: last one: sounds that are no words ("uh") may be there.
_SNAP_SECONDS = 1.0

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Share:
    """The words from `start` to `end` (exclusive) are spoken in the stretches from `first` to `last` (inclusive)."""

    first: int
    last: int
    start: int
    end: int


@logged
def place_words(transcript: ChunkTranscript, chunk: Chunk, samples: Samples) -> ChunkTranscript:
    """Return the text of a chunk with every word where it is heard, in segments that are sentences.

    Args:
        transcript: What the engine said, times from the start of the chunk. One that has a segment without words is
            returned as it is: there is nothing to place.
        chunk: What the sound is made of.
        samples: Of the chunk as the engine heard it: 16 kHz, mono.
    """
    said = [segment for segment in transcript.segments if segment.text.strip()]
    if not said or not all(any(word.text.strip() for word in segment.words) for segment in said):
        return transcript
    words = [word for number, segment in enumerate(said) for word in _spoken(segment, number)]
    stretches = find_stretches(chunk, samples)
    shares = _share_out(words, stretches)
    placed: list[Spoken] = []
    reached = 0
    for share in shares:
        if share.start == share.end:
            continue
        pause = (
            sum(stretch.pause for stretch in stretches[reached + 1 : share.first + 1]) / SAMPLE_RATE if placed else 0.0
        )
        placed += _fit(words[share.start : share.end], stretches[share.first], stretches[share.last], pause)
        reached = share.last
    segments = group_sentences(placed, [segment.flags for segment in said])
    return transcript.model_copy(update={"segments": segments})


def _spoken(segment: ChunkSegment, number: int) -> list[Spoken]:
    """Return the words of a segment, each with the spacing and punctuation that follow it there."""
    words = [word for word in segment.words if word.text.strip()]
    starts = find_words(segment.text, (word.text for word in words))
    if starts is None:  # the engine's words are not its text: spaces between them are the best guess
        return [Spoken(word, f"{word.text} ", number) for word in words]
    edges = [0, *starts[1:], len(segment.text)]
    return [
        Spoken(word, segment.text[begin:end], number) for word, (begin, end) in zip(words, pairwise(edges), strict=True)
    ]


def _share_out(words: Sequence[Spoken], stretches: Sequence[Stretch]) -> list[_Share]:
    """Share the words out among the stretches, in order, at the lowest price."""
    count = len(words)
    starts, ends = _times(words)
    middles = (starts + ends) / 2 / SAMPLE_RATE
    letters = np.array([_letters(word.text) for word in words])
    saved = np.zeros(count + 1)
    saved[1:-1] = [_SAVED.get(border(before, after), 0.0) for before, after in pairwise(words)]
    seconds = np.array([stretch.length if stretch.is_heard else 0 for stretch in stretches]) / SAMPLE_RATE
    # Of all speech, unless the engine's words are shorter: then it has left some out.
    tempo = min(seconds.sum() / letters.sum(), float(np.median((ends - starts) / letters)) / SAMPLE_RATE)
    spoken_in = np.concatenate(([0], np.cumsum(letters))) * tempo
    spoken_in = spoken_in - spoken_in[:, None]
    crowded = (np.arange(count + 1) - np.arange(count + 1)[:, None]) * LEAST_SECONDS
    backwards = crowded < 0
    best = np.full((len(stretches) + 1, count + 1), np.inf)
    best[0, 0] = 0.0
    chosen = np.zeros((len(stretches) + 1, count + 1, 2), int)
    for last in range(len(stretches)):
        for first in range(last, max(-1, last - _MOST_SPLIT), -1):
            if first < last and stretches[first + 1].after_joint:
                break
            begin, end = stretches[first].start / SAMPLE_RATE, stretches[last].end / SAMPLE_RATE
            away = np.concatenate(([0], np.cumsum(np.maximum(begin - middles, middles - end).clip(0, _MOST_AWAY))))
            length = seconds[first : last + 1].sum()
            gain = saved * (1 + min(stretches[first].pause / SAMPLE_RATE, _MOST_PAUSE)) if first else 0.0
            price = (best[first] - gain)[:, None] + (away - away[:, None])
            if length:
                price += _TEMPO * np.maximum(0, np.abs(length - spoken_in) - _TEMPO_TOLERANCE * length)
            price += _CROWD * np.maximum(0, crowded - (end - begin))
            for inner in stretches[first + 1 : last + 1]:
                price += _SPLIT * max(0.0, inner.pause / SAMPLE_RATE - _CLOSURE_SECONDS)
            price[backwards] = np.inf
            if first < last:
                np.fill_diagonal(price, np.inf)
            start = price.argmin(axis=0)
            lowest = price[start, np.arange(count + 1)]
            better = lowest < best[last + 1]
            best[last + 1][better] = lowest[better]
            chosen[last + 1][better] = np.stack((np.full(count + 1, first), start), axis=1)[better]
    shares: list[_Share] = []
    last, end_word = len(stretches), count
    while last:
        first, start_word = (int(number) for number in chosen[last, end_word])
        shares.append(_Share(first, last - 1, start_word, end_word))
        last, end_word = first, start_word
    return shares[::-1]


def _times(words: Sequence[Spoken]) -> tuple[_Floats, _Floats]:
    """Return the engine's starts and ends in samples, none before one of an earlier word."""
    starts = np.maximum.accumulate([word.word.start for word in words]) * SAMPLE_RATE
    ends = np.maximum.accumulate([word.word.end for word in words]) * SAMPLE_RATE
    return starts, np.maximum(starts, ends)


def _letters(text: str) -> int:
    """Return how long a word takes, in letters; a little even without any."""
    return 1 + sum(map(str.isalnum, text))


def _fit(words: Sequence[Spoken], first: Stretch, last: Stretch, pause: float) -> list[Spoken]:
    """Return the words within their stretches, `pause` seconds after the words before them."""
    count, begin, end = len(words), first.start, last.end
    least = min(round(LEAST_SECONDS * SAMPLE_RATE), (end - begin) // count)
    starts, ends = _times(words)
    middles = (starts + ends) / 2
    letters = np.array([_letters(word.text) for word in words])
    edges = begin + (end - begin) * np.concatenate(([0], np.cumsum(letters))) / letters.sum()
    # Words that the engine heard elsewhere take as much of the stretch as their letters are of its text.
    elsewhere = (middles < begin) | (middles > end)
    starts = np.where(elsewhere, edges[:-1], starts)
    ends = np.where(elsewhere, edges[1:], ends)
    if first.is_heard and starts[0] < begin + _SNAP_SECONDS * SAMPLE_RATE:
        starts[0] = begin
    if last.is_heard and ends[-1] > end - _SNAP_SECONDS * SAMPLE_RATE:
        ends[-1] = end
    before, behind = least * np.arange(count), least * np.arange(count, 0, -1)
    starts = np.maximum.accumulate(np.maximum(starts.round().astype(int), begin) - before) + before
    starts = np.minimum.accumulate(np.minimum(starts + behind, end)[::-1])[::-1] - behind
    ends = np.minimum(np.maximum(ends.round().astype(int), starts + least), [*starts[1:], end])
    return [
        replace(
            spoken,
            word=spoken.word.model_copy(update={"start": int(start) / SAMPLE_RATE, "end": int(stop) / SAMPLE_RATE}),
            pause=0.0 if number else pause,
        )
        for number, (spoken, start, stop) in enumerate(zip(words, starts, ends, strict=True))
    ]
