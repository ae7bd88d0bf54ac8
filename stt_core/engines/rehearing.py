"""The second hearing: what was missed of chunks, decoded once more, and its text put where it belongs.

By itself, without the sounds and the text that led the decoder astray; several of them in one window where an engine
takes as long for a window whatever it holds. Nothing that was written is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stt_core.audio.clips import Clip, join_clips
from stt_core.audio.plan import Chunk
from stt_core.logs import get_logger
from stt_core.transcript.document import ChunkSegment, ChunkTranscript
from stt_core.transcript.held import release_held
from stt_core.transcript.loops import find_loops
from stt_core.transcript.missed import find_missed
from stt_core.transcript.text import bare, find_words

logger = get_logger(__name__)

#: The share of its words in which a text is like another that is the same sound's.
_SAME = 2 / 3

#: Silence between two stretches in a window, seconds: no sentence goes on over it.
_PAUSE_SECONDS = 1.0

#: Transcribes clips of one language, in order; None where a clip could not be heard.
Hear = Callable[[Sequence[Clip], str], Sequence[ChunkTranscript | None]]


def hear_missed(
    transcripts: Sequence[ChunkTranscript],
    chunks: Sequence[Chunk],
    clips: Sequence[Clip],
    hear: Hear,
    *,
    window_seconds: float = 0.0,
) -> list[ChunkTranscript]:
    """Return the transcripts with the text of what they had missed, no word of them held (`transcript.held`).

    One that missed nothing, and has no such word, is the same object.

    Args:
        transcripts: What the engine said of chunks, with its own times.
        chunks: What each is made of.
        clips: Their sounds.
        hear: Transcribes stretches in the language of their chunk's text.
        window_seconds: Into how many seconds stretches are put together; see `Engine.window_seconds`.
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
        windows = _fill([clips[position].part(start, end) for position, start, end in mine], window_seconds)
        texts = hear([join_clips(window, _PAUSE_SECONDS) for window in windows], language)
        heard = [part for window, text in zip(windows, texts, strict=True) for part in _of_each(window, text)]
        for (position, start, _), again in zip(mine, heard, strict=True):
            if (
                again is not None
                and again.segments
                and not find_loops(again)
                and not _is_there(again, settled[position], start)
            ):
                settled[position] = _with(settled[position], [segment.shifted(start) for segment in again.segments])
    return settled


def _fill(stretches: Sequence[Clip], window_seconds: float) -> list[list[Clip]]:
    """Return stretches in windows, of which each holds as many as it takes, but one at least."""
    windows: list[list[Clip]] = []
    room = 0.0
    for stretch in stretches:
        if stretch.seconds > room:
            windows.append([])
            room = window_seconds
        windows[-1].append(stretch)
        room -= stretch.seconds + _PAUSE_SECONDS
    return windows


def _of_each(window: Sequence[Clip], transcript: ChunkTranscript | None) -> list[ChunkTranscript | None]:
    """Return the text of each stretch of a window, with times of its own."""
    if transcript is None:
        return [None] * len(window)
    texts: list[ChunkTranscript | None] = []
    rest, begin = transcript.segments, 0.0
    for stretch in window:
        border = begin + stretch.seconds + _PAUSE_SECONDS / 2
        parts = [part for segment in rest for part in _part(segment, border)]
        mine = [part.shifted(-begin) for part in parts if part.start < border]
        rest = [part for part in parts if part.start >= border]
        texts.append(transcript.model_copy(update={"segments": mine}))
        begin += stretch.seconds + _PAUSE_SECONDS
    return texts


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
