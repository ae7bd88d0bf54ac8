"""The objects of the sources as MongoDB knows them: one document each, `_id` = its partition key.

Discovery writes what the bucket holds, the runs which job transcribes it and whose transcript is the current one. Every
change is a compare-and-set on the version, as a job's is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field
from pymongo.errors import BulkWriteError

from stt_core.errors import ConflictError, PartitionNotFoundError
from stt_core.jobs.job import JobModel, JobStatus
from stt_core.jobs.repository import JobRepository
from stt_core.logs import get_logger
from stt_core.services import Services
from stt_core.sources import BackfillSource
from stt_core.stores.database import Database, mongo_errors
from stt_core.stores.documents import Document
from stt_core.stores.object_store import StoredObject
from stt_core.stores.writes import DUPLICATE_KEY, replace_as_read, until_won

logger = get_logger(__name__)

#: Objects read at a time where those of one state are looked for among all.
_PAGE = 500
#: Batches of these for one page at most: a rare state would hold a request for as long as all objects take.
_BATCHES = 10


class ObjectState(StrEnum):
    """What there is of an object's transcript."""

    MISSING = "missing"
    RUNNING = "running"
    FAILED = "failed"
    STALE = "stale"
    DONE = "done"


class BucketObject(Document):
    """A recording in a bucket. Its ETag tells the bytes of now from those of then."""

    partition: str = Field(alias="_id")
    bucket: str
    key: str
    etag: str
    size_bytes: int
    last_modified: datetime
    #: The name of the `BackfillSource` that found it.
    source: str
    #: The job whose transcript is the current version, and the ETag of the bytes that it is of.
    current_job_id: str | None = None
    current_etag: str | None = None
    #: The job that was created last.
    latest_job_id: str | None = None
    version: int = 0
    write_id: str = Field(default_factory=lambda: uuid4().hex)

    @classmethod
    def found(cls, partition: str, key: str, source: BackfillSource, there: StoredObject) -> Self:
        """Return an object that was not known, as a source has it."""
        return cls(
            partition=partition,
            bucket=source.bucket,
            key=key,
            etag=there.etag,
            size_bytes=there.size_bytes,
            last_modified=there.modified_at,
            source=source.name,
        )

    def state(self, latest: JobModel | None) -> ObjectState:
        """Return the state, given its latest job as it is now (None where there is none, or it was deleted)."""
        if latest is not None and not latest.status.is_final:
            return ObjectState.RUNNING
        if self.current_etag == self.etag:
            return ObjectState.DONE
        if latest is not None and latest.status is not JobStatus.COMPLETED and _is_of(latest, self.etag):
            return ObjectState.FAILED
        return ObjectState.MISSING if self.current_job_id is None else ObjectState.STALE


def _is_of(job: JobModel, etag: str) -> bool:
    """Tell whether a job is of these bytes: what failed with others says nothing of the ones that took their place."""
    return job.source is None or job.source.etag in (None, etag)


class ObjectUpdate(BaseModel):
    """A change of some fields of an object; a field that is not set stays as it is."""

    model_config = ConfigDict(extra="forbid")

    etag: str | None = None
    size_bytes: int | None = None
    last_modified: datetime | None = None
    source: str | None = None
    current_job_id: str | None = None
    current_etag: str | None = None
    latest_job_id: str | None = None


