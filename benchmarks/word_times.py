"""How far the words of a transcript lie from where they were said.

Words are matched with those of the truth by the alignment with the fewest errors, without case and punctuation, of the
text as it was written: the normalisers that word errors are counted with delete words in brackets, and what follows
would pass for the first word of its sentence. Of alignments with equally many errors it is the one whose words lie
nearest: where a system leaves a sentence out, the "the" of the next one is not that of the one it left out. Of a script
without spaces each character counts as a word.

The truth can be at fault where a clip begins with a click, or with half a second hardly above the floor. So its onset
stands, unless sound that goes on is heard to begin much later; and where nothing is heard (masked by noise), the
sentence has no onset.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
from scoring import Sentence, Truth, split_words, words_in_silence

from stt_core.audio.silence import runs
from stt_core.transcript.document import ChunkSegment

Levels = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

#: Length of a frame of `Levels`, seconds.
FRAME_SECONDS = 0.01
#: A word further than this from its sentence, seconds, is shown at the wrong time.
OUTSIDE_SECONDS = 0.5
#: What a second that a word lies away costs its match, where another word costs 1, and how many count at the most: a
#: recording of ten thousand words has no error more for it.
_PER_SECOND, _MOST_FAR = 1e-6, 60.0
#: Sound is heard this share of the way from the floor up to speech, at least so many dB above it, for so many frames
#: (less is a click). Speech spans 45 dB: a lower floor is digital silence.
_HEARD_SHARE, _HEARD_DB, _HEARD_FRAMES = 0.3, 6.0, 3
#: A sound of less than so many frames, with no other for so many behind it, is a click and begins no sentence: after a
#: consonant and a stop of the mouth comes a vowel.
_CLICK_FRAMES, _ALONE_FRAMES = 10, 30
_SPEECH_RANGE_DB = 45.0
#: The floor is that of so much before a sentence, up to so much before it, seconds.
_FLOOR_SECONDS, _FLOOR_MARGIN_SECONDS = 0.3, 0.05
#: The truth's onset is at fault so long before the sound, which is looked for so far behind it; seconds.
_FAULT_SECONDS, _LATEST_SECONDS = 0.15, 1.0
#: Characters of scripts that part their words by nothing: Thai, Lao, Burmese, kana, Chinese.
_UNSPACED = re.compile(r"([\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff])")


@dataclass
class WordTimes:
    """What is wrong with the times of a transcript. Errors are absolute, seconds."""

    #: Words of the transcript, and those that are words of the truth.
    words: int = 0
    matched: int = 0
    #: Of sentences whose onset is heard; of the first word, where it was matched.
    first_word_errors: list[float] = field(default_factory=list)
    start_errors: list[float] = field(default_factory=list)
    #: Matched words outside their sentence: when, which, how far.
    outside: list[tuple[float, str, float]] = field(default_factory=list)
    without_length: int = 0
    #: Words in the middle of a long pause.
    in_pauses: list[tuple[float, str]] = field(default_factory=list)
    #: Sentences in whose time there is no word: when, which.
    empty_sentences: list[tuple[float, str]] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Return what a table shows; NaN where there was nothing to measure."""
        return {
            "first_word_median": _percentile(self.first_word_errors, 50),
            "first_word_p95": _percentile(self.first_word_errors, 95),
            "first_words": len(self.first_word_errors),
            "segment_start_median": _percentile(self.start_errors, 50),
            "segment_start_p95": _percentile(self.start_errors, 95),
            "outside_percent": 100 * len(self.outside) / self.matched if self.matched else float("nan"),
            "outside_worst": max((far for _, _, far in self.outside), default=0.0),
            "words_without_length": self.without_length,
            "words_in_pauses": len(self.in_pauses),
            "empty_sentences": len(self.empty_sentences),
        }


def score_times(truth: Truth, segments: Sequence[ChunkSegment], onsets: Sequence[float | None]) -> WordTimes:
    """Compare the times of segments and their words with the truth.

    Args:
        truth: Sentences in order.
        segments: In order, seconds of the recording, with words.
        onsets: Of each sentence, seconds; None where it is not heard (see `heard_onsets`).
    """
    spoken = [
        (number, position, word)
        for number, sentence in enumerate(truth.segments)
        for position, word in enumerate(_split(sentence.text))
    ]
    words = [word for segment in segments for word in segment.words]
    written = [(word, place, part) for word in words for place, part in enumerate(_split(word.text))]
    result = WordTimes(words=len(words), without_length=sum(word.end <= word.start for word in words))
    distances = [
        np.array([max(0.0, sentence.start - word.start, word.end - sentence.end) for word, _, _ in written])
        for sentence in truth.segments
    ]
    matches = _match(
        [word for _, _, word in spoken],
        [part for _, _, part in written],
        [distances[number] for number, _, _ in spoken],
    )
    for said, heard in matches:
        number, position, _ = spoken[said]
        word, place, part = written[heard]
        sentence, onset = truth.segments[number], onsets[number]
        if position == 0 and place == 0 and onset is not None:
            result.first_word_errors.append(abs(word.start - onset))
        far = max(sentence.start - word.start, word.end - sentence.end)
        if far > OUTSIDE_SECONDS:
            result.outside.append((round(word.start, 2), part, round(far, 2)))
    result.matched = len(matches)
    starts = np.array([segment.start for segment in segments])
    if len(starts):
        result.start_errors = [float(np.abs(starts - onset).min()) for onset in onsets if onset is not None]
    result.in_pauses = words_in_silence(truth, segments)
    middles = np.array([(word.start + word.end) / 2 for word in words])
    result.empty_sentences = [
        (sentence.start, sentence.text)
        for sentence in truth.segments
        if not ((sentence.start <= middles) & (middles <= sentence.end)).any()
    ]
    return result


