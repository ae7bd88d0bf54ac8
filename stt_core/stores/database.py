"""MongoDB: one client a process, its pool, its indexes, its health, and the translation of its errors.

PyMongo's own synchronous client; Motor has been past its end of life since May 2026. The API calls it from worker
threads, so its event loop never waits for MongoDB.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
from bson.errors import BSONError
from pymongo import ASCENDING, MongoClient
from pymongo.errors import (
    ConnectionFailure,
    CursorNotFound,
    ExecutionTimeout,
    PyMongoError,
    WriteConcernError,
)

from stt_core.errors import ConfigurationError, DatabaseRefusedError, DatabaseUnavailableError, DiskFullError
from stt_core.logs import get_logger, mask_secrets
from stt_core.settings import Settings

logger = get_logger(__name__)
# It would tell of an outage again and again with a stack trace, beside the operations, which tell of it in one line.
logging.getLogger("pymongo.client").setLevel(logging.CRITICAL)

MongoDocument = dict[str, Any]

#: What servers say of a full disk: mongod (code 14031 too), the operating system, and the embedded server's SQLite.
_OUT_OF_DISK_SPACE = re.compile(r"out of disk space|no space left on device|disk is full", re.IGNORECASE)
#: How long `ping` waits at most: a sign of life is wanted soon or not at all.
_PROBE_SECONDS = 3.0
#: Failures of the moment: no connection, no primary (a ConnectionFailure too), a limit of time, a lost cursor.
_PASSING = (ConnectionFailure, ExecutionTimeout, WriteConcernError, CursorNotFound)

#: The fields of each index by its collection. The fields are the name too: MongoDB refuses another index under the
#: same.
_INDEXES = (
    ("jobs", ("status", "queued_at")),
    ("chunks", ("job_id", "index")),
    ("bucket_objects", ("bucket", "key")),
    # The embedded server uses no index of several fields, and reads every document without these.
    ("jobs", ("status",)),
    ("jobs", ("callback_due",)),
    ("jobs", ("release_due",)),
    ("jobs", ("partition",)),
    ("deliveries", ("status",)),
    ("chunks", ("job_id",)),
    ("jobs", ("source.sha256",)),
    ("bucket_objects", ("key",)),
)


@contextmanager
def mongo_errors(operation: str) -> Iterator[None]:
    """Turn PyMongo's errors inside the block into ours, naming the operation.

    Raises:
        DatabaseUnavailableError: No connection, no primary, or no answer in time.
        DiskFullError: The server has no room left.
        DatabaseRefusedError: The server answered and refused, or the values cannot be stored (over 16 MB or 64 bit).
    """
    try:
        yield
    except PyMongoError as error:
        # Without PyMongo's account of its timeouts and of what it knows of every server.
        reason = mask_secrets(re.split(r" \(configured timeouts|, Timeout: ", str(error))[0])[:300]
        if getattr(error, "code", None) == 14031 or _OUT_OF_DISK_SPACE.search(reason):
            raise DiskFullError(f"MongoDB has no room left ({operation}).", mend="Free space on its disk.") from error
        if isinstance(error, _PASSING) or error.has_error_label("RetryableWriteError"):
            raise DatabaseUnavailableError(
                f"MongoDB is not reachable ({operation}): {reason}.",
                mend="Check that it runs and that MONGODB_URL is right; `stt doctor` tests it.",
            ) from error
        raise DatabaseRefusedError(
            f"MongoDB refused {operation}: {reason}.",
            mend="Check the credentials in MONGODB_URL and the rights of its user.",
        ) from error
    except (BSONError, OverflowError, UnicodeError) as error:
        raise DatabaseRefusedError(f"MongoDB cannot store the values ({operation}): {str(error)[:300]}.") from error


class Database:
    """The connection to MongoDB: the collections of one database.

    Opening connects to nothing (the process starts while MongoDB is down); the first operation does. Each operation
    fails within `MONGODB_TIMEOUT_SECONDS` where no server answers, whether it is down or hangs: its waits for a
    server, for a connection of the pool and for the answer, and PyMongo's own tries, are counted together. Each batch
    of a cursor is an operation.

    Args:
        client_class: What speaks to the server; tests put another implementation of `MongoClient` here.

    Raises:
        ConfigurationError: `MONGODB_URL` cannot be used.
    """

    def __init__(self, settings: Settings, *, client_class: type[MongoClient[MongoDocument]] = MongoClient) -> None:
        self._timeout_seconds = settings.mongodb_timeout_seconds
        timeout_ms = int(self._timeout_seconds * 1000)
        try:
            self._client = client_class(
                settings.mongodb_url,
                maxPoolSize=settings.mongodb_max_pool_size,
                minPoolSize=settings.mongodb_min_pool_size,
                timeoutMS=timeout_ms,
                connectTimeoutMS=timeout_ms,  # of the client's own look-out for servers
                tz_aware=True,
                appname="stt",
            )
        except (PyMongoError, OSError, TypeError, ValueError) as error:  # OSError: a certificate file is not there
            raise ConfigurationError(
                f"MONGODB_URL is not usable: {mask_secrets(str(error))}.",
                mend="It must look like mongodb://[user:password@]host[:port][/?options].",
            ) from error
        self._database = self._client[settings.mongodb_database]
        #: One document a job.
        self.jobs = self._database["jobs"]
        #: One document a chunk, `_id` = `<job_id>:<index>`.
        self.chunks = self._database["chunks"]
        #: One document an API key.
        self.api_keys = self._database["api_keys"]
        #: One document a session of somebody in a browser, `_id` = the SHA-256 of its token.
        self.sessions = self._database["sessions"]
        #: One document of counts.
        self.tallies = self._database["tallies"]
        #: One document a job that is being processed: the latest sign of life of its run.
        self.heartbeats = self._database["heartbeats"]
        #: One document a job whose end a caller wants to be told of.
        self.deliveries = self._database["deliveries"]
        #: One document an object that backfills can transcribe, `_id` = its partition key.
        self.bucket_objects = self._database["bucket_objects"]
        #: One document an idempotency key.
        self.idempotency = self._database["idempotency"]
        self._indexed = False
        logger.info(
            "MongoDB client opened: url={} database={} pool={}..{}",
            mask_secrets(settings.mongodb_url),
            settings.mongodb_database,
            settings.mongodb_min_pool_size,
            settings.mongodb_max_pool_size,
        )

    def ping(self) -> float:
        """Ask the server for a sign of life and return its latency in seconds.

        Raises:
            DatabaseUnavailableError: No answer within 3 seconds, or `MONGODB_TIMEOUT_SECONDS`.
        """
        started = time.perf_counter()
        with mongo_errors("ping"), pymongo.timeout(min(self._timeout_seconds, _PROBE_SECONDS)):
            self._client.admin.command("ping")
        return time.perf_counter() - started

    def ensure_indexes(self) -> None:
        """Create the indexes that queries rely on, once a process; those that exist already cost one question.

        Lists of jobs are read in the order of `_id`, which has an index by itself (the embedded server cannot take
        inserts any more once an index names `_id`).
        """
        if self._indexed:
            return
        with mongo_errors("creating indexes"):
            for collection, fields in _INDEXES:
                name = "_".join(fields).replace(".", "_")
                self._database[collection].create_index([(field, ASCENDING) for field in fields], name=name)
        self._indexed = True
        logger.info("MongoDB indexes are in place: database={}", self._database.name)

    def close(self) -> None:
        """Close every connection of the pool."""
        self._client.close()
        logger.info("MongoDB client closed: database={}", self._database.name)
