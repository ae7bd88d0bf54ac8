"""Step 2: find the speech, pack it into chunks, write the plan to MongoDB, and spread the chunks over steps.

A language that the job leaves open is detected here too, before the chunks go their separate ways.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from itertools import accumulate, pairwise

from stt_core.audio import formats
from stt_core.audio.energies import FrameEnergies
from stt_core.audio.plan import Chunk, Span
from stt_core.audio.prepare import plan_recording as plan_audio
from stt_core.cores import waited_seconds
from stt_core.engines.process import engine_cpu_seconds
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs.claims import Claim
from stt_core.jobs.job import ChunkModel, JobModel, Lane
from stt_core.logs import get_logger
from stt_core.processing.handover import ChunkBatch, PreparedAudio, RecordingPlan
from stt_core.processing.lanes import let_uploads_pass
from stt_core.processing.language import choose_language
from stt_core.processing.texts import ChunkTexts
from stt_core.processing.voices import voice_of
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.whisper.models import resolve_model

logger = get_logger(__name__)

#: Bytes a second by which a recording's length is guessed before it is decoded: MP3 at 128 kbit/s, and 16-bit mono at
#: 48 kHz for what is not compressed. A wrong guess costs the start of a process or two, nothing else.
_COMPRESSED_RATE = 16_000
_UNCOMPRESSED_RATE = 96_000
_UNCOMPRESSED = frozenset({formats.WAV.name, formats.WAVE64.name, formats.AIFF.name, formats.AU.name})
#: Chunks that make a step worth its process (0.7 s of CPU and the loading of the model).
_MIN_CHUNKS_PER_STEP = 4
#: Chunks of a step at the most: what a crash of its engine repeats.
_MAX_CHUNKS_PER_STEP = 20


def parallel_steps(job: JobModel, settings: Settings) -> int:
    """Return how many steps transcribe a job's recording at once: one where, by its size, it is short."""
    is_short = job.source is not None and is_short_size(job.source.size_bytes, job.source.format, settings)
    return 1 if is_short else settings.max_concurrent_steps


def is_short_size(size_bytes: int, audio_format: str | None, settings: Settings) -> bool:
    """Guess whether so many bytes of a format last at most `IN_PROCESS_MAX_SECONDS`."""
    rate = _UNCOMPRESSED_RATE if audio_format in _UNCOMPRESSED else _COMPRESSED_RATE
    return size_bytes / rate <= settings.in_process_max_seconds


def plan_recording(services: Services, claim: Claim, prepared: PreparedAudio, *, parallel: int = 1) -> RecordingPlan:
    """Cut the prepared recording into chunks and write a document for each, in place of an earlier attempt's.

    Args:
        services: The core.
        claim: The job.
        prepared: Its recording.
        parallel: How many engines listen for its language at once.

    Raises:
        ModelNotFoundError: This host does not have the job's model.
        ModelChangedError: Its file was replaced while the language was being detected.
        EngineStoppedError: The job was cancelled while its language was being detected.
        SupersededError: The job is no longer this run's.
    """
    job = claim.job()
    model = resolve_model(job.options.model, services.settings)
    chunks: list[Chunk] = []
    warnings = [*prepared.audio.warnings]
    voices: dict[int | None, list[Span]] = {}
    for track in prepared.tracks:
        voice = voice_of(services.store, track)
        planned = plan_audio(
            FrameEnergies.from_bytes(services.store.get_bytes(track.energies_key)),
            voice,
            services.settings,
            strategy=job.options.strategy,
            channel=track.channel,
            first_index=len(chunks),
        )
        chunks += planned.chunks
        warnings += planned.warnings
        voices[track.channel] = voice.spans(min_silence_ms=services.settings.silence_min_ms)
    services.chunks.replace_chunks(job.job_id, (chunk_document(claim, chunk) for chunk in chunks))
    failpoint(Failpoint.CHUNKS_PLANNED)
    texts = ChunkTexts.open(services, prepared.tracks, model, job)
    if job.lane is Lane.BACKFILL:  # the language may have to be heard
        let_uploads_pass(services.jobs)
    started, cpu_before = time.monotonic() - waited_seconds(), engine_cpu_seconds()
    language = choose_language(claim, texts, chunks, voices, job.options, parallel=parallel)
    return RecordingPlan(
        job_id=job.job_id,
        tracks=prepared.tracks,
        audio=prepared.audio,
        chunks=chunks,
        model=job.options.model,
        model_name=model.name,
        model_digest=texts.model_digest,
        language=language.code,
        allow_partial=job.options.allow_partial,
        warnings=[*warnings, *language.warnings],
        engine_seconds=round(time.monotonic() - waited_seconds() - started, 3),
        cpu_seconds=round(engine_cpu_seconds() - cpu_before, 3),
    )


def batches_of(plan: RecordingPlan, *, slots: int) -> list[ChunkBatch]:
    """Spread the chunks over steps of which `slots` run at once.

    With one slot there is one step, whose engine has every core. With more, each engine has its share of the cores of
    the host that runs it; the last steps are small, so that all slots are busy to the end, but worth their process.
    """
    sizes = [*_sizes_of_batches(len(plan.chunks), slots)]
    parallel = min(slots, len(sizes))
    borders = [0, *accumulate(sizes)]
    batches = [
        ChunkBatch(
            job_id=plan.job_id,
            tracks=plan.tracks,
            chunks=plan.chunks[start:end],
            model=plan.model,
            model_digest=plan.model_digest,
            language=plan.language,
            parallel=parallel,
            allow_partial=plan.allow_partial,
        )
        for start, end in pairwise(borders)
    ]
    logger.info("{} chunks in {} steps, {} at once", len(plan.chunks), len(batches), parallel)
    return batches


def _sizes_of_batches(chunks: int, slots: int) -> Iterator[int]:
    """Yield how many chunks each step has: for every slot its share of two thirds of what is left, then of the rest."""
    if slots == 1:
        yield from [chunks] if chunks else []
        return
    while chunks > 2 * slots * _MIN_CHUNKS_PER_STEP:
        size = min(_MAX_CHUNKS_PER_STEP, math.ceil(chunks * 2 / 3 / slots))
        yield from [size] * slots
        chunks -= size * slots
    count = min(slots, math.ceil(chunks / _MIN_CHUNKS_PER_STEP))
    for number in range(count):
        yield (chunks + count - 1 - number) // count  # as even as can be


def chunk_document(claim: Claim, chunk: Chunk) -> ChunkModel:
    """Return the document of a chunk that waits to be transcribed."""
    return ChunkModel(
        chunk_id=f"{claim.job_id}:{chunk.index}",
        job_id=claim.job_id,
        index=chunk.index,
        channel=chunk.channel,
        attempt=claim.attempt,
        start_seconds=round(chunk.start_seconds, 3),
        end_seconds=round(chunk.end_seconds, 3),
        speech_seconds=round(chunk.speech_seconds, 3),
    )
