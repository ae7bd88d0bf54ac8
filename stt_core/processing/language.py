"""The language of a recording: detected once, on its first speech, and held for all chunks.

Whisper detects a language from 30 s of sound. Asked on every chunk it now and then takes a short or noisy one for
another language, and writes that part of the recording in it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from stt_core.audio.clips import Clip
from stt_core.audio.models import Chunk
from stt_core.errors import EngineError, EngineTimeoutError
from stt_core.jobs.claims import Claim
from stt_core.logs import get_logger, logged
from stt_core.processing.texts import ChunkTexts
from stt_core.transcript.models import ChunkTranscript
from stt_core.whisper.languages import AUTO, AUTO_PER_CHUNK, ENGLISH

logger = get_logger(__name__)

#: So many chunks are listened to at the most: each is a window of whisper's, before the others run side by side.
_CHUNKS_HEARD = 3


@logged
def choose_language(claim: Claim, texts: ChunkTexts, chunks: Sequence[Chunk], asked: str) -> str:
    """Return the language in which all chunks are transcribed; `auto` where each is to detect its own.

    What is transcribed to find out is kept under the language found, so that it is not transcribed again. A chunk on
    which the engine fails is passed over: the step that transcribes it tries again, and names it if it must.

    Args:
        claim: The job, whose end stops the engine.
        texts: Of the recording.
        chunks: All of them, in any order.
        asked: What the job asks for: a code, `auto` or `auto-per-chunk`.

    Raises:
        EngineStoppedError: The job was cancelled or taken over meanwhile.
    """
    if not texts.model.multilingual:
        return ENGLISH
    if asked != AUTO:
        return AUTO if asked == AUTO_PER_CHUNK else asked
    heard = sorted(chunks, key=lambda chunk: chunk.start_seconds)[:_CHUNKS_HEARD]
    for chunk in heard:
        clip = texts.render(chunk)
        try:
            transcript = _transcribe(claim, texts, clip)
        except (EngineError, EngineTimeoutError) as error:
            logger.warning("the language cannot be told from chunk {}: {}", chunk.index, error)
            continue
        if transcript.segments:
            logger.info("language: {}, detected on chunk {}", transcript.language, chunk.index)
            texts.keep(texts.key(clip, transcript.language), transcript)
            return transcript.language
    if heard:
        logger.warning("language: not to be told from the first {} chunks, so each detects its own", len(heard))
    return AUTO


def _transcribe(claim: Claim, texts: ChunkTexts, clip: Clip) -> ChunkTranscript:
    key = texts.key(clip, AUTO)
    if known := texts.find(key):
        return known
    with TemporaryDirectory(prefix="stt-language-") as folder:
        wav = Path(folder) / "chunk.wav"
        clip.write_wav(wav)
        [transcript] = texts.transcriber.transcribe(
            [wav], texts.model, language=AUTO, threads=os.cpu_count() or 1, should_stop=claim.is_lost
        )
    texts.keep(key, transcript)
    return transcript
