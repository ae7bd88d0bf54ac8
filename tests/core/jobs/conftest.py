"""The jobs room's fixtures: the repository on every database it is proved on, the queue, and a wire that can be cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import mongomock
import pytest

from stt_core.jobs.chunks import ChunkRepository
from stt_core.jobs.job import JobModel, JobOptions
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.repository import JobRepository
from stt_core.settings import Settings
from stt_core.stores.database import Database
from tests.core.jobs.wire import Wire

#: A MongoDB of the developer's own; the contract tests run there too, in a database that they drop.
_MONGOD_URL = os.environ.get("MONGODB_URL")


@pytest.fixture(
    params=[
        "embedded",
        "mongomock",
        pytest.param("mongod", marks=pytest.mark.skipif(not _MONGOD_URL, reason="MONGODB_URL is not set")),
    ]
)
def any_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Each implementation of MongoDB that the repository's contract is proved on."""
    if request.param == "embedded":
        database = Database(request.getfixturevalue("settings"))
    elif request.param == "mongomock":
        # An independent oracle of MongoDB's behaviour, not a stand-in for ours.
        database = Database(Settings.model_validate({}), client_class=mongomock.MongoClient)
    else:
        name = f"stt_test_{uuid4().hex[:12]}"
        database = Database(Settings.model_validate({"MONGODB_URL": _MONGOD_URL, "MONGODB_DATABASE": name}))
    database.ensure_indexes()
    yield database
    if request.param == "mongod":
        database.jobs.database.client.drop_database(database.jobs.database.name)
    database.close()


@pytest.fixture
def any_jobs(any_database: Database) -> JobRepository:
    return JobRepository(any_database)


@pytest.fixture
def any_chunks(any_database: Database) -> ChunkRepository:
    return ChunkRepository(any_database)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    yield database
    database.close()


@pytest.fixture
def jobs(database: Database) -> JobRepository:
    return JobRepository(database)


@pytest.fixture
def queue(settings: Settings) -> Iterator[JobQueue]:
    queue = JobQueue(settings)
    yield queue
    queue.close()


@pytest.fixture
def wire(settings: Settings) -> Iterator[Wire]:
    """A TCP wire to the embedded MongoDB."""
    with Wire(settings.mongodb_url.removeprefix("mongodb://")) as wire:
        yield wire


def store_job(database: Database, **fields: Any) -> JobModel:
    """Insert a job in any state, past the state machine."""
    job = JobModel(**{"filename": "talk.mp3", "options": JobOptions(model="demo"), **fields})
    database.jobs.insert_one(job.to_document())
    return job
