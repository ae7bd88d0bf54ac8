"""The texts of chunks, each transcribed once: a text is kept under the hash of its sound, its model and its parameters.

A retry, a re-execution, another channel or another upload of the same sound finds it there, and so it is with the
languages that were heard in a sound.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter

from stt_core import object_keys
from stt_core.audio.clips import Clip, render_chunk
from stt_core.audio.plan import Chunk
from stt_core.cores import Lease, cores_folder, lease_cores, usable_cores
from stt_core.engines.transcriber import Transcriber, chunk_digest
from stt_core.jobs.job import JobModel, Lane
from stt_core.logs import get_logger
from stt_core.processing.handover import Track
from stt_core.services import Services
from stt_core.stores.object_store import ObjectStore
from stt_core.transcript.document import ChunkTranscript
from stt_core.whisper.models import WhisperModel

logger = get_logger(__name__)

_LANGUAGES = TypeAdapter(dict[str, float])


@dataclass(frozen=True)
class ChunkTexts:
    """The sounds of a recording's chunks, and the texts that one model and one way of decoding give them."""

    store: ObjectStore
    tracks: Sequence[Track]
    model: WhisperModel
    #: What it was before anything was heard: a file that is replaced since gives no text.
    model_digest: str
    transcriber: Transcriber
    #: Whose cores the transcriber computes on, and where they are leased (None: where all of this user's are).
    lane: Lane
    cores_dir: Path | None

    @classmethod
    def open(cls, services: Services, tracks: Sequence[Track], model: WhisperModel, job: JobModel) -> ChunkTexts:
        """Return the texts of a recording that is prepared as `tracks`, decoded as its job asks for."""
        transcriber = Transcriber.for_model(model, services.settings)
        decoding = replace(
            transcriber.decoding,
            prompt=job.options.prompt,
            translate=job.options.translate,
            temperature=job.options.temperature,
        )
        transcriber = replace(transcriber, decoding=decoding)
        return cls(services.store, tracks, model, model.digest, transcriber, job.lane, services.settings.cores_dir)

    @contextmanager
    def cores(self, *, parallel: int = 1, should_stop: Callable[[], bool] | None = None) -> Iterator[Lease]:
        """Hold cores of this host for one call of the transcriber: as many as it has threads.

        Args:
            parallel: How many such calls run at once for the recording: each wants its share.
            should_stop: Asked while all cores are taken; true ends the wait.

        Raises:
            EngineStoppedError: `should_stop` said so.
        """
        wanted = max(1, len(usable_cores()) // parallel)
        with lease_cores(cores_folder(self.cores_dir), wanted, lane=self.lane, should_stop=should_stop) as lease:
            yield lease

    def render(self, chunk: Chunk) -> Clip:
        """Return the sound of a chunk, read from the track of its channel."""
        [pcm_key] = [track.pcm_key for track in self.tracks if track.channel == chunk.channel]
        return render_chunk(chunk, partial(self.store.get_range, pcm_key))

    def key(self, clip: Clip, language: str) -> str:
        """Return where the text of a sound lies, once it is known, heard in that language (or `auto`)."""
        parameters = self.transcriber.parameters(language)
        return object_keys.chunk_result(chunk_digest(clip.digest, self.model_digest, parameters))

    def find_languages(self, clip: Clip) -> dict[str, float] | None:
        """Return the languages that were heard in a sound, with their probabilities; None where it is not known yet."""
        key = self._languages_key(clip)
        return _LANGUAGES.validate_json(self.store.get_bytes(key)) if self.store.exists(key) else None

    def keep_languages(self, clip: Clip, probabilities: dict[str, float]) -> None:
        """Write down the languages that were heard in a sound.

        Raises:
            ModelChangedError: Another model may have heard them.
        """
        self.model.ensure_unchanged(self.model_digest)
        self.store.put_bytes(
            self._languages_key(clip), _LANGUAGES.dump_json(probabilities), content_type="application/json"
        )

    def _languages_key(self, clip: Clip) -> str:
        return object_keys.chunk_result(chunk_digest(clip.digest, self.model_digest, {"languages": True}))

    def settled_key(self, transcript: ChunkTranscript) -> str:
        """Return where a text lies that is put together of several hearings: under its own hash."""
        return object_keys.chunk_result(hashlib.sha256(transcript.model_dump_json().encode()).hexdigest())

    def find(self, key: str) -> ChunkTranscript | None:
        """Return a text, or None where it is not known yet."""
        return ChunkTranscript.model_validate_json(self.store.get_bytes(key)) if self.store.exists(key) else None

    def keep(self, key: str, transcript: ChunkTranscript) -> None:
        """Write a text down.

        Raises:
            ModelChangedError: It may be another model's.
        """
        self.model.ensure_unchanged(self.model_digest)
        self.store.put_bytes(key, transcript.model_dump_json().encode(), content_type="application/json")
