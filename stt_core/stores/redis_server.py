"""Redis: one client a process, its waits, and the translation of its errors. The queue and the limits share it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
from redis.retry import Retry

from stt_core.errors import QueueRefusedError, QueueUnavailableError
from stt_core.logs import get_logger
from stt_core.settings import Settings

logger = get_logger(__name__)

#: What Redis says of its login, and what it says while it is full, failing over, or cannot write to its disk.
_LOGIN = (
    redis.AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    NoPermissionError,
)
_PASSING = (
    redis.ConnectionError,  # BusyLoadingError is one
    redis.TimeoutError,
    OutOfMemoryError,
    ReadOnlyError,
    ClusterDownError,
    TryAgainError,
)
#: The same from inside a script, where it is all one kind of error.
_PASSING_CODES = re.compile(r"\b(MISCONF|NOREPLICAS|OOM|READONLY) ")


@contextmanager
def redis_errors(operation: str) -> Iterator[None]:
    """Turn redis-py's errors inside the block into ours, naming the operation.

    Raises:
        QueueUnavailableError: No connection, no answer in time, or a server that cannot take writes now.
        QueueRefusedError: The server answered and refused.
    """
    try:
        yield
    except _LOGIN as error:
        raise QueueRefusedError(
            f"Redis refused {operation}: {_reason(error)}.", mend="Check REDIS_PASSWORD."
        ) from error
    except redis.RedisError as error:
        if isinstance(error, _PASSING) or _PASSING_CODES.search(str(error)):
            raise QueueUnavailableError(
                f"Redis is not reachable ({operation}): {_reason(error)}.",
                mend="Check that it runs and that REDIS_HOST and REDIS_PORT are right; `stt doctor` tests it.",
            ) from error
        raise QueueRefusedError(
            f"Redis refused {operation}: {_reason(error)}.", mend="Check REDIS_PASSWORD, REDIS_DB and QUEUE_NAME."
        ) from error


def _reason(error: Exception) -> str:
    return str(error).rstrip(".")


class RedisServer:
    """The connection to Redis. Opening connects to nothing; the first command does."""

    def __init__(self, settings: Settings) -> None:
        password = settings.redis_password
        self.client = redis.Redis(
            host=settings.redis_host,
            port=settings.redis_port,
            db=settings.redis_db,
            password=password.get_secret_value() if password else None,
            ssl=settings.redis_ssl,
            socket_connect_timeout=settings.redis_timeout_seconds,
            socket_timeout=settings.redis_timeout_seconds,
            # Once more at once, for a connection that a restarted server has left dead; every command here may be
            # sent twice. redis-py's default would wait for seconds between its tries, and ask a silent server again.
            retry=Retry(NoBackoff(), retries=1, supported_errors=(redis.ConnectionError,)),
            decode_responses=True,
            protocol=2,  # RESP3 answers with lists where RESP2 answers with tuples
        )
        self._away = False
        self._probing = threading.Lock()
        logger.info("Redis client opened: {}:{}/{}", settings.redis_host, settings.redis_port, settings.redis_db)

    @contextmanager
    def asking(self, operation: str) -> Iterator[None]:
        """Talk to Redis in the block; while it is away one caller at a time waits for it, others are refused at once.

        Thus what can do without Redis (a job's status) does not wait for it in every thread there is.
        """
        is_probe = self._away
        if is_probe and not self._probing.acquire(blocking=False):
            raise QueueUnavailableError(f"Redis is not reachable ({operation}).", mend="Check that it runs.")
        try:
            with redis_errors(operation):
                yield
            self._away = False
        except QueueUnavailableError:
            self._away = True
            raise
        finally:
            if is_probe:
                self._probing.release()

    def ping(self) -> float:
        """Ask the server for a sign of life and return its latency in seconds."""
        started = time.perf_counter()
        with self.asking("ping"):
            self.client.ping()
        return time.perf_counter() - started

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        logger.info("Redis client closed")
