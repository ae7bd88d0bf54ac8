"""What clients may do with jobs: list, look at, cancel, send again and delete them, and fetch what they leave.

How a recording is taken in stands in `stt_core.tasks.submission`.
"""

from __future__ import annotations

from stt_core import object_keys
from stt_core.errors import (
    InvalidTransitionError,
    QueueRefusedError,
    QueueUnavailableError,
    RecordingGoneError,
    ResultNotReadyError,
    SttError,
)
from stt_core.jobs import transitions
from stt_core.jobs.chunks import ChunkRepository
from stt_core.jobs.job import JobModel, JobStatus, JobSummary, JobView, Progress, Source
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.recovery import cancel_job, dequeue_job, enqueue_job
from stt_core.jobs.repository import JobRepository
from stt_core.jobs.transitions import ended_error
from stt_core.logs import get_logger
from stt_core.settings import Settings
from stt_core.stores.documents import utc_now
from stt_core.stores.object_store import ObjectStore
from stt_core.tasks.views import ChunkList, ChunkView, JobList
from stt_core.transcript.document import Transcript

logger = get_logger(__name__)


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

    def get_task_status(self, job_id: str, *, owner: str | None = None) -> JobView:
        """Return the job as its owner sees it.

        Raises:
            JobNotFoundError: No job has this id.
        """
        return self.view(self._jobs.get_job(job_id, owner=owner))

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

    def get_task_chunks(self, job_id: str, *, owner: str | None = None) -> ChunkList:
        """Return the pieces that the engine hears of a job, and what became of each so far.

        Raises:
            JobNotFoundError: No job has this id.
        """
        self._jobs.get_job(job_id, owner=owner)
        return ChunkList(job_id=job_id, chunks=[ChunkView.of(chunk) for chunk in self._chunks.get_chunks(job_id)])

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

    def view(self, job: JobModel) -> JobView:
        """Return a job as its owner sees it, with its progress and its place in the queue."""
        return JobView.of(
            job,
            # Most of those that are asked for wait, and have no chunks yet: one question less. And once a recording is
            # accepted, what the answer lacks must not make it look refused.
            progress=self._chunks.get_progress(job.job_id) if job.started_at else Progress(),
            queue_position=self._position(job),
            run_url=f"{self._settings.dagster_url}/runs/{job.run_id}" if job.run_id else None,
        )

    def _position(self, job: JobModel) -> int | None:
        if job.status is not JobStatus.QUEUED:
            return None
        try:
            return self._queue.position(job.member)
        except (QueueUnavailableError, QueueRefusedError) as error:
            logger.warning("the place of job {} is not known: {}", job.job_id, error)
            return None
