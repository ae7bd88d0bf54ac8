"""The way of a recording into the system, in the order that loses nothing.

The job (`pending`), its bytes, `queued` with its source, the queue entry. A refused or broken upload takes back its
object, then its job. A client may also put the bytes into the object store itself: then the job is there first, and
the bytes are taken over, under a key that the client cannot write to, when it says that they are complete.
"""

from __future__ import annotations

import functools
import hashlib
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO, Unpack, cast

from stt_core import object_keys
from stt_core.audio.detection import HEAD_BYTES, detect_file_format, detect_format
from stt_core.audio.formats import AudioFormat
from stt_core.audio.tracks import ensure_track
from stt_core.disk import disk_errors
from stt_core.errors import (
    DatabaseUnavailableError,
    EmptyFileError,
    FileTooLargeError,
    JobDeletedError,
    JobFailedError,
    JobNotFoundError,
    ObjectNotFoundError,
    RequestInProgressError,
    SttError,
    UploadMissingError,
)
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs import transitions
from stt_core.jobs.claims import describe_error
from stt_core.jobs.job import JobCreate, JobModel, JobStatus, Source
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.recovery import end_broken_upload, enqueue_job, give_up_upload
from stt_core.jobs.repository import JobRepository
from stt_core.logs import get_logger, log_context
from stt_core.metrics import Tallies, Tally
from stt_core.settings import Settings
from stt_core.stores.documents import utc_now
from stt_core.stores.object_store import ObjectStore
from stt_core.tasks.idempotency import IdempotencyKeys, KeyRecord
from stt_core.tasks.wishes import Wishes, job_wished_for
from stt_core.temp_dirs import temporary_folder

logger = get_logger(__name__)

#: An upload that was received whole and has not reached the object store after so long is not waited for by another
#: request under the same idempotency key, seconds. It ends either, should it be at work still.
_STORING_SECONDS = 300.0


@dataclass(frozen=True)
class Submission:
    """A job that was accepted, now or before."""

    job: JobModel
    #: It is the answer to an earlier request under the same idempotency key.
    replayed: bool = False
    #: The same recording with the same options was there.
    deduplicated: bool = False


