"""MongoDB: one client a process, its pool, its indexes, its health, and the translation of its errors.

PyMongo's own synchronous client; Motor has been past its end of life since May 2026. The API calls it from worker
threads, so its event loop never waits for MongoDB.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import ASCENDING, DESCENDING, MongoClient
from pymongo.collection import Collection
from pymongo.errors import ConfigurationError as MongoConfigurationError
from pymongo.errors import ConnectionFailure, InvalidURI, OperationFailure, PyMongoError

from stt_core.errors import ConfigurationError, DatabaseRefusedError, DatabaseUnavailableError
from stt_core.logs import get_logger, logged, mask_secrets
from stt_core.settings import Settings

logger = get_logger(__name__)

MongoDocument = dict[str, Any]

#: The error code of a MongoDB server for "the index is there, with other options".
_INDEX_OPTIONS_CONFLICT = 85


@contextmanager
def mongo_errors(operation: str) -> Iterator[None]:
    """Turn PyMongo's errors inside the block into ours, naming the operation.

    Raises:
        DatabaseUnavailableError: No connection, no primary, or no answer in time.
        DatabaseRefusedError: The server answered and refused.
    """
    try:
        yield
    except ConnectionFailure as error:  # ServerSelectionTimeoutError, AutoReconnect and NetworkTimeout are some
        raise DatabaseUnavailableError(
            f"MongoDB is not reachable ({operation}): {mask_secrets(str(error))[:300]}.",
            mend="Check that it runs and that MONGODB_URL is right; `stt doctor` tests it.",
        ) from error
    except (OperationFailure, PyMongoError) as error:
        raise DatabaseRefusedError(
            f"MongoDB refused {operation}: {mask_secrets(str(error))[:300]}.",
            mend="Check the credentials in MONGODB_URL and the rights of its user.",
        ) from error


class Database:
    """The connection to MongoDB: `jobs`, `chunks` and `attempts` of one database.

    Opening connects to nothing (the process starts while MongoDB is down); the first operation does, and fails within
    `MONGODB_TIMEOUT_SECONDS` where no server answers.
    """

    def __init__(self, settings: Settings) -> None:
        timeout_ms = int(settings.mongodb_timeout_seconds * 1000)
        try:
            self._client: MongoClient[MongoDocument] = MongoClient(
                settings.mongodb_url,
                maxPoolSize=settings.mongodb_max_pool_size,
                minPoolSize=settings.mongodb_min_pool_size,
                serverSelectionTimeoutMS=timeout_ms,
                connectTimeoutMS=timeout_ms,
                # A whole scan may take longer than a connection attempt, but never for ever.
                socketTimeoutMS=timeout_ms * 6,
                tz_aware=True,
                appname="stt",
            )
        except (InvalidURI, MongoConfigurationError, ValueError) as error:
            raise ConfigurationError(
                f"MONGODB_URL is not usable: {mask_secrets(str(error))}.",
                mend="It must look like mongodb://[user:password@]host[:port][/?options].",
            ) from error
        self._database = self._client[settings.mongodb_database]
        self._indexed = False
        logger.info(
            "MongoDB client opened: url={} database={} pool={}..{}",
            mask_secrets(settings.mongodb_url),
            settings.mongodb_database,
            settings.mongodb_min_pool_size,
            settings.mongodb_max_pool_size,
        )

    @property
    def jobs(self) -> Collection[MongoDocument]:
        """One document a job."""
        return self._database["jobs"]

    @property
    def chunks(self) -> Collection[MongoDocument]:
        """One document a chunk, `_id` = `<job_id>:<index>`."""
        return self._database["chunks"]

    @logged
    def ping(self) -> float:
        """Ask the server for a sign of life and return its latency in seconds.

        Raises:
            DatabaseUnavailableError: No answer within `MONGODB_TIMEOUT_SECONDS`.
        """
        started = time.perf_counter()
        with mongo_errors("ping"):
            self._client.admin.command("ping")
        return time.perf_counter() - started

    @logged
    def ensure_indexes(self) -> None:
        """Create the indexes that queries rely on, once a process; indexes that exist stay as they are."""
        if self._indexed:
            return
        with mongo_errors("creating indexes"):
            try:
                self.jobs.create_index([("status", ASCENDING), ("queued_at", ASCENDING)], name="status_queued_at")
                self.jobs.create_index([("created_at", DESCENDING), ("_id", DESCENDING)], name="created_at_id")
                self.chunks.create_index([("job_id", ASCENDING), ("index", ASCENDING)], name="job_id_index")
            except OperationFailure as error:
                if error.code != _INDEX_OPTIONS_CONFLICT:
                    raise
                logger.warning("an index exists with other options and is kept: {}", error)
        self._indexed = True
        logger.info("MongoDB indexes are in place: database={}", self._database.name)

    @logged
    def close(self) -> None:
        """Close every connection of the pool."""
        self._client.close()
        logger.info("MongoDB client closed: database={}", self._database.name)
