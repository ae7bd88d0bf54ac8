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

from stt_core.audio.plan import SAMPLE_RATE, Chunk
from stt_core.audio.stretches import Samples, Stretch, find_stretches
from stt_core.transcript.document import ChunkTranscript
from stt_core.transcript.held import USUAL_SECONDS
from stt_core.transcript.sentences import Border, Spoken, border, group_sentences, spoken_words
from stt_core.transcript.timeline import LEAST_SAMPLES

#: Prices are seconds that one word lies away from where the engine heard it: so much at the most, since times that are
#: further off are wrong altogether.
_MOST_AWAY = 1.0
#: A second by which a stretch is longer, or shorter, than its letters are spoken in, beyond a share of the stretch,
#: costs so much.
_SLOW, _FAST, _TEMPO_TOLERANCE = 0.8, 0.5, 0.2
#: A stretch without words costs this at most, and nothing where a sentence ends: engines leave whole sentences out.
_LEFT_OUT = 0.5
#: Of a noise before a sentence, or a breath, which lasts less, the pause before it counts too, so many seconds at the
#: most: more would draw a sentence away over many of them.
_NOISE_SECONDS, _MOST_NOISE_PAUSE = 0.5, 0.5
#: A second of words that have no room in their stretch costs so much,
_CROWD = 20.0
#: and one of a pause inside a word that is longer than a stop consonant takes; so many stretches at most are one.
_SPLIT, _CLOSURE_SECONDS, _MOST_SPLIT = 1.5, 0.12, 4
#: What a pause saves by what the text says of its place, and as much again for each of its first seconds.
_SAVED = {Border.SENTENCE: 0.9, Border.SEGMENT: 0.6, Border.PART: 0.45, Border.CAPITAL: 0.2, Border.NONE: 0.0}
_MOST_PAUSE = 3.0
#: A first word that the engine heard so much later than its stretch begins, seconds, does not begin with it, since
#: sounds that are no words ("uh") may be there; nor does a last word end with it that is so much earlier.
_SNAP_START_SECONDS, _SNAP_END_SECONDS = 0.8, 0.5

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Share:
    """The words from `start` to `end` (exclusive) are spoken in the stretches from `first` to `last` (inclusive)."""

    first: int
    last: int
    start: int
    end: int


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
    words = [word for number, segment in enumerate(said) for word in spoken_words(segment, number)]
    stretches = find_stretches(chunk, samples)
    placed: list[Spoken] = []
    reached = 0
    for share in _share_out(words, stretches):
        silent = stretches[reached + 1 : share.first + 1] if placed else []
        pause = sum(stretch.pause for stretch in silent) / SAMPLE_RATE
        placed += _fit(words[share.start : share.end], stretches[share.first], stretches[share.last], pause)
        reached = share.last
    segments = group_sentences(placed, [segment.flags for segment in said])
    return transcript.model_copy(update={"segments": segments})


def _share_out(words: Sequence[Spoken], stretches: Sequence[Stretch]) -> list[_Share]:
    """Share the words out among the stretches, in order, at the lowest price."""
    prices = _Prices(words, stretches)
    count = len(words)
    best = np.full((len(stretches) + 1, count + 1), np.inf)
    best[0, 0] = 0.0
    chosen = np.zeros((len(stretches) + 1, count + 1, 2), int)
    for last in range(len(stretches)):
        for first in range(last, max(-1, last - _MOST_SPLIT), -1):
            if first < last and stretches[first + 1].after_joint:
                break
            price = best[first][:, None] + prices.of(first, last)
            start = price.argmin(axis=0)
            lowest = price[start, np.arange(count + 1)]
            better = lowest < best[last + 1]
            best[last + 1][better] = lowest[better]
            chosen[last + 1][better] = np.stack((np.full(count + 1, first), start), axis=1)[better]
    shares: list[_Share] = []
    behind, end = len(stretches), count
    while behind:
        first, begin = (int(number) for number in chosen[behind, end])
        shares.append(_Share(first, behind - 1, begin, end))
        behind, end = first, begin
    return [share for share in reversed(shares) if share.start < share.end]


class _Prices:
    """What it costs that words are spoken in stretches: tables by the first word (row) and the one behind the last."""

    def __init__(self, words: Sequence[Spoken], stretches: Sequence[Stretch]) -> None:
        self._stretches = stretches
        starts, ends = _times(words)
        # What lasts longer than words do is the wait for a word, which is spoken at its end.
        self._middles = (ends - np.minimum(ends - starts, USUAL_SECONDS * SAMPLE_RATE) / 2) / SAMPLE_RATE
        letters = np.array([_letters(word.text) for word in words])
        self._seconds = np.array([one.length if one.is_heard else 0 for one in stretches]) / SAMPLE_RATE
        # Of all speech, unless the engine's words are shorter: then it has left some out.
        tempo = min(self._seconds.sum() / letters.sum(), float(np.median((ends - starts) / letters)) / SAMPLE_RATE)
        self._spoken_in = _between(tempo * letters)
        self._least = _between(np.full(len(words), LEAST_SAMPLES / SAMPLE_RATE))
        saved = [_SAVED[border(before, after)] for before, after in pairwise(words)]
        self._saved = np.array([0.0, *saved, 0.0])

    def of(self, first: int, last: int) -> _Floats:
        """Return what words cost in the stretches from `first` to `last`, which are spoken as one."""
        begin, end = self._stretches[first].start / SAMPLE_RATE, self._stretches[last].end / SAMPLE_RATE
        price = _between(np.maximum(begin - self._middles, self._middles - end).clip(0, _MOST_AWAY))
        length = self._seconds[first : last + 1].sum()
        if length:
            off = length - self._spoken_in
            price += np.where(off > 0, _SLOW, _FAST) * np.maximum(0, np.abs(off) - _TEMPO_TOLERANCE * length)
        price += _CROWD * np.maximum(0, self._least - (end - begin))
        for inner in self._stretches[first + 1 : last + 1]:
            price += _SPLIT * max(0.0, inner.pause / SAMPLE_RATE - _CLOSURE_SECONDS)
        pause = min(self._stretches[first].pause / SAMPLE_RATE, _MOST_PAUSE)
        if pause:
            price -= (self._saved * (1 + pause))[:, None]
        price[np.tril_indices_from(price, -1)] = np.inf
        left_out = min(_SLOW * length, _LEFT_OUT) * (1 - self._saved / _SAVED[Border.SENTENCE])
        if 0 < length < _NOISE_SECONDS:
            left_out -= self._saved * min(pause, _MOST_NOISE_PAUSE)
        np.fill_diagonal(price, np.inf if first < last else left_out)
        return price


def _between(values: _Floats) -> _Floats:
    """Return the sums of values from one position (row) up to another."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    return sums - sums[:, None]


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
    least = min(LEAST_SAMPLES, (end - begin) // count)
    starts, ends = _times(words)
    middles = (starts + ends) / 2
    letters = np.array([_letters(word.text) for word in words])
    edges = begin + (end - begin) * np.concatenate(([0], np.cumsum(letters))) / letters.sum()
    # Words that the engine heard elsewhere take as much of the stretch as their letters are of its text.
    elsewhere = (middles < begin) | (middles > end)
    starts = np.where(elsewhere, edges[:-1], starts)
    ends = np.where(elsewhere, edges[1:], ends)
    if first.is_heard and starts[0] < begin + _SNAP_START_SECONDS * SAMPLE_RATE:
        starts[0] = begin
    if last.is_heard and ends[-1] > end - _SNAP_END_SECONDS * SAMPLE_RATE:
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
