"""The contract of the repository, proved on every database that stands behind it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stt_core.errors import (
    ConflictError,
    InvalidDocumentError,
    InvalidInputError,
    InvalidTransitionError,
    JobNotFoundError,
)
from stt_core.jobs.job import (
    Attempt,
    JobCreate,
    JobError,
    JobOptions,
    JobResult,
    JobStage,
    JobStatus,
    JobUpdate,
    Priority,
    Source,
)
from stt_core.jobs.repository import JobRepository
from stt_core.jobs.transitions import TRANSITIONS
from stt_core.stores.database import Database
from tests.core.jobs.conftest import store_job

CREATE = JobCreate(filename="talk.mp3", options=JobOptions(model="demo"), priority=Priority.HIGH)
MOMENT = datetime(2026, 3, 29, 0, 59, 59, 987_000, tzinfo=UTC)


def test_create_job_when_read_back_is_the_same_to_the_millisecond(any_jobs: JobRepository) -> None:
    job = any_jobs.create_job(CREATE)
    stored = any_jobs.get_job(job.job_id)

    assert stored == job
    assert stored.status is JobStatus.PENDING
    assert stored.priority is Priority.HIGH
    assert stored.created_at.utcoffset() == timedelta(0)


def test_update_job_when_every_field_is_set_reads_back_every_field(any_jobs: JobRepository) -> None:
    error = JobError(kind="engine-failed", message="„Ende“ 🎧\n\x01", transient=True, stage=JobStage.MERGING)
    update = JobUpdate(
        status=JobStatus.QUEUED,
        stage=JobStage.CHUNKING,
        attempt=7,
        attempts=[Attempt(attempt=1, run_id="r", host="h", ended_at=MOMENT, error=error)],
        failures=2,
        run_id="r",
        source=Source(
            filename="Gespräch über größere Dinge 日本.mp3",
            key="k",
            format="mp3",
            content_type="audio/mpeg",
            size_bytes=2**62,
            sha256="0" * 64,
        ),
        duration_seconds=0.1 + 0.2,
        language="de",
        queued_at=MOMENT,
        not_before=MOMENT + timedelta(milliseconds=1),
        started_at=MOMENT,
        completed_at=MOMENT,
        error=error,
        result=JobResult(
            prefix="p", formats=["json"], language="de", duration_seconds=1.5, words=1, segments=1, text_preview="ä"
        ),
        filename="Gespräch.mp3",
        callback_due=False,  # as the end of a job without a callback has it, and of an upload
        release_due=False,
        deleted_at=None,  # who sets it cannot read the job any more
    )

    written = any_jobs.update_job(any_jobs.create_job(CREATE), update)
    stored = any_jobs.get_job(written.job_id)

    assert stored == written
    assert {name: getattr(stored, name) for name in update.model_fields_set} == dict(update)
    assert stored.version == 1


def test_update_job_when_a_field_is_set_to_none_clears_it_and_leaves_the_others(any_jobs: JobRepository) -> None:
    job = any_jobs.update_job(any_jobs.create_job(CREATE), JobUpdate(run_id="r", language="de"))

    any_jobs.update_job(job, JobUpdate(run_id=None))

    stored = any_jobs.get_job(job.job_id)
    assert (stored.run_id, stored.language) == (None, "de")


def test_get_job_when_there_is_none_says_so(any_jobs: JobRepository) -> None:
    with pytest.raises(JobNotFoundError, match="nobody"):
        any_jobs.get_job("nobody")


@pytest.mark.parametrize("job_id", ["", "1", "a.b$c", "ü", "x" * 500])
def test_get_job_when_the_id_is_odd_finds_that_job_alone(any_database: Database, job_id: str) -> None:
    store_job(any_database, _id="other")
    store_job(any_database, _id=job_id, filename="mine")

    assert JobRepository(any_database).get_job(job_id).filename == "mine"


def test_get_job_when_the_document_is_damaged_is_an_error_of_its_own(any_database: Database) -> None:
    any_database.jobs.insert_one({"_id": "broken", "status": "dreaming"})

    with pytest.raises(InvalidDocumentError):
        JobRepository(any_database).get_job("broken")


def test_insert_when_the_id_is_taken_is_refused_and_changes_nothing(any_database: Database) -> None:
    store_job(any_database, _id="twin", filename="first")

    with pytest.raises(ConflictError, match="twin"):
        JobRepository(any_database).create_job(CREATE.model_copy(update={"job_id": "twin"}))
    assert JobRepository(any_database).get_job("twin").filename == "first"


def test_update_job_when_two_read_the_same_version_the_second_loses(any_jobs: JobRepository) -> None:
    job = any_jobs.create_job(CREATE)
    any_jobs.update_job(job, JobUpdate(language="de"))

    with pytest.raises(ConflictError, match=job.job_id):
        any_jobs.update_job(job, JobUpdate(language="en"))

    assert any_jobs.get_job(job.job_id).language == "de"


def test_update_job_when_the_job_was_deleted_says_so(any_jobs: JobRepository) -> None:
    job = any_jobs.create_job(CREATE)
    any_jobs.delete_job(job.job_id)

    with pytest.raises(JobNotFoundError):
        any_jobs.update_job(job, JobUpdate(language="en"))
    with pytest.raises(JobNotFoundError):
        any_jobs.get_job(job.job_id)


def test_update_status_follows_the_state_machine_and_refuses_every_other_step(any_database: Database) -> None:
    jobs = JobRepository(any_database)
    for start in JobStatus:
        for end in JobStatus:
            job = store_job(any_database, status=start)
            if end in TRANSITIONS[start]:
                assert jobs.update_status(job, end).status is end
                assert jobs.get_job(job.job_id).status is end
            else:
                with pytest.raises(InvalidTransitionError, match=f"{start}.*{end}"):
                    jobs.update_status(job, end)
                assert jobs.get_job(job.job_id) == job


def test_modify_job_when_four_threads_count_at_once_loses_no_count(any_jobs: JobRepository) -> None:
    job_id = any_jobs.create_job(CREATE).job_id

    def count(_: int) -> None:
        any_jobs.modify_job(job_id, lambda job: JobUpdate(failures=job.failures + 1))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count, range(60)))

    assert any_jobs.get_job(job_id).failures == 60
    assert any_jobs.get_job(job_id).version == 60


def test_modify_job_when_there_is_nothing_to_do_writes_nothing(any_jobs: JobRepository) -> None:
    job = any_jobs.create_job(CREATE)

    assert any_jobs.modify_job(job.job_id, lambda _: None) == job
    assert any_jobs.get_job(job.job_id).version == 0


def test_get_pending_jobs_gives_queued_ones_by_the_moment_they_were_queued(any_database: Database) -> None:
    for minute in (3, 1, 2):
        store_job(any_database, _id=f"q{minute}", status="queued", queued_at=MOMENT + timedelta(minutes=minute))
    for status in JobStatus:
        if status is not JobStatus.QUEUED:
            store_job(any_database, status=status)
    jobs = JobRepository(any_database)

    assert [job.job_id for job in jobs.get_pending_jobs()] == ["q1", "q2", "q3"]
    assert [job.job_id for job in jobs.get_pending_jobs(limit=2)] == ["q1", "q2"]
    assert jobs.get_pending_members() == ["q1:0", "q2:0", "q3:0"]


def test_lists_when_one_document_is_damaged_give_the_others(any_database: Database) -> None:
    store_job(any_database, _id="whole", status="queued", queued_at=MOMENT)
    whole = store_job(any_database, _id="broken", status="queued", queued_at=MOMENT)
    any_database.jobs.replace_one({"_id": "broken"}, {**whole.to_document(), "attempts": "three"})
    jobs = JobRepository(any_database)

    assert [job.job_id for job in jobs.get_jobs(["whole", "broken"])] == ["whole"]
    assert [job.job_id for job in jobs.get_pending_jobs()] == ["whole"]
    assert [job.job_id for job in jobs.list_jobs().jobs] == ["whole"]


def _pages(jobs: JobRepository, limit: int, status: JobStatus | None = None) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = jobs.list_jobs(status=status, cursor=cursor, limit=limit)
        found += [job.job_id for job in page.jobs]
        if page.next_cursor is None:
            return found
        assert len(page.jobs) == limit
        cursor = page.next_cursor


@pytest.mark.parametrize("limit", [1, 3, 7, 50])
def test_list_jobs_when_read_page_by_page_gives_each_once_newest_first(any_database: Database, limit: int) -> None:
    stored = [store_job(any_database, status="queued" if index % 2 else "pending") for index in range(7)]
    newest_first = sorted(stored, key=lambda job: job.job_id, reverse=True)
    jobs = JobRepository(any_database)

    assert _pages(jobs, limit) == [job.job_id for job in newest_first]
    queued = [job.job_id for job in newest_first if job.status is JobStatus.QUEUED]
    assert _pages(jobs, limit, JobStatus.QUEUED) == queued


def test_list_jobs_when_a_job_is_created_between_pages_shows_none_twice(any_database: Database) -> None:
    stored = sorted(store_job(any_database).job_id for _ in range(4))
    jobs = JobRepository(any_database)
    first = jobs.list_jobs(limit=2)
    store_job(any_database, _id="f" * 32)

    second = jobs.list_jobs(limit=2, cursor=first.next_cursor)

    assert [job.job_id for job in second.jobs] == [stored[1], stored[0]]
    assert second.next_cursor is None


def test_find_jobs_to_release_when_none_of_a_page_can_be_then_the_next_look_sees_others(any_database: Database) -> None:
    due = sorted(store_job(any_database, release_due=True).job_id for _ in range(5))
    store_job(any_database)
    jobs = JobRepository(any_database)
    seen: list[list[str]] = []
    cursor = None
    for _ in range(4):
        page = jobs.find_jobs_to_release(cursor, limit=2)
        cursor = page.next_cursor
        seen.append([job.job_id for job in page.jobs])

    assert seen == [due[:2], due[2:4], due[4:], due[:2]]


@pytest.mark.parametrize("cursor", ["x", "äöü", "0" * 31, "0" * 33, '{"$gt": ""}'])
def test_list_jobs_when_the_cursor_is_not_ours_is_the_callers_mistake(any_jobs: JobRepository, cursor: str) -> None:
    with pytest.raises(InvalidInputError, match="cursor"):
        any_jobs.list_jobs(cursor=cursor)


def test_delete_job_when_called_twice_says_whether_there_was_one(any_jobs: JobRepository) -> None:
    job_id = any_jobs.create_job(CREATE).job_id

    assert any_jobs.delete_job(job_id)
    assert not any_jobs.delete_job(job_id)


def test_document_when_it_holds_every_type_we_store_comes_back_unchanged(any_database: Database) -> None:
    """`_id`s alike, big numbers, nothing, nested lists, moments: what embedded servers are known to get wrong."""
    document: dict[str, Any] = {
        "_id": "types",
        "none": None,
        "true": True,
        "zero": 0,
        "big": 2**63 - 1,
        "small": -(2**63),
        "float": 1e-300,
        "whole_float": 2.0,
        "text": "„ü“ 🎧 \u0000 \n",
        "empty": {},
        "list": [[], [None], [{"at": MOMENT}], "2026-01-01T00:00:00Z"],
        "at": MOMENT,
    }
    any_database.jobs.insert_one(dict(document))
    inserted = any_database.jobs.find_one({"_id": "types"})
    any_database.jobs.replace_one({"_id": "types"}, dict(document))
    replaced = any_database.jobs.find_one({"_id": "types"})

    assert inserted == document
    assert replaced == document
    assert all(isinstance((replaced or {})[key], type(value)) for key, value in document.items())
