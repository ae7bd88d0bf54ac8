"""The two calls with which a recording goes through this room.

    with RecordingStream(path, detect_format(head), settings) as recording:   # decodes while it is read
        object_store.put_stream(key, recording)
    plan = plan_recording(recording.energies, recording.voice, settings)      # no samples are read again

The second needs no samples, so it may happen on another machine. Speech is what stands out by its level, and every
voice beside that: that there is none is believed only where the voice detector hears none either. Where much stands out
that is no voice (music, traffic), it would cost more windows than the speech: there the voices alone are taken, faint
ones too.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stt_core.audio.chunking import OVERLAP_PRICE, cut_fixed, plan_chunks
from stt_core.audio.decode import BLOCK_BYTES, PcmStream
from stt_core.audio.energies import EnergyMeter, FrameEnergies
from stt_core.audio.formats import AudioFormat
from stt_core.audio.plan import SAMPLE_RATE, Chunk, ChunkPlan, ChunkStatistics, Span, covered_samples
from stt_core.audio.rumble import RumbleFilter
from stt_core.audio.silence import estimate_threshold, find_speech, pad_spans, runs, to_spans
from stt_core.audio.vad import Voice, VoiceMeter
from stt_core.logs import get_logger
from stt_core.options import Strategy
from stt_core.settings import Settings
from stt_core.warnings import RecordingWarning, WarningName

logger = get_logger(__name__)

#: Whisper tells sentences apart the better the longer the pause between them, and a window costs the same whatever it
#: holds: padding is widened up to this where that takes no more windows. Beyond it nothing was gained.
_WIDEST_PADDING_MS, _PADDING_STEP_MS = 350, 50
#: The voice detector speaks up late and falls silent late: so near to a loud sound a voice is its beginning or end.
_NEAR_SAMPLES = SAMPLE_RATE // 4
#: The shortest syllables take 80 ms; a voice of less is none.
_SYLLABLE_MS = 80
#: Quiet voice of so much altogether is worth a warning; with less voice, what stands out is all that there is to hear.
_DOUBT_SECONDS = 1.0
#: What stands out by its level is heard where that takes so many times the windows of the voices, or one more; an
#: overlap counts as half a window.
_LEVEL_WINDOWS = 1.15


class RecordingStream(PcmStream):
    """A `PcmStream` that measures the recording while somebody reads it; its voice is listened for in a thread."""

    def __init__(
        self,
        path: Path,
        audio_format: AudioFormat,
        settings: Settings,
        *,
        channel: int | None = None,
        track: int | None = None,
    ) -> None:
        super().__init__(path, audio_format, settings, channel=channel, track=track)
        self._rumble_filter = RumbleFilter()
        self._energy_meter = EnergyMeter()
        self._voice_meter = VoiceMeter()
        self._listener = ThreadPoolExecutor(1, thread_name_prefix="voice")
        self._listening: Future[None] | None = None

    def __exit__(self, *failure: object) -> None:
        self._listener.shutdown()
        super().__exit__(*failure)

    def read(self, size: int = BLOCK_BYTES) -> bytes:
        """Return the next `size` bytes of samples; fewer only at the end, none after it."""
        block = super().read(size)
        if block:
            self._energy_meter.add(self._rumble_filter.add(block))
            self._await_listener()  # one block at a time, however fast it is decoded
            self._listening = self._listener.submit(self._voice_meter.add, block)
        return block

    def _await_listener(self) -> None:
        if self._listening is not None:
            self._listening.result()

    @cached_property
    def energies(self) -> FrameEnergies:
        """The frame energies of the recording, without rumble; there once the stream has been read to its end."""
        assert self.info  # raises before the end
        self._energy_meter.add(self._rumble_filter.finish())
        return self._energy_meter.finish()

    @cached_property
    def voice(self) -> Voice:
        """Where a voice is heard; there once the stream has been read to its end."""
        assert self.info  # raises before the end
        self._await_listener()
        return self._voice_meter.finish()


def plan_recording(
    energies: FrameEnergies,
    voice: Voice,
    settings: Settings,
    *,
    strategy: Strategy | None = None,
    channel: int | None = None,
    first_index: int = 0,
) -> ChunkPlan:
    """Decide what whisper hears of a recording, and in which pieces.

    Args:
        energies: Of the recording (or of the one channel).
        voice: Of the same.
        settings: The chunking settings are used.
        strategy: Instead of `settings.chunk_strategy`.
        channel: The channel of the source that the recording is, noted in its chunks.
        first_index: Index of the first chunk, for the second channel of a recording.

    Returns:
        The plan; without chunks where neither the level nor the voice detector finds anything to hear.
    """
    strategy = strategy or settings.chunk_strategy
    auto = settings.silence_threshold_dbfs == "auto"
    threshold = estimate_threshold(energies) if auto else float(settings.silence_threshold_dbfs)
    limits = {"max_seconds": settings.chunk_max_seconds, "overlap_seconds": settings.chunk_overlap_seconds}
    loud = find_speech(energies, threshold_dbfs=threshold, min_silence_ms=settings.silence_min_ms)
    sure = voice.spans(min_silence_ms=settings.silence_min_ms)
    missed = _uncovered(sure, pad_spans(loud, _NEAR_SAMPLES, energies.total_samples), energies)
    standing_out = pad_spans(sorted([*loud, *missed], key=lambda span: span.start), 0, energies.total_samples)
    if strategy == "fixed":
        padded = pad_spans(standing_out, _samples(settings.speech_padding_ms), energies.total_samples)
        cut = [chunk for chunk in cut_fixed(energies.total_samples, **limits) if _is_heard(chunk, padded)]
    elif strategy == "silence":
        cut = _pack(standing_out, energies, settings)
    else:
        cut = _pack(voice.spans(min_silence_ms=settings.silence_min_ms, faint=True), energies, settings)
        if strategy == "auto":
            cut = _choose(_pack(standing_out, energies, settings), cut, sure)
    warnings = [] if strategy == "vad" else list(_doubts(missed))
    chunks = [
        chunk.model_copy(update={"index": first_index + number, "channel": channel}) for number, chunk in enumerate(cut)
    ]
    statistics = _describe(chunks, energies.total_samples)
    logger.info(
        "{} chunks by {}: {:.1f} s of {:.1f} s, {:.1f} s on average, {} without a pause before them",
        statistics.chunks, strategy, statistics.speech_seconds, statistics.duration_seconds,
        statistics.mean_seconds, statistics.overlaps,
    )  # fmt: skip
    return ChunkPlan(
        strategy=strategy, threshold_dbfs=threshold, chunks=chunks, statistics=statistics, warnings=warnings
    )


def _choose(by_level: list[Chunk], by_voice: list[Chunk], voices: list[Span]) -> list[Chunk]:
    """Return the chunks of what stands out by its level, or those of the voices where they are far fewer."""
    if sum(span.length for span in voices) < _DOUBT_SECONDS * SAMPLE_RATE:
        return by_level
    level, voice = (
        len(plan) + OVERLAP_PRICE * sum(chunk.overlaps_previous for chunk in plan) for plan in (by_level, by_voice)
    )
    if level <= max(voice + 1, _LEVEL_WINDOWS * voice):
        return by_level
    logger.info("what stands out would take {} chunks, the voices {}: those are heard", len(by_level), len(by_voice))
    return by_voice


def _uncovered(spans: list[Span], by: list[Span], energies: FrameEnergies) -> list[Span]:
    """Return the parts of spans, of a syllable's length and more, that none of the others covers."""
    frame = energies.frame_samples

    def frames(of: list[Span]) -> npt.NDArray[np.bool_]:
        covered = np.zeros(len(energies.sums), bool)
        for span in of:
            covered[span.start // frame : -(-span.end // frame)] = True
        return covered

    found = runs(frames(spans) & ~frames(by), bridge=1)
    long_enough = [(first, end) for first, end in found if (end - first) * energies.frame_ms >= _SYLLABLE_MS]
    return to_spans(long_enough, frame, energies.total_samples)


def _doubts(missed: list[Span]) -> Iterator[RecordingWarning]:
    """Say where a voice was heard that is no louder than the background."""
    seconds = sum(span.length for span in missed) / SAMPLE_RATE
    if seconds >= _DOUBT_SECONDS:
        yield RecordingWarning(
            name=WarningName.SPEECH_UNCERTAIN,
            message=f"A voice was heard for {seconds:.1f} s where the sound is no louder than the background, "
            f"first at {missed[0].start / SAMPLE_RATE:.1f} s. It was transcribed.",
        )


def _pack(speech: list[Span], energies: FrameEnergies, settings: Settings) -> list[Chunk]:
    """Pack speech with the widest padding that takes no more windows than the least."""

    def packed(padding_ms: int) -> list[Chunk]:
        return plan_chunks(
            speech,
            energies,
            padding_ms=padding_ms,
            max_seconds=settings.chunk_max_seconds,
            overlap_seconds=settings.chunk_overlap_seconds,
            joint_ms=settings.chunk_joint_ms,
        )

    least = packed(settings.speech_padding_ms)
    for padding_ms in range(_WIDEST_PADDING_MS, settings.speech_padding_ms, -_PADDING_STEP_MS):
        wider = packed(padding_ms)
        if len(wider) <= len(least):
            logger.debug("{} ms of padding on each side", padding_ms)
            return wider
    return least


def _samples(milliseconds: int) -> int:
    return milliseconds * SAMPLE_RATE // 1000


def _is_heard(chunk: Chunk, speech: list[Span]) -> bool:
    whole = chunk.spans[0]
    return any(span.start < whole.end and whole.start < span.end for span in speech)


def _describe(chunks: list[Chunk], total_samples: int) -> ChunkStatistics:
    seconds = [chunk.length / SAMPLE_RATE for chunk in chunks]
    covered = covered_samples(span for chunk in chunks for span in chunk.spans)
    return ChunkStatistics(
        chunks=len(chunks),
        duration_seconds=total_samples / SAMPLE_RATE,
        speech_seconds=covered / SAMPLE_RATE,
        silence_seconds=(total_samples - covered) / SAMPLE_RATE,
        mean_seconds=sum(seconds) / len(seconds) if seconds else 0.0,
        shortest_seconds=min(seconds, default=0.0),
        longest_seconds=max(seconds, default=0.0),
        overlaps=sum(chunk.overlaps_previous for chunk in chunks),
    )
