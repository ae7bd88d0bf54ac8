"""The text of a recording while it is being transcribed: what its chunks say, in order, as far as there is no hole.

It is what the engine heard first. The transcript may say it better: it leaves out the words that two chunks heard
alike, and has what was heard only the second time.
"""

from __future__ import annotations

from pydantic import BaseModel

from stt_core.errors import ObjectNotFoundError
from stt_core.jobs.chunks import ChunkRepository
from stt_core.jobs.job import ChunkModel
from stt_core.logs import get_logger
from stt_core.stores.object_store import ObjectStore
from stt_core.transcript.document import ChunkTranscript

logger = get_logger(__name__)

#: Texts read at once: of a recording that was all known before, thousands are there at the first look.
_PAGE = 50


class ChunkText(BaseModel):
    """What the engine heard in one chunk; seconds of the recording."""

    index: int
    channel: int | None
    start_seconds: float
    end_seconds: float
    text: str


def partial_texts(chunks: ChunkRepository, store: ObjectStore, job_id: str, first: int = 0) -> list[str]:
    """Return the texts of the job's chunks from the one numbered `first` on, up to one that has none yet.

    A job that has ended has no need of this: its texts may be swept.

    Raises:
        TransientError: A server is away.
    """
    texts: list[str] = []
    for chunk in chunks.get_chunks(job_id)[first : first + _PAGE]:
        text = _text(store, chunk)
        if text is None:
            break
        texts.append(text)
    return texts


def take_new_texts(chunks: ChunkRepository, store: ObjectStore, job_id: str, heard: set[int]) -> list[ChunkText]:
    """Return the texts of chunks that are not in `heard`, a page of them at most, and put their numbers in.

    They come as they are finished, not in order; one that is swept is left out.

    Raises:
        TransientError: A server is away; what was read until then is read again.
    """
    new = [chunk for chunk in chunks.get_chunks(job_id) if chunk.result_key and chunk.index not in heard][:_PAGE]
    texts = []
    for chunk in new:
        text = _text(store, chunk)
        if text is not None:
            place = chunk.model_dump(include={"index", "channel", "start_seconds", "end_seconds"})
            texts.append(ChunkText(**place, text=text))
    heard.update(chunk.index for chunk in new)
    return texts


def _text(store: ObjectStore, chunk: ChunkModel) -> str | None:
    """Return what was heard in a chunk, or None where that is not known yet, or swept."""
    if not chunk.result_key:
        return None
    try:
        return ChunkTranscript.model_validate_json(store.get_bytes(chunk.result_key)).text
    except ObjectNotFoundError as error:
        logger.warning("the text of chunk {} is left out: {}", chunk.chunk_id, error)
        return None
