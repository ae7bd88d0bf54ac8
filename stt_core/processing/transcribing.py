"""Step 3: the text of one batch of chunks; only chunks whose text is not known yet go through the engine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from stt_core.jobs.claims import Claim
from stt_core.jobs.models import ChunkModel, ChunkStatus, utc_now
from stt_core.logs import get_logger, log_context, logged
from stt_core.processing.models import BatchResult, ChunkBatch, ChunkOutcome
from stt_core.processing.planning import chunk_document
from stt_core.processing.texts import ChunkTexts
from stt_core.services import Services
from stt_core.transcript.models import ChunkTranscript
from stt_core.whisper.models import resolve_model

logger = get_logger(__name__)


@dataclass(frozen=True)
class _Waiting:
    """A chunk that goes through the engine: its document, its sound, and where its text will lie."""

    document: ChunkModel
    wav: Path
    key: str


@logged
def transcribe_batch(services: Services, claim: Claim, batch: ChunkBatch) -> BatchResult:
    """Transcribe the chunks of a batch with one engine process and keep each text under the hash of what it is of.

    A text that an earlier attempt, or another upload of the same sound, left there is taken as it is.

    Raises:
        EngineError, EngineTimeoutError: The engine failed; what it had finished is kept.
        EngineStoppedError: The job was cancelled or taken over meanwhile.
    """
    texts = ChunkTexts.open(services, batch.tracks, resolve_model(batch.model, services.settings))
    outcomes: dict[int, ChunkOutcome] = {}
    waiting: list[_Waiting] = []
    with TemporaryDirectory(prefix="stt-chunks-") as folder:
        for chunk in batch.chunks:
            clip = texts.render(chunk)
            key = texts.key(clip, batch.language)
            document = chunk_document(claim, chunk).model_copy(update={"dbfs": clip.dbfs})
            if known := texts.find(key):
                outcomes[chunk.index] = _done(services, document, key, known, cached=True)
                continue
            wav = Path(folder) / f"{chunk.index}.wav"
            clip.write_wav(wav)
            waiting.append(_Waiting(document, wav, key))

        def finished(position: int, transcript: ChunkTranscript) -> None:
            one = waiting[position]
            texts.keep(one.key, transcript)
            outcomes[one.document.index] = _done(services, one.document, one.key, transcript, cached=False)

        started = time.monotonic()
        texts.transcriber.transcribe(
            [one.wav for one in waiting],
            texts.model,
            language=batch.language,
            threads=batch.threads,
            should_stop=claim.is_lost,
            on_transcript=finished,
        )
    return BatchResult(
        job_id=batch.job_id,
        outcomes=[outcomes[chunk.index] for chunk in batch.chunks],
        audio_seconds=sum(one.document.speech_seconds for one in waiting),
        engine_seconds=round(time.monotonic() - started, 3),
    )


def _done(
    services: Services, document: ChunkModel, key: str, transcript: ChunkTranscript, *, cached: bool
) -> ChunkOutcome:
    """Tell MongoDB that a chunk's text is there."""
    done = document.model_copy(
        update={
            "status": ChunkStatus.DONE,
            "result_key": key,
            "cached": cached,
            "language": transcript.language,
            "words": transcript.word_count,
            "updated_at": utc_now(),
        }
    )
    with log_context(chunk=done.index):
        services.jobs.update_chunk(done)
        logger.info(
            "chunk done: {:.1f}-{:.1f} s, {} words, cached={}",
            done.start_seconds, done.end_seconds, done.words, cached,
        )  # fmt: skip
    return ChunkOutcome(index=done.index, result_key=key, cached=cached)
