"""What clients see beside a job itself: pages of jobs, the chunks of one, and where its recording is put."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel

from stt_core.jobs.job import ChunkModel, ChunkStatus, JobError, JobSummary, JobView


class JobList(BaseModel):
    """A page of jobs, newest first."""

    tasks: list[JobSummary]
    #: Leads to the next page; None on the last.
    next_cursor: str | None


class ChunkView(BaseModel):
    """A piece of a recording that the engine hears at once; seconds of the recording."""

    index: int
    #: The channel that it is of, where they are split.
    channel: int | None
    status: ChunkStatus
    attempt: int
    start_seconds: float
    end_seconds: float
    speech_seconds: float
    #: Level of its sound; None before it was listened to, and for digital silence.
    dbfs: float | None
    language: str | None
    words: int | None
    #: Whether its text was known before.
    cached: bool
    error: JobError | None
    updated_at: datetime

    @classmethod
    def of(cls, chunk: ChunkModel) -> Self:
        """Return a chunk's."""
        return cls(**chunk.model_dump(include=set(cls.model_fields)))


class ChunkList(BaseModel):
    """The chunks of a job, in order; none before its recording was cut."""

    job_id: str
    chunks: list[ChunkView]


class PresignedPut(BaseModel):
    """Where the client puts its recording, with a plain PUT of its bytes."""

    method: Literal["PUT"] = "PUT"
    url: str
    #: The upload must have begun by then.
    expires_at: datetime


class PresignedUpload(BaseModel):
    """A job that waits for its recording, and where that is put."""

    job: JobView
    upload: PresignedPut
