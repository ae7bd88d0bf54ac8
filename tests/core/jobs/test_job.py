from __future__ import annotations

import time
from datetime import UTC, datetime

import loguru
import pytest
from pydantic import ValidationError

from stt_core.errors import InvalidDocumentError
from stt_core.jobs.job import (
    Attempt,
    ChunkModel,
    JobCreate,
    JobError,
    JobModel,
    JobOptions,
    JobStatus,
    JobUpdate,
    new_job_id,
)
from stt_core.jobs.transitions import TRANSITIONS
from stt_core.logs import add_sink
from stt_core.stores.documents import utc_now


def _job(**fields: object) -> JobModel:
    return JobModel.model_validate({"filename": "talk.mp3", "options": {"model": "demo"}, **fields})


def test_to_document_of_a_job_holds_only_plain_values_and_datetimes() -> None:
    job = _job(stage="preparing", attempts=[Attempt(attempt=1, run_id="r", host="h")])

    document = job.to_document()

    assert document["_id"] == job.job_id
    assert type(document["status"]) is str
    assert type(document["stage"]) is str
    assert document["created_at"] == job.created_at
    assert type(document["attempts"][0]) is dict


def test_from_document_when_written_by_to_document_gives_the_same_job() -> None:
    job = _job(error=JobError(kind="x", message="y"), attempts=[Attempt(attempt=1, run_id="r", host="h")])

    assert JobModel.from_document(job.to_document()) == job


def test_from_document_when_fields_are_wrong_names_and_logs_each() -> None:
    lines: list[str] = []
    sink = add_sink(lambda message: lines.append(str(message)), level="ERROR")
    try:
        with pytest.raises(InvalidDocumentError, match=r"status, version|version, status") as caught:
            JobModel.from_document({**_job().to_document(), "status": "sleeping", "version": "many"})
    finally:
        loguru.logger.remove(sink)

    assert not caught.value.transient
    assert "sleeping" in "".join(lines)
    assert "many" in "".join(lines)


def test_from_document_when_a_newer_version_added_fields_ignores_them() -> None:
    assert JobModel.from_document({**_job().to_document(), "mood": "fine"}).filename == "talk.mp3"


def test_utc_now_has_a_zone_and_no_more_than_milliseconds() -> None:
    now = utc_now()

    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0
    assert abs((datetime.now(UTC) - now).total_seconds()) < 1


def test_new_job_id_when_made_later_sorts_later_and_never_repeats() -> None:
    first = new_job_id()
    while int(first[:12], 16) == time.time_ns() // 1_000_000:
        pass  # the rest of this millisecond
    many = [new_job_id() for _ in range(1000)]

    assert all(len(job_id) == 32 and first < job_id for job_id in many)
    assert len(set(many)) == 1000


@pytest.mark.parametrize("filename", ["", "x" * 256])
def test_job_create_when_the_file_name_is_empty_or_too_long_is_refused(filename: str) -> None:
    with pytest.raises(ValidationError):
        JobCreate(filename=filename, options=JobOptions(model="demo"))


def test_job_update_when_a_field_is_unknown_is_refused() -> None:
    with pytest.raises(ValidationError):
        JobUpdate.model_validate({"statsu": "queued"})


def test_chunk_when_its_index_is_negative_is_refused() -> None:
    with pytest.raises(ValidationError):
        ChunkModel(chunk_id="j:0", job_id="j", index=-1, attempt=1, start_seconds=0, end_seconds=1, speech_seconds=1)


def test_transitions_name_every_status_and_leave_no_way_out_of_completed_and_cancelled() -> None:
    assert set(TRANSITIONS) == set(JobStatus)
    assert {status for status in JobStatus if not TRANSITIONS[status]} == {JobStatus.COMPLETED, JobStatus.CANCELLED}
    assert {status for status in JobStatus if status.is_final} == {
        JobStatus.COMPLETED,
        JobStatus.FAILED,
        JobStatus.CANCELLED,
    }


def test_member_names_the_job_and_its_attempt() -> None:
    assert _job(_id="abc", attempt=3).member == "abc:3"


def test_ended_attempts_ends_that_run_once_and_leaves_the_others() -> None:
    error = JobError(kind="x", message="y")
    job = _job(attempts=[Attempt(attempt=1, run_id="a", host="h"), Attempt(attempt=2, run_id="b", host="h")])

    once = job.ended_attempts("b", error)
    twice = job.model_copy(update={"attempts": once}).ended_attempts("b", None)

    assert once[0].ended_at is None
    assert once[1].ended_at is not None
    assert once[1].error == error
    assert twice == once
