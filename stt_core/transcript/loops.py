"""Loops in the text of a chunk: where they are, and the flag on segments that keep one."""

from __future__ import annotations

from stt_core.transcript.document import ChunkSegment, ChunkTranscript
from stt_core.transcript.repetition import Repetition, find_repetitions

#: The flag on a segment whose text runs in a loop.
REPETITION_FLAG = "repetition"


def find_loops(transcript: ChunkTranscript) -> list[Repetition]:
    """Return the loops among all words of a chunk: many a loop is one short segment after another."""
    return find_repetitions([word for segment in transcript.segments for word in spoken(segment)])


def segment_of_word(transcript: ChunkTranscript, word: int) -> int:
    """Return the position of the segment that holds the chunk's word number `word`, counted from 0.

    Raises:
        IndexError: The chunk has fewer words.
    """
    counted = 0
    for position, segment in enumerate(transcript.segments):
        counted += len(spoken(segment))
        if word < counted:
            return position
    raise IndexError(f"word {word} of {counted}")


def flag_loops(transcript: ChunkTranscript) -> ChunkTranscript:
    """Return the transcript with `REPETITION_FLAG` on every segment that a loop touches."""
    flagged: set[int] = set()
    for loop in find_loops(transcript):
        first, last = segment_of_word(transcript, loop.start), segment_of_word(transcript, loop.end - 1)
        flagged.update(range(first, last + 1))
    segments = [
        segment.model_copy(update={"flags": [*segment.flags, REPETITION_FLAG]}) if position in flagged else segment
        for position, segment in enumerate(transcript.segments)
    ]
    return transcript.model_copy(update={"segments": segments})


def spoken(segment: ChunkSegment) -> list[str]:
    """Return the words of a segment, also where the engine gave none by themselves."""
    return [word.text for word in segment.words] or segment.text.split()
