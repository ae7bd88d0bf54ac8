"""What clients may do with jobs: create, list, look at, cancel, send again and delete them, and fetch what they leave.

How a recording is taken in stands in `stt_core.tasks.submission`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, BinaryIO, Literal, Unpack

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from stt_core import object_keys
from stt_core.errors import (
    FileTooLargeError,
    InvalidTransitionError,
    QueueRefusedError,
    QueueUnavailableError,
    RecordingGoneError,
    ResultNotReadyError,
    SttError,
)
from stt_core.jobs import transitions
from stt_core.jobs.chunks import ChunkRepository
from stt_core.jobs.job import JobModel, JobStatus, JobView, Progress, Source
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.recovery import cancel_job, dequeue_job, enqueue_job
from stt_core.jobs.repository import JobRepository
from stt_core.jobs.transitions import ended_error
from stt_core.logs import get_logger, logged
from stt_core.settings import Settings
from stt_core.stores.documents import utc_now
from stt_core.stores.object_store import ObjectStore
from stt_core.tasks.submission import Submissions
from stt_core.tasks.views import ChunkList, ChunkView, JobList, JobSummary
from stt_core.tasks.wishes import Wishes
from stt_core.transcript.document import Transcript

logger = get_logger(__name__)


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
    #: Whether it was announced before, under the same idempotency key; a header says so.
    replayed: Annotated[SkipJsonSchema[bool], Field(exclude=True)] = False


@dataclass(frozen=True)
class Submission:
    """The answer to an upload; `replayed` and `deduplicated` say why its job was there before (see `Accepted`)."""

    job: JobView
    replayed: bool
    deduplicated: bool


class JobService:
    """The use cases of a job's owner, over the repository, the queue and the object store.

    `owner` is whose job it must be, an API key's id; None sees all. Somebody else's job is not found.
    """

    def __init__(self, settings: Settings, jobs: JobRepository, queue: JobQueue, store: ObjectStore) -> None:
        self._settings = settings
        self._jobs = jobs
        self._chunks = ChunkRepository(jobs.database)
        self._queue = queue
        self._store = store
        self._submissions = Submissions(settings, jobs, queue, store)

    @logged
    def close(self) -> None:
        """End the uploads that are still under way, so that none stays `pending` without anybody at work on it."""
        self._submissions.close()

    @logged
    def ensure_acceptable(self, size_bytes: int | None) -> None:
        """Refuse an upload before its body is read. `size_bytes` is what the client announced, if it did.

        Raises:
            FileTooLargeError: Over `MAX_UPLOAD_BYTES`.
            QueueFullError: `QUEUE_MAX_SIZE` jobs are waiting.
            QueueUnavailableError: Redis does not answer.
        """
        self._submissions.ensure_acceptable(size_bytes)

    @logged
    def too_large(self, size_bytes: int) -> FileTooLargeError:
        """Return the error for an upload of that size."""
        return self._submissions.too_large(size_bytes)

    @logged
    def create_task(self, file: BinaryIO, *, filename: str, size_bytes: int, **wishes: Unpack[Wishes]) -> JobView:
        """Store a recording, create its job and enqueue it.

        Args:
            file: The recording, seekable, at its start.
            filename: The user's name for it; shown, never used as a path or a key.
            size_bytes: Its length.
            wishes: What is asked for beside it.

        Raises:
            EmptyFileError, UnsupportedFormatError, FileTooLargeError: The file is not usable.
            ModelNotFoundError, UnknownLanguageError, TranslationUnsupportedError: The options are not.
            QueueFullError: `QUEUE_MAX_SIZE` jobs are waiting. Uploads under way at once may exceed it by their number.
            JobFailedError: The job was cancelled meanwhile; its bytes are removed.
            TransientError: A server is away. Nothing is left behind, unless taking back fails too: then a failed job.
        """
        # Once it is accepted, what the answer lacks must not make it look refused: chunks are not asked for.
        return self._view(self._submissions.accept(file, filename, size_bytes, wishes).job, Progress())

    @logged
    def submit_task(
        self,
        file: BinaryIO,
        *,
        filename: str,
        size_bytes: int,
        idempotency_key: str | None = None,
        deduplicate: bool = False,
        source_url: str | None = None,
        **wishes: Unpack[Wishes],
    ) -> Submission:
        """Do as `create_task`, unless there is a job for this request already: then return that.

        Args:
            file: The recording, seekable, at its start.
            filename: The user's name for it.
            size_bytes: Its length.
            idempotency_key: The client's name for this request, for 24 hours; each owner has names of their own.
            deduplicate: Take the owner's job of the same bytes and options, unless it failed, was cancelled or deleted.
            source_url: Where the recording was fetched from: that, not its bytes, is then what the client sent.
            wishes: What is asked for beside it.

        Raises:
            IdempotencyMismatchError: The key stands for another request.
            RequestInProgressError, ConflictError: Another request with this key is being served.
            SttError: As `create_task` does.
        """
        accepted = self._submissions.accept(
            file,
            filename,
            size_bytes,
            wishes,
            idempotency_key=idempotency_key,
            deduplicate=deduplicate,
            source_url=source_url,
        )
        is_new = not (accepted.replayed or accepted.deduplicated)
        view = self._view(accepted.job, Progress()) if is_new else self.view(accepted.job)
        return Submission(job=view, replayed=accepted.replayed, deduplicated=accepted.deduplicated)

    @logged
    def presign_task(
        self,
        *,
        filename: str,
        size_bytes: int | None = None,
        idempotency_key: str | None = None,
        **wishes: Unpack[Wishes],
    ) -> PresignedUpload:
        """Create a job whose recording the client puts into the object store itself; `complete_task` queues it.

        Args:
            filename: The user's name for the recording.
            size_bytes: Its length, if it is known.
            idempotency_key: The client's name for this request, as in `submit_task`.
            wishes: What is asked for beside it.

        Raises:
            SttError: As `create_task` does, as far as it does not depend on the bytes.
        """
        expected, url = self._submissions.expect(filename, size_bytes, wishes, idempotency_key=idempotency_key)
        job = expected.job
        put = PresignedPut(url=url, expires_at=job.upload_expires_at or job.created_at)
        return PresignedUpload(job=self.view(job), upload=put, replayed=expected.replayed)

    @logged
    def complete_task(self, job_id: str, *, owner: str | None = None) -> JobView:
        """Queue a job whose recording the client has put into the object store. Repeating it changes nothing.

        Raises:
            JobNotFoundError: No job has this id.
            UploadMissingError: Nothing has arrived.
            EmptyFileError, UnsupportedFormatError, FileTooLargeError: What arrived is not usable. The client may put
                something else until the URL expires.
            QueueFullError: `QUEUE_MAX_SIZE` jobs are waiting.
            JobFailedError: The job was cancelled, or its bytes came too late.
            TransientError: A server is away; the job waits for the next try.
        """
        return self.view(self._submissions.complete(self._jobs.get_job(job_id, owner=owner)))

    @logged
    def get_task_status(self, job_id: str, *, owner: str | None = None) -> JobView:
        """Return the job as its owner sees it.

        Raises:
            JobNotFoundError: No job has this id.
        """
        return self.view(self._jobs.get_job(job_id, owner=owner))

    @logged
    def get_task_result(self, job_id: str, *, owner: str | None = None) -> Transcript:
        """Return the transcript of a completed job.

        Raises:
            JobNotFoundError: No job has this id.
            ResultNotReadyError: The job has not finished; the details hold its status and progress.
            JobFailedError: The job failed or was cancelled; the message says why.
        """
        job = self._jobs.get_job(job_id, owner=owner)
        if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            raise ended_error(job)
        if job.result is None:
            raise ResultNotReadyError(
                f"Job {job_id} is {job.status}; there is no result yet.",
                mend=f"Ask GET /api/v1/tasks/{job_id} until its status is completed.",
                job_status=job.status.value,
                progress=self._chunks.get_progress(job_id).model_dump(),
            )
        return Transcript.model_validate_json(self._store.get_bytes(object_keys.transcript(job.result.prefix, "json")))

    @logged
    def list_tasks(
        self,
        *,
        status: JobStatus | None = None,
        cursor: str | None = None,
        limit: int = 50,
        owner: str | None = None,
    ) -> JobList:
        """Return a page of jobs, newest first; `cursor` is the `next_cursor` of the page before.

        Raises:
            InvalidInputError: The cursor is not one of ours.
        """
        page = self._jobs.list_jobs(status=status, owner=owner, cursor=cursor, limit=limit)
        return JobList(tasks=[JobSummary.of(job) for job in page.jobs], next_cursor=page.next_cursor)

    @logged
    def get_task_chunks(self, job_id: str, *, owner: str | None = None) -> ChunkList:
        """Return the pieces that the engine hears of a job, and what became of each so far.

        Raises:
            JobNotFoundError: No job has this id.
        """
        self._jobs.get_job(job_id, owner=owner)
        return ChunkList(job_id=job_id, chunks=[ChunkView.of(chunk) for chunk in self._chunks.get_chunks(job_id)])

    @logged
    def get_task_source(self, job_id: str, *, owner: str | None = None) -> Source:
        """Return where a job's recording lies, and what it is.

        Raises:
            JobNotFoundError: No job has this id.
            RecordingGoneError: It has not arrived.
        """
        source = self._jobs.get_job(job_id, owner=owner).source
        if source is None:
            raise RecordingGoneError(f"The recording of job {job_id} is not stored.", mend="Upload it again.")
        return source

    @logged
    def delete_task(self, job_id: str, *, owner: str | None = None) -> None:
        """Cancel a job that has not ended, and remove all that belongs to it, but for a tombstone.

        What its run writes before it sees that (within seconds), and what the store does not remove now, the nightly
        sweep removes. The texts of chunks belong to the sound, not to a job, and expire after `CHUNK_CACHE_DAYS`.

        Raises:
            JobNotFoundError: No job has this id.
            JobDeletedError: It was deleted before.
            ConflictError: It was sent again in this moment.
            StoreUnavailableError: Its objects could not be removed; nothing is changed.
        """
        self._jobs.get_job(job_id, owner=owner)
        self._store.ping()
        job = cancel_job(self._jobs, job_id)
        dequeue_job(self._queue, job)
        self._jobs.bury_job(job, utc_now())
        try:
            for prefix in object_keys.prefixes_of(job_id):
                self._store.remove_prefix(prefix)
        except SttError as error:
            logger.warning("objects of deleted job {} are left to the sweep: {}", job_id, error)

    @logged
    def cancel_task(self, job_id: str, *, owner: str | None = None) -> JobView:
        """Cancel a job at any stage; its run sees it within seconds and stops. Repeating it changes nothing.

        Raises:
            JobNotFoundError: No job has this id.
            InvalidTransitionError: The job completed or failed before.
        """
        self._jobs.get_job(job_id, owner=owner)
        job = cancel_job(self._jobs, job_id)
        if job.status is not JobStatus.CANCELLED:
            raise InvalidTransitionError(
                f"Job {job_id} is {job.status}: there is nothing left to cancel.", job_status=job.status.value
            )
        dequeue_job(self._queue, job)
        return self.view(job)

    @logged
    def retry_task(self, job_id: str, *, owner: str | None = None) -> JobView:
        """Send a failed job again: its next attempt joins the queue now, with all of `MAX_ATTEMPTS` before it.

        Why it failed stays in its history. A permanent error does not keep it back: its owner may have mended what
        was wrong, such as a model that was not there.

        Raises:
            JobNotFoundError: No job has this id.
            InvalidTransitionError: The job did not fail.
            RecordingGoneError: Its recording never arrived, or is not stored any more.
        """
        job = self._jobs.get_job(job_id, owner=owner)
        if job.status is JobStatus.FAILED and not self._has_recording(job):
            raise RecordingGoneError(f"The recording of job {job_id} is not stored.", mend="Upload it again.")
        job = self._jobs.modify_job(job_id, transitions.send_again)
        enqueue_job(self._queue, job)
        return self.view(job)

    def _has_recording(self, job: JobModel) -> bool:
        return job.source is not None and self._store.in_bucket(job.source.bucket).exists(job.source.key)

    @logged
    def view(self, job: JobModel) -> JobView:
        """Return a job as its owner sees it, with its progress and its place in the queue."""
        # Most of those that are asked for wait, and have no chunks yet: one question less.
        return self._view(job, self._chunks.get_progress(job.job_id) if job.started_at else Progress())

    def _view(self, job: JobModel, progress: Progress) -> JobView:
        run_url = f"{self._settings.dagster_url}/runs/{job.run_id}" if job.run_id else None
        return JobView(
            **job.model_dump(include=_SHARED_FIELDS),
            progress=progress,
            model=job.options.model_name,
            language=job.language or job.options.language,
            queue_position=self._position(job),
            run_url=run_url,
        )

    def _position(self, job: JobModel) -> int | None:
        if job.status is not JobStatus.QUEUED:
            return None
        try:
            return self._queue.position(job.member)
        except (QueueUnavailableError, QueueRefusedError) as error:
            logger.warning("the place of job {} is not known: {}", job.job_id, error)
            return None


_SHARED_FIELDS = set(JobView.model_fields) & set(JobModel.model_fields) - {"language"}
