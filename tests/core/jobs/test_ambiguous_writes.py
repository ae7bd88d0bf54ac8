"""A server that dies between writing and answering: nothing is lost, nothing done twice, nobody misled."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from stt_core.errors import DatabaseUnavailableError
from stt_core.jobs.job import JobCreate, JobOptions, JobUpdate
from stt_core.jobs.repository import JobRepository
from stt_core.settings import Settings
from stt_core.stores.database import Database
from tests.core.wire import Wire

CREATE = JobCreate(filename="talk.mp3", options=JobOptions(model="demo"))
#: How the commands are named on the wire.
INSERT, UPDATE, FIND = (b"insert\x00", b"update\x00", b"find\x00")


@pytest.fixture
def wired_jobs(settings: Settings, wire: Wire) -> Iterator[JobRepository]:
    """The repository behind a wire that can be cut."""
    address = {"mongodb_url": f"mongodb://{wire.address}", "mongodb_timeout_seconds": 1.5}
    database = Database(settings.model_copy(update=address))
    yield JobRepository(database)
    database.close()


@pytest.mark.parametrize("cut", [Wire.cut_after, Wire.cut_before])
def test_create_job_when_the_server_dies_before_or_after_it_wrote_succeeds_once(
    wired_jobs: JobRepository, wire: Wire, jobs: JobRepository, cut: Callable[[Wire, bytes], None]
) -> None:
    cut(wire, INSERT)

    job = wired_jobs.create_job(CREATE)

    assert wire.cuts == 1
    assert jobs.list_jobs().jobs == [job]


@pytest.mark.parametrize("cut", [Wire.cut_after, Wire.cut_before])
def test_update_job_when_the_answer_is_lost_writes_once_and_says_so(
    wired_jobs: JobRepository, wire: Wire, jobs: JobRepository, cut: Callable[[Wire, bytes], None]
) -> None:
    job = jobs.create_job(CREATE)
    cut(wire, UPDATE)

    written = wired_jobs.update_job(job, JobUpdate(language="de"))

    assert wire.cuts == 1
    assert jobs.get_job(job.job_id) == written
    assert written.version == 1


def test_modify_job_when_the_answer_is_lost_counts_once(
    wired_jobs: JobRepository, wire: Wire, jobs: JobRepository
) -> None:
    job_id = jobs.create_job(CREATE).job_id
    for _ in range(3):
        wire.cut_after(UPDATE)
        wired_jobs.modify_job(job_id, lambda job: JobUpdate(failures=job.failures + 1))

    assert wire.cuts == 3
    assert jobs.get_job(job_id).failures == 3


def test_get_job_when_the_connection_breaks_once_asks_again(
    wired_jobs: JobRepository, wire: Wire, jobs: JobRepository
) -> None:
    job = jobs.create_job(CREATE)
    wire.cut_before(FIND)

    assert wired_jobs.get_job(job.job_id) == job
    assert wire.cuts == 1


def test_create_job_when_the_server_is_gone_fails_as_unavailable(wired_jobs: JobRepository, wire: Wire) -> None:
    wired_jobs.create_job(CREATE)
    wire.close()

    with pytest.raises(DatabaseUnavailableError):
        wired_jobs.create_job(CREATE)
