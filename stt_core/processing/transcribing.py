"""Step 3: the text of one batch of chunks; only chunks whose text is not known yet go through the engine."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from stt_core.audio.clips import render_chunk
from stt_core.audio.models import Chunk
from stt_core.jobs.claims import Claim
from stt_core.jobs.models import ChunkStatus, utc_now
from stt_core.logs import get_logger, log_context, logged
from stt_core.processing.models import BatchResult, ChunkBatch, ChunkOutcome
from stt_core.processing.planning import chunk_document
from stt_core.services import Services
from stt_core.storage import keys
from stt_core.transcript.models import ChunkTranscript
from stt_core.whisper.models import resolve_model
from stt_core.whisper.transcriber import Transcriber, chunk_digest

logger = get_logger(__name__)


@logged
def transcribe_batch(services: Services, claim: Claim, batch: ChunkBatch) -> BatchResult:
    """Transcribe the chunks of a batch with one engine process and keep each text under the hash of what it is of.

    A text that an earlier attempt, or another upload of the same sound, left there is taken as it is.

    Raises:
        EngineError, EngineTimeoutError: The engine failed; what it had finished is kept.
        EngineStoppedError: The job was cancelled or taken over meanwhile.
    """
    model = resolve_model(batch.model, services.settings)
    transcriber = Transcriber.from_settings(services.settings)
    parameters = transcriber.parameters(model, batch.language)
    outcomes: dict[int, ChunkOutcome] = {}
    waiting: list[tuple[Chunk, Path, str]] = []
    pcm_keys = {track.channel: track.pcm_key for track in batch.tracks}
    with TemporaryDirectory(prefix="stt-chunks-") as folder:
        for chunk in batch.chunks:
            clip = render_chunk(chunk, partial(services.store.get_range, pcm_keys[chunk.channel]))
            key = keys.chunk_result(chunk_digest(clip.digest, model.digest, parameters))
            if services.store.exists(key):
                outcomes[chunk.index] = _keep(services, claim, chunk, key, cached=True)
                continue
            wav = Path(folder) / f"{chunk.index}.wav"
            clip.write_wav(wav)
            waiting.append((chunk, wav, key))

        def finished(position: int, transcript: ChunkTranscript) -> None:
            chunk, _, key = waiting[position]
            services.store.put_bytes(key, transcript.model_dump_json().encode(), content_type="application/json")
            outcomes[chunk.index] = _keep(services, claim, chunk, key, cached=False)

        started = time.monotonic()
        transcriber.transcribe(
            [wav for _, wav, _ in waiting],
            model,
            language=batch.language,
            threads=batch.threads,
            should_stop=claim.is_lost,
            on_transcript=finished,
        )
    return BatchResult(
        job_id=batch.job_id,
        outcomes=[outcomes[chunk.index] for chunk in batch.chunks],
        audio_seconds=sum(chunk.speech_seconds for chunk, _, _ in waiting),
        engine_seconds=round(time.monotonic() - started, 3),
    )


def _keep(services: Services, claim: Claim, chunk: Chunk, key: str, *, cached: bool) -> ChunkOutcome:
    """Tell MongoDB that a chunk's text is there."""
    with log_context(chunk=chunk.index):
        services.jobs.update_chunk(
            chunk_document(claim, chunk).model_copy(
                update={"status": ChunkStatus.DONE, "result_key": key, "cached": cached, "updated_at": utc_now()}
            )
        )
        logger.info("chunk done: {:.1f}-{:.1f} s cached={}", chunk.start_seconds, chunk.end_seconds, cached)
    return ChunkOutcome(index=chunk.index, result_key=key, cached=cached)