def heard_onsets(truth: Truth, levels: Levels) -> list[float | None]:
    """Return where each sentence is heard to begin, seconds: where the truth says so, unless the sound says otherwise.

    Args:
        truth: The sentences.
        levels: Of the recording's frames, dBFS.
    """
    return [_heard_onset(sentence, levels) for sentence in truth.segments]


def audible_span(levels: Levels) -> tuple[float, float] | None:
    """Return where in a clip the sound is heard to begin and to end, seconds; None for an even sound."""
    if not len(levels):
        return None
    heard = _heard(_is_over(levels, float(np.percentile(levels, 5)), float(np.percentile(levels, 95))))
    return (heard[0] * FRAME_SECONDS, (heard[-1] + _HEARD_FRAMES) * FRAME_SECONDS) if len(heard) else None


def _heard_onset(sentence: Sentence, levels: Levels) -> float | None:
    first = _frame(sentence.start)
    before = levels[max(0, _frame(sentence.start - _FLOOR_SECONDS)) : _frame(sentence.start - _FLOOR_MARGIN_SECONDS)]
    spoken = levels[first : _frame(sentence.end)]
    if not len(before) or not len(spoken):
        return sentence.start
    loud = float(np.percentile(spoken, 95))
    over = _is_over(spoken, float(np.median(before)), loud)
    for first, end in runs(over, bridge=_ALONE_FRAMES):
        if end - first < _CLICK_FRAMES:
            over[first:end] = False
    heard = _heard(over[: _frame(_LATEST_SECONDS)])
    if not len(heard):
        return None
    late = heard[0] * FRAME_SECONDS
    return sentence.start + late if late > _FAULT_SECONDS else sentence.start


def _is_over(levels: Levels, floor: float, loud: float) -> npt.NDArray[np.bool_]:
    """Return which frames are louder than the floor by enough to be heard."""
    floor = max(floor, loud - _SPEECH_RANGE_DB)
    over: npt.NDArray[np.bool_] = levels > floor + max(_HEARD_DB, _HEARD_SHARE * (loud - floor))
    return over


def _heard(over: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return the frames at which sound begins to be heard for at least `_HEARD_FRAMES`."""
    if len(over) < _HEARD_FRAMES:
        return np.empty(0, np.intp)
    return np.flatnonzero(np.lib.stride_tricks.sliding_window_view(over, _HEARD_FRAMES).all(axis=1))


def _split(text: str) -> list[str]:
    return split_words(_UNSPACED.sub(r" \1 ", text))


def _match(spoken: Sequence[str], written: Sequence[str], distances: Sequence[Floats]) -> list[tuple[int, int]]:
    """Return the positions of the words that are in both, in order.

    Args:
        spoken: Of the truth.
        written: Of the transcript.
        distances: For each spoken word, how far each written one is from its sentence, seconds.
    """
    places = np.arange(len(written) + 1)
    words = np.array(written)
    costs = [places.astype(float)]
    for word, far in zip(spoken, distances, strict=True):
        matched = costs[-1][:-1] + np.where(words == word, _PER_SECOND * np.minimum(far, _MOST_FAR), 1.0)
        best = np.concatenate(([costs[-1][0] + 1], np.minimum(matched, costs[-1][1:] + 1)))
        costs.append(np.minimum.accumulate(best - places) + places)  # a written word of its own costs 1 too
    pairs = []
    said, heard = len(spoken), len(written)
    is_equal = partial(math.isclose, rel_tol=0, abs_tol=_PER_SECOND / 1000)
    while said and heard:
        cost = costs[said][heard]
        if is_equal(cost, costs[said][heard - 1] + 1):
            heard -= 1
        elif is_equal(cost, costs[said - 1][heard] + 1):
            said -= 1
        else:
            said, heard = said - 1, heard - 1
            if spoken[said] == written[heard]:
                pairs.append((said, heard))
    return pairs[::-1]


def _frame(seconds: float) -> int:
    return max(0, round(seconds / FRAME_SECONDS))


def _percentile(errors: Sequence[float], percent: float) -> float:
    return float(np.percentile(errors, percent)) if errors else float("nan")
