from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bson.errors import InvalidDocument
from pymongo.errors import (
    CursorNotFound,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
    WriteError,
    WTimeoutError,
)

from stt_cli.local_stack.home import free_port
from stt_core.errors import (
    ConfigurationError,
    DatabaseRefusedError,
    DatabaseUnavailableError,
    DiskFullError,
    SttError,
)
from stt_core.settings import Settings
from stt_core.stores.database import Database, mongo_errors


def test_ping_when_the_server_runs_returns_its_latency(database: Database) -> None:
    assert 0 < database.ping() < 5


def test_ping_when_nobody_listens_fails_in_time_and_says_how_to_mend_it() -> None:
    database = Database(
        Settings.model_validate(
            {"MONGODB_URL": f"mongodb://bob:hunter2@127.0.0.1:{free_port()}", "MONGODB_TIMEOUT_SECONDS": 0.5}
        )
    )
    started = time.monotonic()

    with pytest.raises(DatabaseUnavailableError, match="MONGODB_URL") as caught:
        database.ping()

    assert time.monotonic() - started < 3
    assert "hunter2" not in str(caught.value)
    database.close()


def test_ping_when_the_server_accepts_and_never_answers_fails_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"mongodb://127.0.0.1:{silent.getsockname()[1]}"
        database = Database(Settings.model_validate({"MONGODB_URL": address, "MONGODB_TIMEOUT_SECONDS": 0.5}))
        started = time.monotonic()

        with pytest.raises(DatabaseUnavailableError):
            database.ping()

        assert time.monotonic() - started < 3
        database.close()


def test_operations_when_the_server_hangs_fail_in_time_however_many_wait(
    database: Database, settings: Settings
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        address = {"mongodb_url": f"mongodb://127.0.0.1:{silent.getsockname()[1]}", "mongodb_timeout_seconds": 1.0}
        hanging = Database(settings.model_copy(update=address))

        def ask(_: int) -> float:
            started = time.monotonic()
            with pytest.raises(DatabaseUnavailableError, match="MongoDB is not reachable"), mongo_errors("a test"):
                hanging.jobs.find_one({})
            return time.monotonic() - started

        with ThreadPoolExecutor(30) as threads:  # more than the pool has connections
            assert max(threads.map(ask, range(30))) < 4
        hanging.close()


def test_default_timeout_is_five_seconds() -> None:
    assert Settings.model_validate({}).mongodb_timeout_seconds == 5.0


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://localhost:99999",
        "mongodb://localhost/?tls=true&tlsCAFile=/nowhere/ca.pem",
        "mongodb://us%zzer@localhost/?authSource=",
    ],
)
def test_database_when_the_url_cannot_be_used_names_the_variable(url: str) -> None:
    settings = Settings.model_construct(**{**Settings.model_validate({}).model_dump(), "mongodb_url": url})

    with pytest.raises(ConfigurationError, match="MONGODB_URL"):
        Database(settings)


def test_ensure_indexes_when_called_again_by_anyone_changes_nothing(database: Database, settings: Settings) -> None:
    database.ensure_indexes()
    before = set(database.jobs.index_information()), set(database.chunks.index_information())
    database.ensure_indexes()
    other = Database(settings)
    other.ensure_indexes()

    assert (set(other.jobs.index_information()), set(other.chunks.index_information())) == before
    # The embedded server puts words of its own before the names.
    assert any("status_queued_at" in index for index in before[0])
    assert any("job_id_index" in index for index in before[1])
    other.close()


def test_close_when_called_twice_is_quiet_and_ends_the_connection(settings: Settings) -> None:
    database = Database(settings)
    database.ping()
    database.close()
    database.close()

    with pytest.raises(SttError):
        database.ping()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ServerSelectionTimeoutError("none"), DatabaseUnavailableError),
        (NetworkTimeout("late"), DatabaseUnavailableError),
        (NotPrimaryError("stepped down", {"code": 10107}), DatabaseUnavailableError),
        (ExecutionTimeout("slow", 50), DatabaseUnavailableError),
        (WTimeoutError("not replicated", 64), DatabaseUnavailableError),
        (CursorNotFound("gone", 43), DatabaseUnavailableError),
        (OperationFailure("overload", 1, {"errorLabels": ["RetryableWriteError"]}), DatabaseUnavailableError),
        (OperationFailure("no room", 14031), DiskFullError),
        (WriteError("database or disk is full", 8), DiskFullError),  # the embedded server
        (OperationFailure("28: No space left on device", 1), DiskFullError),
        (OperationFailure("Authentication failed.", 18), DatabaseRefusedError),
        (WriteError("bad field", 52), DatabaseRefusedError),
        (InvalidDocument("too large"), DatabaseRefusedError),
        (OverflowError("MongoDB can only handle up to 8-byte ints"), DatabaseRefusedError),
        (UnicodeEncodeError("utf-8", "\udc80", 0, 1, "surrogates not allowed"), DatabaseRefusedError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_mongo_errors_tell_what_passes_from_what_does_not(error: Exception, expected: type[SttError]) -> None:
    with pytest.raises(expected) as caught, mongo_errors("a test"):
        raise error

    assert caught.value.__cause__ is error
    assert "a test" in str(caught.value)


def test_database_when_a_document_is_over_16_mb_is_refused_for_good(database: Database, tmp_path: Path) -> None:
    with pytest.raises(DatabaseRefusedError), mongo_errors("writing"):
        database.jobs.insert_one({"_id": "big", "text": "x" * (17 * 1024**2)})