class Submissions:
    """Takes recordings in, whichever way they come."""

    def __init__(self, settings: Settings, jobs: JobRepository, queue: JobQueue, store: ObjectStore) -> None:
        self._settings = settings
        self._jobs = jobs
        self._queue = queue
        self._store = store
        self._keys = IdempotencyKeys(jobs.database)
        self._tallies = Tallies(jobs.database)
        #: Jobs whose bytes are on their way into the object store, through this process.
        self._arriving: set[str] = set()

    def close(self) -> None:
        """End the uploads that are still under way: with this process they break off, and no one else would see it.

        The store may be why they take so long: jobs are told first, and what it does not remove is left to the sweep.
        """
        broken = []
        try:
            for job_id in tuple(self._arriving):
                try:
                    if give_up_upload(self._jobs, job_id):
                        broken.append(job_id)
                except JobNotFoundError as gone:
                    logger.info("its own request has taken it back: {}", gone)
            if broken:
                self._store.ping()
            for job_id in broken:
                self._store.remove_prefix(object_keys.source_prefix(job_id))
        except SttError as error:
            logger.error("uploads that break off could not be tidied up after: {}", error)

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

    def too_large(self, size_bytes: int) -> FileTooLargeError:
        """Return the error for an upload of that size."""
        limit = self._settings.max_upload_bytes
        return FileTooLargeError(
            f"The upload has {size_bytes} bytes or more; at most {limit} are accepted.",
            mend="Send a shorter or compressed recording, or raise MAX_UPLOAD_BYTES.",
            limit=limit,
        )

    def create_task(
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
        """Store a recording, create its job and enqueue it, unless there is a job for this request already.

        Args:
            file: The recording, seekable, at its start.
            filename: The user's name for it; shown, never used as a path or a key.
            size_bytes: Its length.
            idempotency_key: The client's name for this request, for 24 hours; each owner has names of their own.
            deduplicate: Take the owner's job of the same bytes and options, unless it failed, was cancelled or deleted.
            source_url: Where the recording was fetched from: that, not its bytes, is then what the client sent.
            wishes: What is asked for beside it.

        Raises:
            EmptyFileError, UnsupportedFormatError, FileTooLargeError: The file is not usable.
            ModelNotFoundError, UnknownLanguageError, TranslationUnsupportedError: The options are not.
            QueueFullError: `QUEUE_MAX_SIZE` jobs are waiting. Uploads under way at once may exceed it by their number.
            IdempotencyMismatchError: The key stands for another request.
            RequestInProgressError, ConflictError: Another request with this key is being served.
            JobFailedError: The job was cancelled meanwhile; its bytes are removed.
            TransientError: A server is away. Nothing is left behind, unless taking back fails too: then a failed job.
        """
        if size_bytes == 0:
            raise EmptyFileError(f"{filename!r} is empty.", mend="Send the bytes of a recording.")
        self.ensure_acceptable(size_bytes)
        detected = detect_file_format(file)
        create = job_wished_for(filename, wishes, self._settings)
        if create.options.track is not None:
            ensure_track(file, detected, self._settings, create.options.track)
        sha256 = functools.cache(functools.partial(_sha256, file))
        if idempotency_key:
            job_id, job = self._job_of_key(idempotency_key, create, source_url or sha256())
            if job:
                return Submission(job, replayed=True)
            create = create.model_copy(update={"job_id": job_id})
        if deduplicate and (same := self._jobs.find_same(create, sha256())):
            return Submission(same, deduplicated=True)
        job = self._jobs.create_job(create)
        self._arriving.add(job.job_id)
        failpoint(Failpoint.JOB_INSERTED)
        with log_context(job_id=job.job_id):
            logger.info("upload: {!r} format={} size={} bytes", filename, detected.name, size_bytes)
            try:
                key = object_keys.source(job.job_id, detected.extension)
                job = self._store_source(job, key, file, size_bytes, detected, sha256)
            except Exception as error:
                logger.error("upload of {!r} is taken back: {}", filename, error)
                self._take_back(job.job_id, error)
                raise
            finally:
                self._arriving.discard(job.job_id)
            enqueue_job(self._queue, job)
        return Submission(job)

    def presign(
        self,
        *,
        filename: str,
        size_bytes: int | None = None,
        idempotency_key: str | None = None,
        **wishes: Unpack[Wishes],
    ) -> tuple[Submission, str]:
        """Create a job whose recording the client puts into the object store itself; return it and the URL for that.

        `complete` then queues it. What is asked for, and raised, is as in `create_task`, as far as it does not depend
        on the bytes; their number need not be known.
        """
        self.ensure_acceptable(size_bytes)
        create = job_wished_for(filename, wishes, self._settings)
        known = None
        if idempotency_key:
            record, _ = self._record(idempotency_key, create, f"to be put: {size_bytes}")
            create, known = create.model_copy(update={"job_id": record.job_id}), self._find(record.job_id)
        expires_at = utc_now() + timedelta(seconds=self._settings.presign_seconds)
        job = known or self._jobs.create_job(create.model_copy(update={"upload_expires_at": expires_at}))
        # An URL that is asked for again ends when the first one does.
        seconds = ((job.upload_expires_at or expires_at) - utc_now()).total_seconds()
        url = self._store.presign_put(object_keys.incoming(job.job_id), max(seconds, 1.0))
        return Submission(job, replayed=known is not None), url

    def complete(self, job: JobModel) -> JobModel:
        """Take over what the client put into the object store, and queue its job. Repeating it changes nothing.

        Raises:
            UploadMissingError: Nothing has arrived.
            EmptyFileError, UnsupportedFormatError, FileTooLargeError: What arrived is not usable. The client may put
                something else until the URL expires.
            QueueFullError: `QUEUE_MAX_SIZE` jobs are waiting.
            JobFailedError: The job was cancelled, or its bytes came too late.
            TransientError: A server is away; the job waits for the next try.
        """
        if job.source is not None:
            return job
        if job.status.is_final:
            raise transitions.ended_error(job)
        try:
            return self._take_over(job, object_keys.incoming(job.job_id))
        except ObjectNotFoundError as error:
            current = self._jobs.get_job(job.job_id)
            if current.source is not None:  # by another request to complete it, which has removed it since
                return current
            raise UploadMissingError(
                f"The recording of job {job.job_id} has not arrived.",
                mend="PUT it to the URL that POST /api/v1/tasks/presign answered with, then try again.",
            ) from error

    def _take_over(self, job: JobModel, incoming: str) -> JobModel:
        size_bytes = self._store.version(incoming).size_bytes
        if size_bytes == 0:
            raise EmptyFileError("The object that was put is empty.", mend="PUT the bytes of a recording.")
        self.ensure_acceptable(size_bytes)
        detected = self._detect_stored(incoming, size_bytes)
        if job.options.track is not None:
            with temporary_folder("track") as folder:
                copy = folder / "source"
                with disk_errors(f"for a recording of {size_bytes} bytes in {folder}", mend="Free space there."):
                    self._store.download(incoming, copy)
                with copy.open("rb") as file:
                    ensure_track(file, detected, self._settings, job.options.track)
        with log_context(job_id=job.job_id):
            try:
                with self._store.open(incoming) as stream:
                    # The client may put something else meanwhile, and ask for that to be taken over, too.
                    key = object_keys.taken_over(job.job_id, secrets.token_hex(4), detected.extension)
                    hashed = _HashingReader(stream)
                    bytes_read = cast("BinaryIO", hashed)
                    job = self._store_source(job, key, bytes_read, size_bytes, detected, hashed.hexdigest)
            except JobFailedError:
                self._store.remove_prefix(object_keys.source_prefix(job.job_id))
                raise
            enqueue_job(self._queue, job)
            self._remove(incoming)
        return job

    def _detect_stored(self, key: str, size_bytes: int) -> AudioFormat:
        def read_at(offset: int, size: int) -> bytes:
            return self._store.get_range(key, offset, max(0, min(size, size_bytes - offset)))

        return detect_format(read_at(0, HEAD_BYTES), read_at)

    def _job_of_key(self, key: str, create: JobCreate, content: str) -> tuple[str, JobModel | None]:
        """Return the id that the job of an idempotency key has, or is to have, and the job where it is accepted."""
        record, fingerprint = self._record(key, create, content)
        job = self._find(record.job_id)
        if job is None:
            return record.job_id, None
        if job.source:
            return record.job_id, job
        if job.status is JobStatus.PENDING:
            if (utc_now() - job.updated_at).total_seconds() < _STORING_SECONDS:
                raise RequestInProgressError(
                    "The first request with this Idempotency-Key is being served.", mend="Try again soon."
                )
            end_broken_upload(self._jobs, self._store, job)
        return self._keys.renew(record, fingerprint).job_id, None

    def _record(self, key: str, create: JobCreate, content: str) -> tuple[KeyRecord, str]:
        """Return the record of an idempotency key, and the fingerprint of the request."""
        request = create.model_dump_json(exclude={"job_id"}) + content
        fingerprint = hashlib.sha256(request.encode()).hexdigest()
        return self._keys.take(create.owner, key, fingerprint), fingerprint

    def _find(self, job_id: str) -> JobModel | None:
        """Return the job that a key names, if there is one already."""
        try:
            return self._jobs.get_job(job_id)
        except JobDeletedError:
            raise
        except JobNotFoundError as error:
            logger.debug("the key is free: {}", error)
            return None

    def _store_source(
        self,
        job: JobModel,
        key: str,
        stream: BinaryIO,
        size_bytes: int,
        detected: AudioFormat,
        sha256: Callable[[], str],
    ) -> JobModel:
        """Write the bytes of a pending job, whose hash is asked for once they are sent, and let it wait."""
        # The store hashes what it was sent before it answers; so do we meanwhile, on the other core.
        self._store.put_stream(key, stream, length=size_bytes, content_type=detected.content_type, on_sent=sha256)
        failpoint(Failpoint.BYTES_STORED)
        source = Source(
            filename=job.filename,
            key=key,
            format=detected.name,
            content_type=detected.content_type,
            size_bytes=size_bytes,
            sha256=sha256(),
        )
        job = self._jobs.modify_job(job.job_id, functools.partial(transitions.queue, source=source))
        if job.source != source:
            self._remove(key)
            return job
        self._tallies.count({Tally.UPLOADS: 1, Tally.UPLOAD_BYTES: size_bytes})
        return job

    def _remove(self, key: str) -> None:
        try:
            self._store.remove(key)
        except SttError as error:
            logger.warning("{} is left to the sweep: {}", key, error)

    def _take_back(self, job_id: str, reason: Exception) -> None:
        """Delete the object, then the job; a job whose object cannot be deleted stays, failed, to name it.

        One that was ended meanwhile stays too: whoever ended it may look at it. The client waits for its answer: a
        store that gives no sign of life is asked for nothing more, and where MongoDB gives none the job is left to
        `fail_broken_uploads`.
        """
        try:
            self._store.ping()
            self._store.remove_prefix(object_keys.source_prefix(job_id))
            if not isinstance(reason, JobFailedError):
                self._jobs.delete_job(job_id)
        except DatabaseUnavailableError as error:
            logger.error("job {} could not be taken back and is left as it is: {}", job_id, error)
        except SttError as error:
            logger.error("job {} could not be taken back, it is marked as failed: {}", job_id, error)
            give_up = functools.partial(transitions.give_up, error=describe_error(reason), even_queued=True)
            try:
                self._jobs.modify_job(job_id, give_up)
            except SttError as problem:
                logger.error("job {} could not be marked as failed: {}", job_id, problem)


class _HashingReader:
    """A stream that knows the SHA-256 of what was read, found beside the thread that sends it: a tenth of its time."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1)

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        self._thread.submit(self._hash.update, block)
        return block

    def seekable(self) -> bool:
        return False

    def hexdigest(self) -> str:
        self._thread.shutdown()
        return self._hash.hexdigest()


def _sha256(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]  # what is open for bytes has `readinto`
    file.seek(0)
    return digest.hexdigest()
