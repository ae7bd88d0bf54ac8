"""What clients see beside a job itself: pages of jobs, and the chunks of one."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import BaseModel

from stt_core.jobs.job import ChunkModel, ChunkStatus, JobError, JobModel, JobStage, JobStatus, Priority
from stt_core.jobs.metadata import Metadata
from stt_core.logs import logged


class JobSummary(BaseModel):
    """A job in a list: what its own document tells, without its progress and its place in the queue."""

    job_id: str
    status: JobStatus
    stage: JobStage | None
    priority: Priority
    filename: str
    language: str
    model: str
    attempt: int
    error: JobError | None
    duration_seconds: float | None = None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    metadata: Metadata = {}

    @classmethod
    @logged
    def of(cls, job: JobModel) -> Self:
        """Return a job's."""
        shown = set(cls.model_fields) & set(JobModel.model_fields) - {"language", "metadata"}
        return cls(
            **job.model_dump(include=shown),
            language=job.language or job.options.language,
            model=job.options.model_name,
            metadata=job.metadata,
        )


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
    @logged
    def of(cls, chunk: ChunkModel) -> Self:
        """Return a chunk's."""
        return cls(**chunk.model_dump(include=set(cls.model_fields)))


class ChunkList(BaseModel):
    """The chunks of a job, in order; none before its recording was cut."""

    job_id: str
    chunks: list[ChunkView]
