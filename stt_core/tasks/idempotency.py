"""Idempotency keys: a request that is sent again under the same key gets the job of the first, for a day.

    key taken (its record names the job's id to be) -> job inserted -> recording stored -> job queued

A record is written before the job that it names, by an insert that only one of several requests wins. One whose job is
not there is of a request that died in between, or was taken back: whoever comes next creates the job under the very id
that stands there, which again only one can insert. So a key never has two jobs at work, whoever dies when.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from pydantic import Field
from pymongo.errors import DuplicateKeyError

from stt_core.errors import IdempotencyMismatchError, RequestInProgressError
from stt_core.jobs.job import new_job_id
from stt_core.logs import get_logger
from stt_core.stores.database import Database, mongo_errors
from stt_core.stores.documents import Document, utc_now

logger = get_logger(__name__)

#: How long a key is remembered: long enough for every client that tries again, as others do it.
_KEPT = timedelta(hours=24)


class KeyRecord(Document):
    """What a key stands for: `fingerprint` is of the request that came first under it, `job_id` is its job."""

    record_id: str = Field(alias="_id")
    fingerprint: str
    job_id: str = Field(default_factory=new_job_id)
    created_at: datetime = Field(default_factory=utc_now)


class IdempotencyKeys:
    """The keys that clients sent lately. Each client has its own: `owner` and key together name a record."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, owner: str | None, key: str, fingerprint: str) -> KeyRecord:
        """Return the record of a key: that of the first request, or this one's where there was none in 24 hours.

        Raises:
            IdempotencyMismatchError: The first request under this key was another one.
            RequestInProgressError: Another request takes the key at this moment.
        """
        digest = hashlib.sha256(f"{owner or ''}\0{key}".encode()).hexdigest()
        record = KeyRecord(record_id=digest, fingerprint=fingerprint)
        with mongo_errors("taking an idempotency key"):
            try:
                self._database.idempotency.insert_one(record.to_document())
                return record
            except DuplicateKeyError as error:
                logger.debug("the key was sent before: {}", error)
                stored = self._database.idempotency.find_one({"_id": digest})
        if stored is None:
            raise _in_progress()  # forgotten in this very moment
        first = KeyRecord.from_document(stored)
        if utc_now() - first.created_at > _KEPT:
            return self.renew(first, fingerprint)
        if first.fingerprint != fingerprint:
            raise IdempotencyMismatchError(
                "This Idempotency-Key was sent before, with another recording or other options.",
                mend="Send a fresh key with each new request, and the same key only with the same request.",
            )
        return first

    def renew(self, record: KeyRecord, fingerprint: str) -> KeyRecord:
        """Let a key stand for a new job in place of one that came to nothing, and return its record.

        Raises:
            RequestInProgressError: Another request did so first.
        """
        fresh = KeyRecord(record_id=record.record_id, fingerprint=fingerprint)
        as_read = {"_id": record.record_id, "job_id": record.job_id}
        with mongo_errors("renewing an idempotency key"):
            if not self._database.idempotency.replace_one(as_read, fresh.to_document()).matched_count:
                raise _in_progress()
        return fresh

    def forget_expired(self) -> int:
        """Remove the keys that are remembered no longer; return how many."""
        with mongo_errors("forgetting idempotency keys"):
            expired = {"created_at": {"$lt": utc_now() - _KEPT}}
            return self._database.idempotency.delete_many(expired).deleted_count


def _in_progress() -> RequestInProgressError:
    return RequestInProgressError("Another request with this Idempotency-Key is being served.", mend="Try again soon.")
