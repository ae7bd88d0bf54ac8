"""Held words: those whose time begins long before they are spoken, over speech that the engine left out, or a pause.

An engine that swallows a sentence waits in it: the next word's time begins there and lasts for seconds, and one or two
words at the beginning of that sentence may be shown before it. So it looks as if nothing were missing. Where the last
word of a sentence lasts too long, it is what comes after it that it lasts over.
"""

from __future__ import annotations

from itertools import pairwise

from stt_core.transcript.document import ChunkSegment, ChunkTranscript, Word
from stt_core.transcript.sentences import Border, border, spoken_words

#: What lasts longer, seconds, is taken for a word that is held.
_LONGEST = 1.2
#: What words last at the most, mostly, seconds; one that is held is given it.
USUAL_SECONDS = 0.4
#: So many words of a sentence are shown before one that is held.
_MOST_BEFORE = 3


def release_held(transcript: ChunkTranscript) -> ChunkTranscript:
    """Return what the engine said with no word longer than words are; where none is, it is the same object."""
    if not any(_is_held(word) for segment in transcript.segments for word in segment.words):
        return transcript
    return transcript.model_copy(update={"segments": [_released(segment) for segment in transcript.segments]})


def _released(segment: ChunkSegment) -> ChunkSegment:
    spoken = spoken_words(segment, 0)
    words = [one.word for one in spoken]
    ends = [border(before, after) is Border.SENTENCE for before, after in pairwise(spoken)]
    ends = [True, *ends, True]  # a sentence ends before the word of that number
    for position, word in enumerate(words):
        if not _is_held(word):
            continue
        if ends[position + 1]:
            words[position] = word.model_copy(update={"end": word.start + USUAL_SECONDS})
            continue
        first = next(number for number in range(position, -1, -1) if ends[number])
        if position - first > _MOST_BEFORE:
            first = position
        end = word.end
        for number in range(position, first - 1, -1):
            begin = end - min(USUAL_SECONDS, words[number].end - words[number].start)
            words[number] = words[number].model_copy(update={"start": begin, "end": end})
            end = begin
    return segment.model_copy(update={"words": words})


def _is_held(word: Word) -> bool:
    return word.end - word.start > _LONGEST
