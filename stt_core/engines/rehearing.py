"""The second hearing: what was missed of chunks, each stretch decoded by itself, and its text put where it belongs.

By itself means without the sounds and the text that led the decoder astray. Nothing that was written is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stt_core.audio.clips import Clip
from stt_core.audio.models import Chunk
from stt_core.logs import get_logger, logged
from stt_core.transcript.held import release_held
from stt_core.transcript.missed import find_missed
from stt_core.transcript.models import ChunkSegment, ChunkTranscript
from stt_core.transcript.text import bare, find_words
from stt_core.whisper.loops import find_loops

logger = get_logger(__name__)

#: The share of its words in which a text is like another that is the same sound's.
_SAME = 2 / 3

#: Transcribes clips of one language, in order; None where a clip could not be heard.
Hear = Callable[[Sequence[Clip], str], Sequence[ChunkTranscript | None]]


@logged
def hear_missed(
    transcripts: Sequence[ChunkTranscript], chunks: Sequence[Chunk], clips: Sequence[Clip], hear: Hear
) -> list[ChunkTranscript]:
    """Return the transcripts with the text of what they had missed, no word of them held (`transcript.held`).

    One that missed nothing, and has no such word, is the same object.

    Args:
        transcripts: What the engine said of chunks, with its own times.
        chunks: What each is made of.
        clips: Their sounds.
        hear: Transcribes stretches in the language of their chunk's text.
    """
    settled = [release_held(transcript) for transcript in transcripts]
    missed = [
        (position, start, end)
        for position, (transcript, chunk, clip) in enumerate(zip(settled, chunks, clips, strict=True))
        for start, end in find_missed(transcript, chunk, clip.samples)
    ]
    for language in sorted({transcripts[position].language for position, _, _ in missed}):
        mine = [one for one in missed if transcripts[one[0]].language == language]
        for position, start, end in mine:
            logger.info("chunk {} has no text at {:.2f}-{:.2f} s: hearing it again", chunks[position].index, start, end)
        heard = hear([clips[position].part(start, end) for position, start, end in mine], language)
        for (position, start, _), again in zip(mine, heard, strict=True):
            if (
                again is not None
                and again.segments
                and not find_loops(again)
                and not _is_there(again, settled[position], start)
            ):
                settled[position] = _with(settled[position], [segment.shifted(start) for segment in again.segments])
    return settled


def _is_there(again: ChunkTranscript, transcript: ChunkTranscript, at: float) -> bool:
    """Tell whether a text is what was written just before or behind a time: it was not missed, but shown elsewhere."""
    words = [word for segment in transcript.segments for word in segment.words]
    count = sum(word.start < at for word in words)
    said = [bare(word.text) for segment in again.segments for word in segment.words]
    beside = (words[max(0, count - len(said)) : count], words[count : count + len(said)])
    return any(
        sum(one == bare(word.text) for one, word in zip(said, some, strict=False)) >= max(1.0, _SAME * len(said))
        for some in beside
    )


def _with(transcript: ChunkTranscript, added: Sequence[ChunkSegment]) -> ChunkTranscript:
    """Return the transcript with the segments of a gap; one that goes on over the gap is parted there."""
    begin = added[0].start
    parts = [part for segment in transcript.segments for part in _part(segment, begin)]
    return transcript.model_copy(update={"segments": sorted([*parts, *added], key=lambda segment: segment.start)})


def _part(segment: ChunkSegment, at: float) -> list[ChunkSegment]:
    """Return a segment as its words before a time and those behind it."""
    count = sum(word.start < at for word in segment.words)
    places = find_words(segment.text, (word.text for word in segment.words))
    if places is None or not 0 < count < len(segment.words):
        return [segment]
    before, behind = segment.words[:count], segment.words[count:]
    text = segment.text
    return [
        segment.model_copy(update={"end": before[-1].end, "text": text[: places[count]].strip(), "words": before}),
        segment.model_copy(update={"start": behind[0].start, "text": text[places[count] :].strip(), "words": behind}),
    ]
