"""Jobs as data: what MongoDB holds. How they change stands in `stt_core.jobs.transitions`.

Documents are written whole (`insert_one`, `replace_one` on `_id` and `version`): simple, and right on every
MongoDB-compatible server. Datetimes are UTC with MongoDB's precision of a millisecond.
"""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from stt_core.jobs.metadata import Metadata, StoredMetadata
from stt_core.logs import get_logger
from stt_core.options import JobOptions
from stt_core.settings import QualityName
from stt_core.stores.documents import Document, utc_now
from stt_core.transcript.document import QualityCheck
from stt_core.warnings import RecordingWarnings, WarningName

logger = get_logger(__name__)


#: What a job's id looks like.
JOB_ID_PATTERN = r"[0-9a-f]{32}"


def new_job_id() -> str:
    """Return a fresh id of 32 hexadecimal digits: the moment in milliseconds, then 80 random bits.

    Ids so sort by age, on the index that every collection has, and cannot be guessed.
    """
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


class JobStatus(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to the job by itself."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


#: Attempts kept in a job's history: an outage of a week makes thousands, and a document has 16 MB.
_ATTEMPTS_KEPT = 50


class JobStage(StrEnum):
    """What a processing job is doing."""

    PREPARING = "preparing"
    CHUNKING = "chunking"
    TRANSCRIBING = "transcribing"
    MERGING = "merging"
    UPLOADING = "uploading"


class Priority(StrEnum):
    """How soon a job is wanted."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Lane(StrEnum):
    """Which door a job came through; backfills never enter the Redis queue."""

    UPLOAD = "upload"
    BACKFILL = "backfill"


class ChunkStatus(StrEnum):
    """Where a chunk stands."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class Source(BaseModel):
    """A recording. `filename` is the user's text: shown, never used as a path or a key."""

    filename: str
    #: The bucket it lies in, which is read only; None: our own.
    bucket: str | None = None
    key: str
    #: Which version of the object it is; None: the one that is there.
    etag: str | None = None
    format: str
    content_type: str
    size_bytes: int = Field(ge=0)
    #: Of what was uploaded; the bytes of a bucket's object are known by its ETag.
    sha256: str | None = None


class JobError(BaseModel):
    """Why a job, or its latest attempt, failed."""

    kind: str
    message: str
    mend: str | None = None
    transient: bool = False
    #: A server or a host was away: the attempt does not count towards `MAX_ATTEMPTS`.
    outage: bool = False
    stage: JobStage | None = None
    occurred_at: datetime = Field(default_factory=utc_now)


class Attempt(BaseModel):
    """One run of a job, kept as its history."""

    attempt: int
    run_id: str
    #: Where it ran; empty for a run that ended before it claimed the job.
    host: str
    started_at: datetime = Field(default_factory=utc_now)
    ended_at: datetime | None = None
    error: JobError | None = None


class JobResult(BaseModel):
    """Where the transcript lies, and what people want to know before they open it."""

    prefix: str
    formats: list[str]
    language: str
    duration_seconds: float
    words: int
    segments: int
    #: Parts of the recording without a text; the transcript names each with its reason.
    gaps: int = 0
    #: What is lost or doubtful, each with a name for programs and a text for people.
    warnings: RecordingWarnings = []
    text_preview: str
    model: str = ""
    model_digest: str | None = None
    #: Mean probability of the words; None where the engine gave none.
    confidence: float | None = None
    #: Speech that was found.
    speech_seconds: float = 0.0
    #: Wall time that the engine took, its processes added up; texts that were known already cost nothing.
    engine_seconds: float = 0.0
    #: CPU time of the engine's processes.
    cpu_seconds: float = 0.0
    checks: list[QualityCheck] = []


class JobCreate(BaseModel):
    """What it takes to create a job."""

    job_id: str = Field(default_factory=new_job_id)
    filename: str = Field(min_length=1, max_length=255)
    options: JobOptions
    priority: Priority = Priority.NORMAL
    lane: Lane = Lane.UPLOAD
    owner: str | None = None
    metadata: dict[str, Any] = {}
    callback_url: str | None = None
    upload_expires_at: datetime | None = None


class JobUpdate(BaseModel):
    """A change of some fields of a job; a field that is not set stays as it is."""

    model_config = ConfigDict(extra="forbid")

    status: JobStatus | None = None
    stage: JobStage | None = None
    attempt: int | None = None
    attempts: list[Attempt] | None = None
    failures: int | None = None
    run_id: str | None = None
    source: Source | None = None
    duration_seconds: float | None = None
    language: str | None = None
    queued_at: datetime | None = None
    not_before: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: JobError | None = None
    result: JobResult | None = None
    filename: str | None = None
    callback_due: bool | None = None
    release_due: bool | None = None
    deleted_at: datetime | None = None


class JobModel(Document):
    """A job. `version` counts its writes and guards each one; `write_id` names the latest (see `repository`)."""

    job_id: str = Field(default_factory=new_job_id, alias="_id")
    version: int = 0
    write_id: str = ""
    status: JobStatus = JobStatus.PENDING
    stage: JobStage | None = None
    lane: Lane = Lane.UPLOAD
    #: The object that it transcribes, a partition key (see `stt_core.backfill`); None for an upload.
    partition: str | None = None
    priority: Priority = Priority.NORMAL
    #: The id of the API key that created the job; None where keys are off.
    owner: str | None = None
    filename: str
    options: JobOptions
    #: The caller's own data, given back as it came.
    metadata: StoredMetadata = Field(default_factory=dict)
    #: Told when the job has ended.
    callback_url: str | None = None
    #: Whether its end is still to be passed on to the deliveries (see `stt_core.webhooks`).
    callback_due: bool = False
    #: Whether its transcript is still to be passed on to its object (see `stt_core.backfill.exporting`).
    release_due: bool = False
    #: Until when the client may begin to send the recording straight to the object store, if it does.
    upload_expires_at: datetime | None = None
    source: Source | None = None
    #: Fences the runs of a job off from each other; the queue's member is `<job_id>:<attempt>`.
    attempt: int = 0
    attempts: list[Attempt] = Field(default_factory=list)
    #: Attempts that were claimed by a run and failed; an outage does not burn one.
    failures: int = 0
    run_id: str | None = None
    duration_seconds: float | None = None
    language: str | None = None
    queued_at: datetime | None = None
    not_before: datetime | None = None
    created_at: datetime = Field(default_factory=utc_now)
    updated_at: datetime = Field(default_factory=utc_now)
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: JobError | None = None
    result: JobResult | None = None
    #: Set on what is left of a deleted job, so that whoever asks is told that there was one.
    deleted_at: datetime | None = None

    @property
    def member(self) -> str:
        """The job's entry in the queue and the run key of its Dagster run."""
        return f"{self.job_id}:{self.attempt}"

    def with_attempt(self, attempt: Attempt) -> list[Attempt]:
        """Return the job's history with one more attempt; of a very long one only the latest are kept."""
        return [*self.attempts, attempt][-_ATTEMPTS_KEPT:]

    @property
    def processing_seconds(self) -> float:
        """How long the run that completed the job had it; 0 while it has not."""
        return (self.completed_at - self.started_at).total_seconds() if self.completed_at and self.started_at else 0.0

    def ended_attempts(self, run_id: str, error: JobError | None) -> list[Attempt]:
        """Return the job's history with the attempt of that run ended, unless it was already."""
        return [
            past.model_copy(update={"ended_at": utc_now(), "error": error})
            if past.run_id == run_id and past.ended_at is None
            else past
            for past in self.attempts
        ]


class ChunkModel(Document):
    """The state of one chunk of a job: what it covers, and whether its text is there."""

    chunk_id: str = Field(alias="_id")
    job_id: str
    index: int = Field(ge=0)
    #: The channel of the recording that it is of, where they are split.
    channel: int | None = None
    attempt: int
    status: ChunkStatus = ChunkStatus.PENDING
    start_seconds: float
    end_seconds: float
    speech_seconds: float
    #: Level of its sound; None before it was listened to, and for digital silence.
    dbfs: float | None = None
    result_key: str | None = None
    cached: bool = False
    language: str | None = None
    words: int | None = None
    error: JobError | None = None
    updated_at: datetime = Field(default_factory=utc_now)


class Progress(BaseModel):
    """How far a job's transcription is; seconds are seconds of speech."""

    chunks_done: int = 0
    chunks_total: int = 0
    audio_seconds_done: float = 0.0
    audio_seconds_total: float = 0.0


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
    #: Of its transcript; None before there is one.
    words: int | None = None
    #: Kinds of loss and doubt, each once.
    warnings: list[WarningName] = []
    #: Checks of its quality that failed.
    failed_checks: list[QualityName] = []

    @classmethod
    def of(cls, job: JobModel, **beside: Any) -> Self:
        """Return a job's; `beside` is what its document does not tell."""
        result = job.result
        return cls(
            **job.model_dump(include=set(cls.model_fields) & set(JobModel.model_fields) - {"language"}),
            language=job.language or job.options.language,
            model=job.options.model_name,
            words=result.words if result else None,
            warnings=list(dict.fromkeys(one.name for one in result.warnings)) if result else [],
            failed_checks=[check.name for check in result.checks if not check.passed] if result else [],
            **beside,
        )


class JobView(JobSummary):
    """A job as its owner sees it: the body of `GET /api/v1/tasks/{job_id}`."""

    progress: Progress
    queue_position: int | None = None
    run_id: str | None = None
    run_url: str | None = None
    result: JobResult | None = None
