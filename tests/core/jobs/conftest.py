"""The jobs room's fixtures: the repositories, the queue, and a wire to MongoDB that can be cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from stt_core.jobs.chunks import ChunkRepository
from stt_core.jobs.job import JobModel, JobOptions
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.repository import JobRepository
from stt_core.settings import Settings
from stt_core.stores.database import Database
from tests.core.wire import Wire


@pytest.fixture
def any_jobs(any_database: Database) -> JobRepository:
    return JobRepository(any_database)


@pytest.fixture
def any_chunks(any_database: Database) -> ChunkRepository:
    return ChunkRepository(any_database)


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


def count_leases(queue: JobQueue) -> int:
    """Count the entries that somebody has taken, or that are left of it."""
    return sum(1 for _ in queue.server.client.scan_iter(match=f"{queue.name}:lease:*"))
