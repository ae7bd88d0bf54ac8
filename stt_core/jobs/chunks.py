"""The chunks of jobs in MongoDB: a document each, so that steps that transcribe side by side never contend."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pymongo.errors import BulkWriteError

from stt_core.errors import ConflictError, SupersededError
from stt_core.jobs.job import ChunkModel, ChunkStatus, Progress
from stt_core.logs import get_logger
from stt_core.stores.database import Database, mongo_errors
from stt_core.stores.writes import DUPLICATE_KEY

logger = get_logger(__name__)


class ChunkRepository:
    """What reads and writes the `chunks` collection while their job is there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def replace_chunks(self, job_id: str, chunks: Iterable[ChunkModel]) -> None:
        """Make `chunks` the plan of the job, whatever an earlier attempt had planned.

        Raises:
            ConflictError: Another attempt writes its plan; a later one's is never touched.
        """
        documents = [chunk.to_document() for chunk in chunks]
        earlier: dict[str, Any] = {"attempt": {"$lte": documents[0]["attempt"]}} if documents else {}
        with mongo_errors(f"writing the chunks of job {job_id}"):
            self._database.chunks.delete_many({"job_id": job_id, **earlier})
            if documents:
                try:
                    self._database.chunks.insert_many(documents)  # ordered: it stops at the first that is taken
                except BulkWriteError as error:
                    if not any(problem["code"] == DUPLICATE_KEY for problem in error.details["writeErrors"]):
                        raise
                    raise ConflictError(f"Another attempt writes the chunks of job {job_id}.") from error
        logger.info("job {}: {} chunks planned", job_id, len(documents))

    def update_chunk(self, chunk: ChunkModel) -> None:
        """Write one chunk whole. Each chunk has one writer at a time: the step that transcribes it.

        An earlier attempt's chunk becomes this one's: a run re-executed from its failure goes on with the plan it has.

        Raises:
            SupersededError: The job's plan was replaced: a later attempt is at work.
        """
        with mongo_errors(f"updating chunk {chunk.chunk_id}"):
            replaced = self._database.chunks.replace_one(
                {"_id": chunk.chunk_id, "attempt": {"$lte": chunk.attempt}}, chunk.to_document()
            )
        if not replaced.matched_count:
            raise SupersededError(f"Chunk {chunk.chunk_id} is no longer part of attempt {chunk.attempt}.")

    def get_chunks(self, job_id: str) -> list[ChunkModel]:
        """Return the job's chunks in order."""
        with mongo_errors(f"reading the chunks of job {job_id}"):
            found = self._database.chunks.find({"job_id": job_id}).sort("index", 1)
            return [ChunkModel.from_document(document) for document in found]

    def get_progress(self, job_id: str) -> Progress:
        """Return how much of the job's speech is transcribed, from the state of its chunks."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"job_id": job_id}},
            {"$group": {"_id": "$status", "chunks": {"$sum": 1}, "seconds": {"$sum": "$speech_seconds"}}},
        ]
        progress = Progress()
        with mongo_errors(f"reading the progress of job {job_id}"):
            for group in self._database.chunks.aggregate(pipeline):
                progress.chunks_total += group["chunks"]
                progress.audio_seconds_total += group["seconds"]
                if group["_id"] == ChunkStatus.DONE.value:
                    progress.chunks_done = group["chunks"]
                    progress.audio_seconds_done = round(group["seconds"], 3)
        progress.audio_seconds_total = round(progress.audio_seconds_total, 3)
        return progress
