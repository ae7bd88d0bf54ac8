"""The merge: the texts of all chunks become the transcript of a recording.

Promises: every chunk of the plan is in the transcript or named as a gap; the words keep their order; every time lies
in the recording, in audio that was heard; a channel's segments do not overlap; words that two chunks heard appear once.
Each text is asked for once, in order: `transcripts` may be a mapping that reads from a store.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span, covered_samples
from stt_core.audio.vad import Voice
from stt_core.errors import MissingChunksError
from stt_core.logs import get_logger
from stt_core.transcript.document import ChunkTranscript, Gap, Segment, Transcript, TranscriptStatistics, Word
from stt_core.transcript.losses import find_losses
from stt_core.transcript.seams import drop_doubled_words
from stt_core.transcript.sounds import part_sounds
from stt_core.transcript.text import one_line
from stt_core.transcript.timeline import Line, place_chunk, straighten
from stt_core.warnings import RecordingWarning

logger = get_logger(__name__)

#: A line with the number of its chunk.
_Numbered = tuple[int, Line]

#: ISO 639's code for a language nobody could tell: nothing was said.
UNDETERMINED = "und"


@dataclass(slots=True)
class _Tally:
    """What is counted on the way; languages weigh by samples of speech."""

    languages: Counter[str] = field(default_factory=Counter)
    language_of: dict[int, str] = field(default_factory=dict)
    empty_chunks: int = 0
    doubled_words: int = 0


def merge_chunks(
    job_id: str,
    chunks: Sequence[Chunk],
    transcripts: Mapping[int, ChunkTranscript],
    *,
    duration_seconds: float,
    model: str,
    model_digest: str | None = None,
    language: str | None = None,
    gaps: Mapping[int, str] | None = None,
    warnings: Sequence[RecordingWarning] = (),
    voices: Mapping[int | None, Voice] | None = None,
) -> Transcript:
    """Merge the texts of a recording's chunks.

    Args:
        job_id: The job, for the transcript and the log.
        chunks: The plan, in any order; none at all for a recording without speech.
        transcripts: What the engine said of each chunk, by index. A chunk in which it heard nothing is fine.
        duration_seconds: Length of the recording; no time exceeds it.
        model: Name of the model.
        model_digest: Its hash.
        language: The recording's language; where not given, each segment names its own, and the transcript the one
            most speech was heard in.
        gaps: Why a chunk has no text, by index, where the job accepts a partial transcript.
        warnings: What is lost or doubtful of the recording.
        voices: Where a voice is heard, by channel; without it only labels are told from text.

    Raises:
        MissingChunksError: A chunk has neither a text nor a gap, or the plan itself has holes or doubles.
    """
    plan = sorted(chunks, key=lambda chunk: chunk.index)
    reasons = gaps or {}
    _check_complete(plan, transcripts, reasons)
    logger.info("merging {} chunks of job {}", len(plan), job_id)

    tally = _Tally()
    channels: dict[int | None, list[_Numbered]] = {}
    for channel in dict.fromkeys(chunk.channel for chunk in plan):
        lines = _lines_of_channel([chunk for chunk in plan if chunk.channel == channel], transcripts, tally)
        straighten([line for _, line in lines], round(duration_seconds * SAMPLE_RATE))
        channels[channel] = lines
    written = _segments(channels, duration_seconds, {} if language else tally.language_of)
    segments, sounds = part_sounds(written, voices or {})
    missing = [_gap(chunk, reasons[chunk.index]) for chunk in plan if chunk.index not in transcripts]
    statistics = _statistics(plan, segments, tally.doubled_words)
    text = " ".join(segment.text for segment in segments)
    logger.info(
        "merged {} chunks of job {} ({} empty, {} missing): {} characters, {} words, {} segments, {} doubled words out",
        len(plan),
        job_id,
        tally.empty_chunks,
        len(missing),
        len(text),
        statistics.words,
        len(segments),
        tally.doubled_words,
    )
    transcript = Transcript(
        job_id=job_id,
        text=text,
        language=language or next((name for name, _ in tally.languages.most_common(1)), UNDETERMINED),
        model=model,
        model_digest=model_digest,
        duration_seconds=duration_seconds,
        segments=segments,
        sounds=sounds,
        gaps=missing,
        statistics=statistics,
    )
    return transcript.model_copy(update={"warnings": [*warnings, *find_losses(transcript, plan, voices or {})]})


def _lines_of_channel(
    plan: Sequence[Chunk], transcripts: Mapping[int, ChunkTranscript], tally: _Tally
) -> list[_Numbered]:
    """Return the lines of one channel's chunks, each with its chunk's number, in order and without doubled words."""
    heard: list[list[Line]] = []
    for chunk in plan:
        if chunk.index not in transcripts:
            heard.append([])
            continue
        transcript = transcripts[chunk.index]
        heard.append(place_chunk(chunk, transcript))
        tally.language_of[chunk.index] = transcript.language
        if heard[-1]:
            tally.languages[transcript.language] += chunk.speech_samples
        else:
            tally.empty_chunks += 1
    for position, (before, chunk) in enumerate(pairwise(plan)):
        if chunk.overlaps_previous:
            heard[position], heard[position + 1], removed = drop_doubled_words(
                heard[position], heard[position + 1], chunk.spans[0].start, before.spans[-1].end
            )
            tally.doubled_words += removed
    return [(chunk.index, line) for chunk, lines in zip(plan, heard, strict=True) for line in lines]


def _check_complete(
    plan: Sequence[Chunk], transcripts: Mapping[int, ChunkTranscript], reasons: Mapping[int, str]
) -> None:
    indices = [chunk.index for chunk in plan]
    if indices != list(range(len(plan))):
        raise MissingChunksError(
            f"The plan of {len(plan)} chunks does not number them from 0 without holes or doubles.",
            mend="Plan the chunks of the recording again.",
            indices=indices[:100],
        )
    absent = [index for index in indices if index not in transcripts and index not in reasons]
    if absent:
        raise MissingChunksError(
            f"{len(absent)} of {len(plan)} chunks have no text: {_name(absent)}.",
            mend="Transcribe them again; those that have a text are not repeated.",
            missing=absent[:100],
        )


def _name(indices: Sequence[int]) -> str:
    shown = ", ".join(str(index) for index in indices[:20])
    return f"{shown} and {len(indices) - 20} more" if len(indices) > 20 else shown


def _gap(chunk: Chunk, reason: str) -> Gap:
    logger.warning(
        "chunk {} ({:.1f}-{:.1f} s) has no text: {}", chunk.index, chunk.start_seconds, chunk.end_seconds, reason
    )
    return Gap(
        chunk=chunk.index,
        start=round(chunk.start_seconds, 3),
        end=round(chunk.end_seconds, 3),
        reason=reason,
        channel=chunk.channel,
        speaker=_speaker(chunk.channel),
    )


def _speaker(channel: int | None) -> str | None:
    return None if channel is None else f"Channel {channel + 1}"


def _segments(
    channels: Mapping[int | None, Sequence[_Numbered]], duration_seconds: float, languages: Mapping[int, str]
) -> list[Segment]:
    """Weave the channels into one list by start; each channel keeps its own order. `languages` are those of chunks."""
    woven = heapq.merge(
        *([(channel, chunk, line) for chunk, line in lines] for channel, lines in channels.items()),
        key=lambda item: item[2].start,
    )

    def seconds(samples: int) -> float:
        return min(round(samples / SAMPLE_RATE, 3), duration_seconds)

    return [
        Segment(
            index=index,
            start=seconds(line.start),
            end=seconds(line.end),
            text=one_line(line.text),
            words=[
                Word(start=seconds(word.start), end=seconds(word.end), text=word.text, probability=word.probability)
                for word in line.words
            ],
            chunk=chunk,
            channel=channel,
            speaker=_speaker(channel),
            language=languages.get(chunk),
            confidence=round(fmean(word.probability for word in line.words), 4) if line.words else None,
            flags=line.flags,
        )
        for index, (channel, chunk, line) in enumerate(woven)
    ]


def _statistics(plan: Sequence[Chunk], segments: Sequence[Segment], doubled: int) -> TranscriptStatistics:
    probabilities = [word.probability for segment in segments for word in segment.words]
    spans: dict[int | None, list[Span]] = defaultdict(list)  # channels add up
    for chunk in plan:
        spans[chunk.channel].extend(chunk.spans)
    return TranscriptStatistics(
        words=sum(len(segment.words) or len(segment.text.split()) for segment in segments),
        speech_seconds=round(sum(map(covered_samples, spans.values())) / SAMPLE_RATE, 3),
        chunks=len(plan),
        confidence=round(fmean(probabilities), 4) if probabilities else None,
        duplicate_words_removed=doubled,
    )
