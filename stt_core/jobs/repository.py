"""Jobs in MongoDB: whole-document writes, each a compare-and-set.

A job is replaced on `(_id, version)`; whoever read an older version loses with `ConflictError` and overwrites nothing.
Every write carries a fresh `write_id`. Where the server fell silent before it confirmed a write, the write is sent once
more under the same id: it takes effect once, whichever of the two arrives, and one's own id in the document means
success. There are no positional updates, upserts or transactions (see docs/decisions on whole-document writes).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from pymongo.errors import DuplicateKeyError

from stt_core.errors import (
    ConflictError,
    InvalidDocumentError,
    InvalidInputError,
    InvalidTransitionError,
    JobDeletedError,
    JobNotFoundError,
)
from stt_core.jobs.chunks import ChunkRepository
from stt_core.jobs.job import JOB_ID_PATTERN, JobCreate, JobModel, JobStatus, JobUpdate, Lane
from stt_core.jobs.transitions import TRANSITIONS
from stt_core.logs import get_logger
from stt_core.options import JobOptions
from stt_core.stores.database import Database, mongo_errors
from stt_core.stores.documents import utc_now
from stt_core.stores.writes import replace_as_read, until_won, write_confirmed

logger = get_logger(__name__)

#: Spelled out: beside another condition, a plain None finds no stored null on the embedded server.
_NOT_DELETED: dict[str, Any] = {"deleted_at": {"$eq": None}}
#: Jobs read at a time by whoever reads very many.
_PAGE = 500


@dataclass(frozen=True)
class JobPage:
    """One page of jobs, and the cursor of the next (None after the last)."""

    jobs: list[JobModel]
    next_cursor: str | None


@dataclass(frozen=True)
class JobEnding:
    """How a job ended, as far as it decides what is kept of it. Read from documents of any version of ours."""

    status: str | None
    completed_at: datetime | None
    is_deleted: bool
    #: Where its recording lies, if that was accepted.
    source_key: str | None
    #: Where its published results lie.
    prefix: str | None


class JobRepository:
    """The only place that reads and writes the `jobs` collection; a job that goes takes its chunks with it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create_job(self, create: JobCreate) -> JobModel:
        """Insert a new `pending` job and return it.

        Raises:
            ConflictError: Another request inserted a job of this id.
        """
        return self.insert_job(JobModel(**dict(create)))

    def insert_job(self, job: JobModel) -> JobModel:
        """Insert a new job as it is, and return it as stored.

        Raises:
            ConflictError: There is a job of this id.
        """
        job = job.model_copy(update={"write_id": uuid4().hex})
        document = job.to_document()
        with mongo_errors(f"inserting job {job.job_id}"):
            try:
                write_confirmed(lambda: self.database.jobs.insert_one(document))
            except DuplicateKeyError as error:
                stored = self.database.jobs.find_one({"_id": job.job_id})
                if stored is None or stored.get("write_id") != job.write_id:
                    raise ConflictError(f"There is a job {job.job_id} already.") from error
                logger.debug("the first insert of job {} had arrived: {}", job.job_id, error)
        logger.info("job created: job_id={} filename={!r} priority={}", job.job_id, job.filename, job.priority)
        return job

    def get_job(self, job_id: str, *, owner: str | None = None) -> JobModel:
        """Return the job; with an owner, only one of theirs.

        Raises:
            JobNotFoundError: No job has this id, or it is somebody else's, which is told alike.
            JobDeletedError: The job was deleted.
        """
        with mongo_errors(f"reading job {job_id}"):
            document = self.database.jobs.find_one({"_id": job_id})
        if document is None or owner not in (None, document.get("owner")):
            raise JobNotFoundError(f"There is no job {job_id}.", mend="Check the id; deleted jobs are gone for good.")
        job = JobModel.from_document(document)
        if job.deleted_at:
            raise JobDeletedError(f"Job {job_id} was deleted on {job.deleted_at:%Y-%m-%d}.", mend="Upload it again.")
        return job

    def update_job(self, job: JobModel, update: JobUpdate) -> JobModel:
        """Write the set fields of `update` over `job` as it was read, and return the job as stored.

        Raises:
            ConflictError: The job was changed since it was read.
            InvalidTransitionError: The state machine has no step from the job's status to the one that `update` sets.
            JobNotFoundError: The job was deleted.
        """
        fields = {name: getattr(update, name) for name in update.model_fields_set}
        status: JobStatus = fields.get("status", job.status)
        if "status" in fields and status not in TRANSITIONS[job.status]:
            raise InvalidTransitionError(f"Job {job.job_id} is {job.status}: it cannot become {status}.")
        if status != job.status:  # marked in the write that ends it, so that no end goes untold
            fields["callback_due"] = status.is_final and job.callback_url is not None
            fields["release_due"] = status is JobStatus.COMPLETED and job.partition is not None
        changed = job.model_copy(
            update={**fields, "version": job.version + 1, "write_id": uuid4().hex, "updated_at": utc_now()}
        )
        self._replace(job, changed)
        if status != job.status:
            level = "WARNING" if status is JobStatus.FAILED else "INFO"
            logger.log(level, "job {}: {} -> {} (attempt {})", job.job_id, job.status, status, changed.attempt)
        return changed

    def bury_job(self, job: JobModel, deleted_at: datetime) -> None:
        """Leave of a job that has ended only its id, its owner, its state and its dates, and none of its chunks.

        Raises:
            ConflictError: The job was changed since it was read.
            JobNotFoundError: The job was deleted.
        """
        kept = {"job_id", "owner", "status", "lane", "attempt", "created_at", "started_at", "completed_at"}
        tombstone = JobModel(
            **job.model_dump(include=kept),
            filename="",
            options=JobOptions(model=""),
            version=job.version + 1,
            write_id=uuid4().hex,
            deleted_at=deleted_at,
        )
        self._replace(job, tombstone)
        ChunkRepository(self.database).replace_chunks(job.job_id, [])
        with mongo_errors(f"removing the delivery of job {job.job_id}"):
            self.database.deliveries.delete_one({"_id": job.job_id})
        logger.info("job {} is deleted, but for its tombstone", job.job_id)

    def _replace(self, job: JobModel, changed: JobModel) -> None:
        """Write `changed` over `job` as it was read."""
        with mongo_errors(f"updating job {job.job_id}"):
            replaced = replace_as_read(self.database.jobs, job.version, changed.to_document())
        if not replaced:
            self.get_job(job.job_id)  # which tells of one that is deleted
            raise ConflictError(f"Job {job.job_id} was changed by somebody else since version {job.version}.")

    def update_status(self, job: JobModel, status: JobStatus) -> JobModel:
        """Move the job to `status`; raises as `update_job`."""
        return self.update_job(job, JobUpdate(status=status))

    def modify_job(self, job_id: str, change: Callable[[JobModel], JobUpdate | None]) -> JobModel:
        """Read the job, ask `change` what to write, write it, and start over where another writer came between.

        `change` sees the job as it is now and raises, or returns None, where there is nothing to do any more.

        Raises:
            ConflictError: Other writers came between every time.
        """

        def race() -> JobModel:
            job = self.get_job(job_id)
            update = change(job)
            return job if update is None else self.update_job(job, update)

        return until_won(race)

    def get_pending_jobs(self, limit: int = 100) -> list[JobModel]:
        """Return up to `limit` jobs that wait for a run (`queued`), those queued first before the others."""
        with mongo_errors("reading queued jobs"):
            found = self.database.jobs.find({"status": JobStatus.QUEUED.value}).sort("queued_at", 1).limit(limit)
            return list(_readable(found))

    def get_pending_members(self) -> list[str]:
        """Return the entry (`<job_id>:<attempt>`) of each job that belongs into the queue, those queued first first."""
        waiting = {"status": JobStatus.QUEUED.value, "lane": {"$ne": Lane.BACKFILL.value}}
        with mongo_errors("reading queued jobs"):
            found = self.database.jobs.find(waiting, {"attempt": 1}).sort("queued_at", 1)
            return [f"{document['_id']}:{document.get('attempt')}" for document in found]

    def get_jobs(self, job_ids: Iterable[str]) -> list[JobModel]:
        """Return those of the jobs that there are, and that can be read."""
        return self._find("reading jobs", {"_id": {"$in": list(job_ids)}})

    def list_jobs(
        self,
        *,
        status: JobStatus | None = None,
        owner: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> JobPage:
        """Return a page of jobs, newest first, of one owner or (None) of all.

        `cursor` is the previous page's `next_cursor`.

        Raises:
            InvalidInputError: The cursor is not one of ours.
        """
        query: dict[str, Any] = _NOT_DELETED | ({"status": status.value} if status else {})
        if owner is not None:
            query["owner"] = owner
        if cursor:
            if not re.fullmatch(JOB_ID_PATTERN, cursor):  # the id of the page's last job: ids sort by age
                raise InvalidInputError("The cursor is not valid.", mend="Use next_cursor of the page before.")
            query["_id"] = {"$lt": cursor}
        return self._page("listing jobs", query, order=-1, limit=limit)

    def find_broken_uploads(self, before: datetime, limit: int = _PAGE) -> list[JobModel]:
        """Return up to `limit` jobs that await bytes, came no further since then, and whose URL was over by then."""
        over = [{"upload_expires_at": {"$eq": None}}, {"upload_expires_at": {"$lt": before}}]
        query = {"status": JobStatus.PENDING.value, "updated_at": {"$lt": before}, "$or": over}
        return self._find("reading uploads that broke off", query, limit)

    def find_jobs_to_tell(self) -> list[JobModel]:
        """Return jobs that have ended, and whose callback nobody has begun to tell, a page at most."""
        return self._find("reading jobs to tell of", {"callback_due": True}, _PAGE)

    def find_versions(self, partitions: Iterable[str]) -> list[JobModel]:
        """Return the jobs of these objects of buckets, the latest first."""
        found = self._find("reading the versions of objects", {"partition": {"$in": list(partitions)}})
        return sorted(found, key=lambda job: job.job_id, reverse=True)

    def find_waiting_backfills(self) -> list[JobModel]:
        """Return jobs of objects that wait for a run, the oldest first, a page at most."""
        waiting = {"status": JobStatus.QUEUED.value, "lane": Lane.BACKFILL.value}
        return self._page("reading backfills that wait", waiting, order=1, limit=_PAGE).jobs

    def find_jobs_to_release(self, cursor: str | None = None, limit: int = _PAGE) -> JobPage:
        """Return a page of the jobs that have completed, and whose objects may not have their transcript; oldest first.

        Each has its turn, however many can never be passed on. `cursor` is the page before's `next_cursor`.
        """
        query: dict[str, Any] = {"release_due": True} | _NOT_DELETED
        if cursor:  # else the embedded server, which takes the index of `_id` then, would read every job
            query["_id"] = {"$gt": cursor}
        return self._page("reading transcripts to pass on", query, order=1, limit=limit)

    def has_upload_at_work(self) -> bool:
        """Return whether an upload has a run, or waits for one and not for the end of its backoff."""
        upload: dict[str, Any] = {"lane": {"$ne": Lane.BACKFILL.value}}
        # One by one: the embedded server takes an `$or` beside other conditions for another of them.
        at_work: list[dict[str, Any]] = [
            {"status": JobStatus.PROCESSING.value},
            {"status": JobStatus.QUEUED.value, "not_before": {"$eq": None}},
            {"status": JobStatus.QUEUED.value, "not_before": {"$lte": utc_now()}},
        ]
        with mongo_errors("looking for uploads at work"):
            return any(self.database.jobs.find_one(upload | one, {"_id": 1}) for one in at_work)

    def find_same(self, create: JobCreate, sha256: str) -> JobModel | None:
        """Return the latest job of the same owner, recording and options that did not end without a transcript."""
        useful = [status.value for status in JobStatus if status not in (JobStatus.FAILED, JobStatus.CANCELLED)]
        query = {"source.sha256": sha256, "owner": {"$eq": create.owner}, "status": {"$in": useful}}
        with mongo_errors("looking for the same recording"):
            found = self.database.jobs.find(query | _NOT_DELETED).sort("_id", -1).limit(_PAGE)
            return next((job for job in _readable(found) if job.options == create.options), None)

    def get_endings(self, job_ids: Iterable[str]) -> dict[str, JobEnding]:
        """Return what became of those of the jobs that there are, the deleted ones too."""
        wanted = {"status": 1, "completed_at": 1, "deleted_at": 1, "source": 1, "result": 1}
        with mongo_errors("reading how jobs ended"):
            found = self.database.jobs.find({"_id": {"$in": list(job_ids)}}, wanted)
            return {
                document["_id"]: JobEnding(
                    status=document.get("status"),
                    completed_at=document.get("completed_at"),
                    is_deleted=document.get("deleted_at") is not None,
                    source_key=(document.get("source") or {}).get("key"),
                    prefix=(document.get("result") or {}).get("prefix"),
                )
                for document in found
            }

    def find_ended_jobs(self, before: datetime) -> Iterator[JobModel]:
        """Yield the jobs that ended before then and are not deleted, page by page: they may be changed meanwhile."""
        query: dict[str, Any] = {
            "status": {"$in": [status.value for status in JobStatus if status.is_final]},
            "completed_at": {"$lt": before},
            **_NOT_DELETED,
        }
        cursor: str | None = ""
        while cursor is not None:
            beyond = query | {"_id": {"$gt": cursor}}
            page = self._page("reading jobs that have ended", beyond, order=1, limit=_PAGE)
            yield from page.jobs
            cursor = page.next_cursor

    def forget_deleted_jobs(self, before: datetime) -> int:
        """Remove what is left of jobs that were deleted before then; return how many that were.

        Their chunks and deliveries too: whoever deleted them may have died before these were gone.
        """
        count = 0
        with mongo_errors("removing deleted jobs"):
            while found := list(self.database.jobs.find({"deleted_at": {"$lt": before}}, {"_id": 1}).limit(_PAGE)):
                job_ids = {"$in": [document["_id"] for document in found]}
                self.database.chunks.delete_many({"job_id": job_ids})
                self.database.deliveries.delete_many({"_id": job_ids})
                count += self.database.jobs.delete_many({"_id": job_ids}).deleted_count
        return count

    def delete_job(self, job_id: str) -> bool:
        """Delete the job and its chunks; return whether there was one."""
        with mongo_errors(f"deleting job {job_id}"):
            self.database.chunks.delete_many({"job_id": job_id})
            deleted = self.database.jobs.delete_one({"_id": job_id}).deleted_count
        logger.info("job deleted: job_id={} existed={}", job_id, bool(deleted))
        return bool(deleted)

    def _find(self, purpose: str, query: dict[str, Any], limit: int = 0) -> list[JobModel]:
        """Return the jobs that a query finds and that can be read, `limit` at most (0: all)."""
        with mongo_errors(purpose):
            return list(_readable(self.database.jobs.find(query | _NOT_DELETED).limit(limit)))

    def _page(self, purpose: str, query: dict[str, Any], *, order: int, limit: int) -> JobPage:
        """Return up to `limit` jobs by their age (1: the oldest first); there is a next page where there are more."""
        with mongo_errors(purpose):
            documents = list(self.database.jobs.find(query).sort("_id", order).limit(limit + 1))
        page = documents[:limit]
        return JobPage(list(_readable(page)), page[-1]["_id"] if len(documents) > limit else None)


def _readable(documents: Iterable[dict[str, Any]]) -> Iterator[JobModel]:
    """Read jobs; one that cannot be read must not keep the others from their owners."""
    for document in documents:
        try:
            yield JobModel.from_document(document)
        except InvalidDocumentError as error:
            logger.error("skipped: {}", error)
