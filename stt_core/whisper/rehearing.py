"""The second hearing: the doubtful stretches of chunks, each decoded once more by itself, and the better text taken.

By itself means without the sounds and the text that led the decoder astray. Several stretches in one window were tried:
it costs less and mends a third as much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stt_core.audio.clips import Clip
from stt_core.logs import get_logger, logged
from stt_core.transcript.models import ChunkTranscript
from stt_core.whisper.doubts import choose_doubts, settle

logger = get_logger(__name__)

#: Transcribes clips of one language, in order; None where a clip could not be heard.
Hear = Callable[[Sequence[Clip], str], Sequence[ChunkTranscript | None]]


@logged
def hear_again(
    transcripts: Sequence[ChunkTranscript], seconds: Sequence[float], clip_of: Callable[[int], Clip], hear: Hear
) -> list[ChunkTranscript]:
    """Return the transcripts with the better text of each doubtful stretch; one without a doubt is the same object.

    Args:
        transcripts: The texts of chunks that are judged together.
        seconds: The length of each chunk.
        clip_of: Returns the sound of the chunk at a position.
        hear: Transcribes the stretches of one language, that of their chunk's text.
    """
    settled = list(transcripts)
    doubts = choose_doubts(transcripts, seconds)
    clips = {position: clip_of(position) for position in sorted({position for position, _ in doubts})}
    for language in sorted({transcripts[position].language for position in clips}):
        mine = [(position, doubt) for position, doubt in doubts if transcripts[position].language == language]
        for position, doubt in mine:
            logger.info(
                "chunk {} is {} at {:.2f}-{:.2f} s: hearing it again", position, doubt.reason, doubt.start, doubt.end
            )
        heard = hear([clips[position].part(doubt.start, doubt.end) for position, doubt in mine], language)
        for (position, doubt), again in zip(mine, heard, strict=True):
            if again is not None:
                settled[position] = settle(settled[position], doubt, again)
    return settled
