"""The two calls with which a recording goes through this room.

    with RecordingStream(path, detect_format(head), settings) as recording:   # decodes while it is read
        object_store.put_stream(key, recording)
    plan = plan_recording(recording.energies, settings)                       # no samples are read again

The second needs the energies only, so it may happen on another machine; the strategy `vad` wants the samples too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stt_core.audio.chunking import cut_fixed, plan_chunks
from stt_core.audio.decode import BLOCK_BYTES, PcmStream
from stt_core.audio.energies import EnergyMeter, FrameEnergies
from stt_core.audio.formats import AudioFormat
from stt_core.audio.models import SAMPLE_RATE, Chunk, ChunkPlan, ChunkStatistics, Span
from stt_core.audio.silence import estimate_threshold, find_speech, pad_spans
from stt_core.audio.vad import find_voice
from stt_core.errors import ConfigurationError
from stt_core.jobs.options import Strategy
from stt_core.logs import get_logger, logged
from stt_core.settings import Settings

logger = get_logger(__name__)

#: Whisper tells sentences apart the better the longer the pause between them, and a window costs the same whatever it
#: holds: padding is widened up to this where that takes no more windows. Beyond it nothing was gained.
_WIDEST_PADDING_MS, _PADDING_STEP_MS = 350, 50


class RecordingStream(PcmStream):
    """A `PcmStream` that measures the recording while somebody reads it."""

    def __init__(
        self, path: Path, audio_format: AudioFormat, settings: Settings, *, channel: int | None = None
    ) -> None:
        super().__init__(path, audio_format, settings, channel=channel)
        self._meter = EnergyMeter()
        self._energies: FrameEnergies | None = None

    @logged
    def read(self, size: int = BLOCK_BYTES) -> bytes:
        """Return the next `size` bytes of samples; fewer only at the end, none after it."""
        block = super().read(size)
        if block:
            self._meter.add(block)
        return block

    @property
    def energies(self) -> FrameEnergies:
        """The frame energies of the recording; there once the stream has been read to its end."""
        if self._energies is None:
            assert self.info  # raises before the end
            self._energies = self._meter.finish()
        return self._energies


@logged
def plan_recording(
    energies: FrameEnergies,
    settings: Settings,
    *,
    strategy: Strategy | None = None,
    pcm_blocks: Iterable[bytes] | None = None,
    channel: int | None = None,
    first_index: int = 0,
) -> ChunkPlan:
    """Decide what whisper hears of a recording, and in which pieces.

    Args:
        energies: Of the recording (or of the one channel).
        settings: The chunking settings are used.
        strategy: Instead of `settings.chunk_strategy`.
        pcm_blocks: The samples, needed for the strategy `vad`.
        channel: The channel of the source that the recording is, noted in its chunks.
        first_index: Index of the first chunk, for the second channel of a recording.

    Returns:
        The plan; without chunks where nothing is heard.

    Raises:
        ConfigurationError: The strategy is `vad` and there are no samples.
    """
    strategy = strategy or settings.chunk_strategy
    auto = settings.silence_threshold_dbfs == "auto"
    threshold = estimate_threshold(energies) if auto else float(settings.silence_threshold_dbfs)
    limits = {"max_seconds": settings.chunk_max_seconds, "overlap_seconds": settings.chunk_overlap_seconds}
    if strategy == "vad":
        if pcm_blocks is None:
            raise ConfigurationError("The strategy `vad` listens to the samples, and none were given.")
        speech = find_voice(pcm_blocks, min_silence_ms=settings.silence_min_ms, padding_ms=0)
    else:
        widths = {"min_silence_ms": settings.silence_min_ms, "padding_ms": 0}
        speech = find_speech(energies, threshold_dbfs=threshold, **widths)
    if strategy == "fixed":
        padded = pad_spans(speech, _samples(settings.speech_padding_ms), energies.total_samples)
        cut = [chunk for chunk in cut_fixed(energies.total_samples, **limits) if _is_heard(chunk, padded)]
    else:
        cut = _pack(speech, energies, settings)
    chunks = [
        chunk.model_copy(update={"index": first_index + number, "channel": channel}) for number, chunk in enumerate(cut)
    ]
    statistics = _describe(chunks, energies.total_samples)
    logger.info(
        "{} chunks by {}: {:.1f} s of {:.1f} s, {:.1f} s on average, {} without a pause before them",
        statistics.chunks, strategy, statistics.speech_seconds, statistics.duration_seconds,
        statistics.mean_seconds, statistics.overlaps,
    )  # fmt: skip
    return ChunkPlan(strategy=strategy, threshold_dbfs=threshold, chunks=chunks, statistics=statistics)


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
    covered = covered_until = 0
    for span in (span for chunk in chunks for span in chunk.spans):
        covered += max(0, span.end - max(span.start, covered_until))
        covered_until = max(covered_until, span.end)
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
