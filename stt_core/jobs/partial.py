"""The text of a recording while it is being transcribed: what its chunks say, in order, as far as there is no hole.

It is what the engine heard first. The transcript may say it better: it leaves out the words that two chunks heard
alike, and takes the second hearing of a doubtful stretch.
"""

from __future__ import annotations

from stt_core.jobs.models import ChunkModel
from stt_core.jobs.repository import JobRepository
from stt_core.logs import get_logger, logged
from stt_core.storage.object_store import ObjectStore
from stt_core.transcript.models import ChunkTranscript

logger = get_logger(__name__)

#: Texts read at once: of a recording that was all known before, thousands are there at the first look.
_PAGE = 50


@logged
def partial_texts(jobs: JobRepository, store: ObjectStore, job_id: str, first: int = 0) -> list[str]:
    """Return the texts of the job's chunks from the one numbered `first` on, up to one that has none yet.

    A job that has ended has no need of this, and its texts may be swept.

    Raises:
        TransientError: A server is away.
        ObjectNotFoundError: A text is not where MongoDB says.
    """
    texts: list[str] = []
    for chunk in jobs.get_chunks(job_id)[first : first + _PAGE]:
        if not chunk.result_key:
            break
        texts.append(_text(store, chunk))
    return texts


def _text(store: ObjectStore, chunk: ChunkModel) -> str:
    return ChunkTranscript.model_validate_json(store.get_bytes(chunk.result_key or "")).text
