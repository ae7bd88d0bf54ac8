"""What is to be told to whom, and what came of it: the `deliveries` collection, one document a job.

A delivery belongs to one end of its job: where the job is sent again and ends once more, the next one takes its place.
It holds neither what is sent (that is read from the job when it is sent) nor what was answered, beside the status.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field
from pymongo.errors import DuplicateKeyError

from stt_core.errors import ConflictError
from stt_core.jobs.job import JobModel
from stt_core.logs import get_logger
from stt_core.stores.database import Database, mongo_errors
from stt_core.stores.documents import Document, utc_now

logger = get_logger(__name__)


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    #: Given up: the receiver said so (410), or every try failed.
    DEAD = "dead"


class Try(BaseModel):
    """One request to the receiver; without status and error, it was cut off by the end of the process that made it."""

    at: datetime = Field(default_factory=utc_now)
    seconds: float | None = None
    status_code: int | None = None
    error: str | None = None


class Delivery(Document):
    """A delivery. `version` counts its writes and guards each one."""

    job_id: str = Field(alias="_id")
    version: int = 0
    #: The attempt of the job whose end it tells of.
    attempt: int
    #: Host and port of the callback, so that one receiver's deliveries do not keep the others' waiting.
    receiver: str
    status: DeliveryStatus = DeliveryStatus.PENDING
    due_at: datetime = Field(default_factory=utc_now)
    tries: list[Try] = Field(default_factory=list)

    @property
    def message_id(self) -> str:
        """What the receiver knows repetitions by."""
        return f"msg_{self.job_id}_{self.attempt}"


class Deliveries:
    """The only place that reads and writes the `deliveries` collection; every write is a compare-and-set.

    A write that the server did not confirm may have been made: the delivery is then due again later, no more.
    """

    def __init__(self, database: Database) -> None:
        self._collection = database.deliveries

    def open(self, job: JobModel) -> None:
        """Have the end of this job told, unless that is on its way already; repeating it changes nothing."""
        delivery = Delivery(job_id=job.job_id, attempt=job.attempt, receiver=urlsplit(job.callback_url or "").netloc)
        with mongo_errors(f"opening the delivery of job {job.job_id}"):
            try:
                self._collection.insert_one(delivery.to_document())
            except DuplicateKeyError as error:
                logger.debug("job {} has ended before, or is being told of already: {}", job.job_id, error)
                earlier = {"_id": job.job_id, "attempt": {"$lt": job.attempt}}
                self._collection.replace_one(earlier, delivery.to_document())

    def find_due(self) -> Iterator[Delivery]:
        """Yield the deliveries whose time has come, those that waited longest first."""
        query = {"status": DeliveryStatus.PENDING.value, "due_at": {"$lte": utc_now()}}
        with mongo_errors("reading due deliveries"):
            for document in self._collection.find(query).sort("due_at", 1):
                yield Delivery.from_document(document)

    def update(self, delivery: Delivery, **changes: Any) -> Delivery:
        """Write a delivery with these fields changed, and return it as stored.

        Raises:
            ConflictError: It was changed since it was read.
        """
        changed = delivery.model_copy(update={**changes, "version": delivery.version + 1})
        with mongo_errors(f"updating the delivery of job {delivery.job_id}"):
            written = self._collection.replace_one(_as_read(delivery), changed.to_document())
        if not written.matched_count:
            raise ConflictError(f"The delivery of job {delivery.job_id} was changed by somebody else.")
        return changed

    def remove(self, delivery: Delivery) -> None:
        """Remove a delivery that has nothing to tell any more, unless it was changed since it was read."""
        with mongo_errors(f"removing the delivery of job {delivery.job_id}"):
            self._collection.delete_one(_as_read(delivery))

    def get(self, job_id: str) -> Delivery | None:
        """Return what is known of telling this job's latest end, if there is anything to tell."""
        with mongo_errors(f"reading the delivery of job {job_id}"):
            document = self._collection.find_one({"_id": job_id})
        return Delivery.from_document(document) if document else None


def _as_read(delivery: Delivery) -> dict[str, Any]:
    return {"_id": delivery.job_id, "attempt": delivery.attempt, "version": delivery.version}
