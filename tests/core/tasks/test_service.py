"""What an owner sees of a job, and what it leaves."""

from __future__ import annotations

import pytest

from stt_core import object_keys
from stt_core.errors import (
    JobFailedError,
    JobNotFoundError,
    ObjectNotFoundError,
    ResultNotReadyError,
    UnreadableAudioError,
)
from stt_core.jobs.claims import describe_error, ensure_claim
from stt_core.jobs.job import JobResult, JobStage, JobStatus
from stt_core.jobs.recovery import cancel_job
from stt_core.services import Services
from stt_core.transcript.document import Segment, Transcript, TranscriptStatistics
from tests.core.tasks.conftest import upload


def test_get_task_status_when_a_run_has_it_shows_its_stage_and_its_run(services: Services) -> None:
    job_id = upload(services.submissions).job_id
    ensure_claim(services.jobs, job_id, "run-1", attempt=1).enter_stage(JobStage.TRANSCRIBING)

    view = services.tasks.get_task_status(job_id)

    assert (view.status, view.stage, view.attempt) == (JobStatus.PROCESSING, JobStage.TRANSCRIBING, 1)
    assert (view.run_url or "").endswith("/runs/run-1")
    assert view.queue_position is None


def test_get_task_status_when_there_is_no_such_job_says_so(services: Services) -> None:
    with pytest.raises(JobNotFoundError):
        services.tasks.get_task_status("nobody")
    with pytest.raises(JobNotFoundError):
        services.tasks.get_task_result("nobody")


def test_get_task_result_when_the_job_is_not_over_tells_how_far_it_is(services: Services) -> None:
    job_id = upload(services.submissions).job_id

    with pytest.raises(ResultNotReadyError, match="queued") as caught:
        services.tasks.get_task_result(job_id)

    assert caught.value.details["job_status"] == "queued"
    assert caught.value.details["progress"]["chunks_total"] == 0


def test_get_task_result_when_the_job_failed_says_why(services: Services) -> None:
    job_id = upload(services.submissions).job_id
    claim = ensure_claim(services.jobs, job_id, "run-1", attempt=1)
    claim.fail(describe_error(UnreadableAudioError("It is damaged.", mend="Send it again.")))

    with pytest.raises(JobFailedError, match="It is damaged") as caught:
        services.tasks.get_task_result(job_id)

    assert (caught.value.mend, caught.value.details["kind"]) == ("Send it again.", "unreadable-audio")


def test_get_task_result_when_the_job_was_cancelled_says_so(services: Services) -> None:
    job_id = upload(services.submissions).job_id
    cancel_job(services.jobs, job_id)

    with pytest.raises(JobFailedError, match="was cancelled"):
        services.tasks.get_task_result(job_id)


def test_get_task_result_when_the_job_completed_gives_the_transcript_it_names(services: Services) -> None:
    job_id = upload(services.submissions).job_id
    claim = ensure_claim(services.jobs, job_id, "run-1", attempt=1)
    prefix = object_keys.result_prefix(job_id, 1)
    result = JobResult(
        prefix=prefix, formats=["json"], language="en", duration_seconds=2, words=1, segments=1, text_preview="hello"
    )
    transcript = Transcript(
        job_id=job_id,
        text="hello",
        language="en",
        model="demo",
        duration_seconds=2,
        segments=[Segment.model_validate({"index": 0, "start": 0, "end": 1, "text": "hello"})],
        statistics=TranscriptStatistics(words=1, speech_seconds=1, chunks=1),
    )
    claim.complete(result)

    with pytest.raises(ObjectNotFoundError):
        services.tasks.get_task_result(job_id)
    services.store.put_bytes(object_keys.transcript(prefix, "json"), transcript.model_dump_json().encode())
    assert services.tasks.get_task_result(job_id) == transcript
