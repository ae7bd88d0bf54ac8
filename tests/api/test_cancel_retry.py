"""Ending a job early, and sending a failed one again."""

from __future__ import annotations

import httpx
import pytest

from stt_core import object_keys
from stt_core.errors import EngineError, SupersededError
from stt_core.jobs.claims import describe_error, ensure_claim
from stt_core.jobs.job import JobError, JobResult, JobStatus, JobUpdate
from stt_core.services import Services
from tests.api.conftest import claim, kind_of

RESULT = JobResult(
    prefix="p/", formats=["json"], language="en", duration_seconds=1, words=0, segments=0, text_preview=""
)
NO_MODEL = JobError(kind="model-not-found", message="There is no model x.", mend="Download it.")


def post(client: httpx.Client, job_id: str, action: str) -> httpx.Response:
    return client.post(f"/api/v1/tasks/{job_id}/{action}")


def test_cancel_when_queued_then_leaves_the_queue_and_repeating_it_changes_nothing(
    client: httpx.Client, services: Services, job_id: str
) -> None:
    answers = [post(client, job_id, "cancel") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert (answers[0].json()["status"], answers[0].json()["queue_position"]) == ("cancelled", None)
    assert f"{job_id}:1" not in services.queue.members()


def test_cancel_when_a_run_has_it_then_the_run_may_not_write_any_more(
    client: httpx.Client, services: Services, job_id: str
) -> None:
    run = claim(services, job_id)

    assert post(client, job_id, "cancel").json()["status"] == "cancelled"
    assert services.jobs.get_job(job_id).attempts[0].ended_at is not None
    assert run.is_lost()
    with pytest.raises(SupersededError):
        run.complete(RESULT)


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_cancel_when_it_ended_before_then_409_names_the_state(
    client: httpx.Client, services: Services, job_id: str, end: str
) -> None:
    run = claim(services, job_id)
    _ = run.complete(RESULT) if end == "completed" else run.fail(NO_MODEL)
    response = post(client, job_id, "cancel")

    assert (response.status_code, kind_of(response)) == (409, "invalid-transition")
    assert response.json()["details"] == {"job_status": end}
    assert f"is {end}" in response.json()["detail"]


def test_retry_when_failed_then_the_next_attempt_waits_at_once_with_all_its_tries(
    client: httpx.Client, services: Services, job_id: str
) -> None:
    run = claim(services, job_id)
    services.jobs.modify_job(job_id, lambda _: JobUpdate(failures=3))
    run.fail(NO_MODEL)
    services.queue.remove(f"{job_id}:1")
    response = post(client, job_id, "retry")

    assert response.status_code == 202
    view = response.json()
    assert (view["status"], view["attempt"], view["error"], view["completed_at"]) == ("queued", 2, None, None)
    assert view["queue_position"] is not None
    job = services.jobs.get_job(job_id)
    assert (job.failures, job.run_id, job.not_before) == (0, None, None)
    assert [past.error for past in job.attempts] == [NO_MODEL]
    assert f"{job_id}:2" in services.queue.members()
    again = ensure_claim(services.jobs, job_id, "run-2", attempt=2)
    assert again.fail(describe_error(EngineError("died"))).status is JobStatus.PROCESSING


@pytest.mark.parametrize("state", ["queued", "processing", "completed", "cancelled"])
def test_retry_when_it_did_not_fail_then_409_names_the_state(
    client: httpx.Client, services: Services, job_id: str, state: str
) -> None:
    if state == "cancelled":
        post(client, job_id, "cancel")
    elif state != "queued":
        run = claim(services, job_id)
        _ = run.complete(RESULT) if state == "completed" else None
    response = post(client, job_id, "retry")

    assert (response.status_code, kind_of(response)) == (409, "invalid-transition")
    assert response.json()["details"] == {"job_status": state}
    assert ("mend" in response.json()) == (state == "cancelled")


def test_retry_when_the_recording_is_gone_then_409_says_to_upload_it_again(
    client: httpx.Client, services: Services, job_id: str
) -> None:
    claim(services, job_id).fail(NO_MODEL)
    services.store.remove_prefix(object_keys.source_prefix(job_id))
    response = post(client, job_id, "retry")

    assert (response.status_code, kind_of(response)) == (409, "recording-gone")
    assert response.json()["mend"] == "Upload it again."
    assert services.jobs.get_job(job_id).error == NO_MODEL


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_action_when_the_job_is_unknown_then_404(client: httpx.Client, action: str) -> None:
    assert kind_of(post(client, "0" * 32, action)) == "job-not-found"
