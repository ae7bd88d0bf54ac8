"""What clients may do with jobs: create one, look at it, fetch its result, cancel it, send it again; nothing else.

An upload is written in the order that loses nothing: the job (`pending`), its bytes, `queued` with its source, the
queue entry. A refused or broken upload takes back its object, then its job.
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO, cast

from stt_core.audio.formats import HEAD_BYTES, detect_format
from stt_core.errors import (
    DatabaseUnavailableError,
    EmptyFileError,
    FileTooLargeError,
    InvalidInputError,
    InvalidTransitionError,
    JobFailedError,
    QueueRefusedError,
    QueueUnavailableError,
    RecordingGoneError,
    ResultNotReadyError,
    SttError,
)
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs.claims import describe_error
from stt_core.jobs.models import (
    Channels,
    JobCreate,
    JobModel,
    JobOptions,
    JobStatus,
    JobUpdate,
    JobView,
    Priority,
    Progress,
    Source,
    utc_now,
)
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.recovery import cancel_job, enqueue_job
from stt_core.jobs.repository import JobRepository
from stt_core.logs import get_logger, log_context, logged
from stt_core.settings import Settings, Strategy
from stt_core.storage import keys
from stt_core.storage.object_store import ObjectStore
from stt_core.transcript.models import Transcript
from stt_core.whisper.languages import check_language
from stt_core.whisper.models import resolve_model

logger = get_logger(__name__)


class JobService:
    """The use cases of a job's owner, over the repository, the queue and the object store.

    `owner` is whose job it must be, an API key's id; None sees all. Somebody else's job is not found.
    """

    def __init__(self, settings: Settings, jobs: JobRepository, queue: JobQueue, store: ObjectStore) -> None:
        self._settings = settings
        self._jobs = jobs
        self._queue = queue
        self._store = store

    @logged
    def ensure_acceptable(self, size_bytes: int | None) -> None:
        """Refuse an upload before its body is read. `size_bytes` is what the client announced, if it did.

        Raises:
            FileTooLargeError: Over `MAX_UPLOAD_BYTES`.
            QueueFullError: `QUEUE_MAX_SIZE` jobs are waiting.
            QueueUnavailableError: Redis does not answer.
        """
        if size_bytes is not None and size_bytes > self._settings.max_upload_bytes:
            raise self.too_large(size_bytes)
        self._queue.ensure_room()

    @logged
    def too_large(self, size_bytes: int) -> FileTooLargeError:
        """Return the error for an upload of that size."""
        limit = self._settings.max_upload_bytes
        return FileTooLargeError(
            f"The upload has {size_bytes} bytes or more; at most {limit} are accepted.",
            mend="Send a shorter or compressed recording, or raise MAX_UPLOAD_BYTES.",
            limit=limit,
        )

    @logged
    def create_task(
        self,
        file: BinaryIO,
        *,
        filename: str,
        size_bytes: int,
        language: str | None = None,
        model: str | None = None,
        priority: Priority = Priority.NORMAL,
        channels: Channels = Channels.MIX,
        strategy: Strategy | None = None,
        allow_partial: bool = False,
        owner: str | None = None,
    ) -> JobView:
        """Store a recording, create its job and enqueue it.

        Args:
            file: The recording, seekable, at its start.
            filename: The user's name for it; shown, never used as a path or a key.
            size_bytes: Its length.
            language: See `JobOptions`, as all that follows; `WHISPER_LANGUAGE` by default.
            model: `WHISPER_MODEL` by default.
            priority: How soon it is wanted.
            channels: Mix them, or transcribe each by itself.
            strategy: How speech is found; `CHUNK_STRATEGY` by default.
            allow_partial: Accept a transcript with gaps.
            owner: The API key that it belongs to.

        Raises:
            EmptyFileError, UnsupportedFormatError, FileTooLargeError: The file is not usable.
            ModelNotFoundError, UnknownLanguageError: The options are not.
            QueueFullError: `QUEUE_MAX_SIZE` jobs are waiting. Uploads under way at once may exceed it by their number.
            JobFailedError: The job was cancelled meanwhile; its bytes are removed.
            TransientError: A server is away. Nothing is left behind, unless taking back fails too: then a failed job.
        """
        if size_bytes == 0:
            raise EmptyFileError(f"{filename!r} is empty.", mend="Send the bytes of a recording.")
        self.ensure_acceptable(size_bytes)
        head = file.read(HEAD_BYTES)
        file.seek(0)
        detected = detect_format(head)
        asked_model = model or self._settings.whisper_model
        whisper_model = resolve_model(asked_model, self._settings)
        spoken = check_language(language or self._settings.whisper_language, whisper_model)

        job = self._jobs.create_job(
            JobCreate(
                filename=_shorten(filename),
                # As it was asked for: the run resolves it again, and a path has no other name.
                options=JobOptions(
                    language=spoken,
                    model=asked_model,
                    channels=channels,
                    strategy=strategy,
                    allow_partial=allow_partial,
                ),
                priority=priority,
                owner=owner,
            )
        )
        failpoint(Failpoint.JOB_INSERTED)
        with log_context(job_id=job.job_id):
            logger.info("upload: {!r} format={} size={} bytes", filename, detected.name, size_bytes)
            try:
                hashed = _HashingReader(file)
                key = keys.source(job.job_id, detected.extension)
                self._store.put_stream(
                    key, cast("BinaryIO", hashed), length=size_bytes, content_type=detected.content_type
                )
                failpoint(Failpoint.BYTES_STORED)
                source = Source(
                    filename=job.filename,
                    key=key,
                    format=detected.name,
                    content_type=detected.content_type,
                    size_bytes=size_bytes,
                    sha256=hashed.hexdigest(),
                )
                queued = JobUpdate(status=JobStatus.QUEUED, source=source, attempt=1, queued_at=utc_now())
                job = self._jobs.modify_job(job.job_id, lambda job: _unless_ended(job, queued))
            except Exception as error:
                logger.error("upload of {!r} is taken back: {}", filename, error)
                self._take_back(job.job_id, error)
                raise
            enqueue_job(self._queue, job)
        # From here on the job is accepted: what the answer lacks must not make it look refused.
        return self._view(job, Progress())

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
            raise _ended(job)
        if job.result is None:
            raise ResultNotReadyError(
                f"Job {job_id} is {job.status}; there is no result yet.",
                mend=f"Ask GET /api/v1/tasks/{job_id} until its status is completed.",
                job_status=job.status.value,
                progress=self._jobs.get_progress(job_id).model_dump(),
            )
        return Transcript.model_validate_json(self._store.get_bytes(keys.transcript(job.result.prefix, "json")))

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
        try:
            self._queue.remove(job.member)
        except (QueueUnavailableError, QueueRefusedError) as error:
            logger.warning("entry {} stays in the queue until somebody meets it: {}", job.member, error)
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
        self._jobs.get_job(job_id, owner=owner)
        job = self._jobs.modify_job(job_id, self._sent_again)
        enqueue_job(self._queue, job)
        return self.view(job)

    def _sent_again(self, job: JobModel) -> JobUpdate:
        if job.status is not JobStatus.FAILED:
            raise InvalidTransitionError(
                f"Job {job.job_id} is {job.status}: only a failed job can be sent again.",
                mend="Upload the recording again." if job.status is JobStatus.CANCELLED else None,
                job_status=job.status.value,
            )
        if job.source is None or not self._store.exists(job.source.key):
            raise RecordingGoneError(f"The recording of job {job.job_id} is not stored.", mend="Upload it again.")
        return JobUpdate(
            status=JobStatus.QUEUED,
            attempt=job.attempt + 1,
            failures=0,
            attempts=job.ended_attempts(job.run_id, job.error) if job.run_id else job.attempts,
            run_id=None,
            stage=None,
            error=None,
            queued_at=utc_now(),
            not_before=None,
            completed_at=None,
        )

    @logged
    def view(self, job: JobModel) -> JobView:
        """Return a job as its owner sees it, with its progress and its place in the queue."""
        return self._view(job, self._jobs.get_progress(job.job_id))

    def _view(self, job: JobModel, progress: Progress) -> JobView:
        run_url = f"{self._settings.dagster_url}/runs/{job.run_id}" if job.run_id else None
        return JobView(
            **job.model_dump(include=_SHARED_FIELDS),
            progress=progress,
            model=job.options.model,
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

    def _take_back(self, job_id: str, reason: Exception) -> None:
        """Delete the object, then the job; a job whose object cannot be deleted stays, failed, to name it.

        One that was ended meanwhile stays too: whoever ended it may look at it. The client waits for its answer: a
        store that gives no sign of life is asked for nothing more, and where MongoDB gives none the job is left to
        `fail_broken_uploads`.
        """
        try:
            self._store.ping()
            self._store.remove_prefix(keys.source_prefix(job_id))
            if not isinstance(reason, JobFailedError):
                self._jobs.delete_job(job_id)
        except DatabaseUnavailableError as error:
            logger.error("job {} could not be taken back and is left as it is: {}", job_id, error)
        except SttError as error:
            logger.error("job {} could not be taken back, it is marked as failed: {}", job_id, error)
            failed = JobUpdate(status=JobStatus.FAILED, error=describe_error(reason), completed_at=utc_now())
            try:
                self._jobs.modify_job(job_id, lambda job: None if job.status.is_final else failed)
            except SttError as problem:
                logger.error("job {} could not be marked as failed: {}", job_id, problem)


_SHARED_FIELDS = set(JobView.model_fields) & set(JobModel.model_fields) - {"language"}


class _HashingReader:
    """A stream that knows the SHA-256 of what was read from it, so that the upload is read once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        self._hash.update(block)
        return block

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _unless_ended(job: JobModel, update: JobUpdate) -> JobUpdate:
    """Return the update that ends an upload, unless the job was cancelled while its bytes arrived."""
    if job.status.is_final:
        raise _ended(job)
    return update


def _ended(job: JobModel) -> JobFailedError:
    """Return the error that tells of a job's end without a transcript."""
    error = job.error
    return JobFailedError(
        f"Job {job.job_id} {'failed' if job.status is JobStatus.FAILED else 'was cancelled'}"
        + (f": {error.message}" if error else "."),
        mend=error.mend if error else None,
        job_status=job.status.value,
        kind=error.kind if error else None,
    )


def _shorten(filename: str) -> str:
    """Return a file name that is fit to be shown: its last part, printable, at most 255 characters."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    printable = "".join(character for character in name if character.isprintable())
    if not printable:
        raise InvalidInputError("The file has no name.", mend='Send it as multipart with filename="…".')
    return printable[:255]