class BucketObjects:
    """The only place that reads and writes the `bucket_objects` collection."""

    def __init__(self, database: Database, jobs: JobRepository) -> None:
        self._database, self._jobs = database, jobs

    @classmethod
    def of(cls, services: Services) -> BucketObjects:
        """Return those of a system."""
        return cls(services.database, services.jobs)

    def get(self, partition: str) -> BucketObject:
        """Return the object of a partition.

        Raises:
            PartitionNotFoundError: It is not known.
        """
        with mongo_errors(f"reading object {partition}"):
            document = self._database.bucket_objects.find_one({"_id": partition})
        if document is None:
            raise PartitionNotFoundError(
                f"No object is known under {partition}.",
                mend="Check the name, and BACKFILL_SOURCES; new objects are known once the discovery sensor met them.",
            )
        return BucketObject.from_document(document)

    def find_range(
        self, bucket: str, prefix: str = "", *, after: str = "", last: str | None = None, limit: int = 0
    ) -> list[BucketObject]:
        """Return the objects with keys under a prefix, beyond `after` and up to `last`, in order (limit 0: all)."""
        keys: dict[str, Any] = {"$gte": prefix, "$gt": after}
        if last is not None:
            keys["$lte"] = last
        elif prefix:
            keys["$lt"] = prefix + chr(0x10FFFF)  # beyond every key under it
        with mongo_errors(f"reading objects of {bucket}/{prefix}"):
            found = self._database.bucket_objects.find({"key": keys, "bucket": bucket}).sort("key", 1).limit(limit)
            return [BucketObject.from_document(document) for document in found]

    def add_many(self, objects: Iterable[BucketObject]) -> int:
        """Insert those that are not known yet; return how many that were."""
        documents = [item.to_document() for item in objects]
        if not documents:
            return 0
        with mongo_errors("inserting objects"):
            try:
                return len(self._database.bucket_objects.insert_many(documents, ordered=False).inserted_ids)
            except BulkWriteError as error:
                if not all(problem["code"] == DUPLICATE_KEY for problem in error.details["writeErrors"]):
                    raise
                logger.debug("some objects were known already: {}", len(error.details["writeErrors"]))
                return int(error.details["nInserted"])

    def update(self, item: BucketObject, update: ObjectUpdate) -> BucketObject:
        """Write the set fields of `update` over the object as it was read, and return it as stored.

        Raises:
            ConflictError: It was changed since it was read.
            PartitionNotFoundError: It was removed.
        """
        fields = {name: getattr(update, name) for name in update.model_fields_set}
        changed = item.model_copy(update={**fields, "version": item.version + 1, "write_id": uuid4().hex})
        with mongo_errors(f"updating object {item.partition}"):
            replaced = replace_as_read(self._database.bucket_objects, item.version, changed.to_document())
        if not replaced:
            self.get(item.partition)
            raise ConflictError(f"Object {item.partition} was changed since version {item.version}.")
        return changed

    def change(self, partition: str, change: Callable[[BucketObject], ObjectUpdate | None]) -> BucketObject:
        """Read the object, ask `change` what to write (None: nothing), write it; once more where another came between.

        Raises:
            ConflictError: Other writers came between every time.
            PartitionNotFoundError: It is not known.
        """

        def race() -> BucketObject:
            item = self.get(partition)
            update = change(item)
            return item if update is None else self.update(item, update)

        return until_won(race)

    def remove_many(self, partitions: Iterable[str]) -> int:
        """Forget objects, and return how many were known; their jobs and transcripts stay."""
        with mongo_errors("removing objects"):
            return self._database.bucket_objects.delete_many({"_id": {"$in": list(partitions)}}).deleted_count

    def list_page(
        self, bucket: str, prefix: str = "", *, state: ObjectState | None = None, cursor: str = "", limit: int = 50
    ) -> tuple[list[BucketObject], str | None]:
        """Return up to `limit` objects under a prefix, of any state or one, and the next cursor (None: the last).

        A page of one state can be short, or empty, and have a cursor: it stands for a bounded number of objects.
        """
        page: list[BucketObject] = []
        for _ in range(_BATCHES):
            found = self.find_range(bucket, prefix, after=cursor, limit=_PAGE)
            latest = {job.job_id: job for job in self._jobs.get_jobs(item.latest_job_id or "" for item in found)}
            for item in found:
                if state in (None, item.state(latest.get(item.latest_job_id or ""))):
                    if len(page) == limit:
                        return page, page[-1].key
                    page.append(item)
            if len(found) < _PAGE:
                return page, None
            cursor = found[-1].key
        return page, cursor
