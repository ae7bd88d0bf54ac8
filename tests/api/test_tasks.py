"""Status and result of jobs in each of their states."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from stt_core import object_keys
from stt_core.jobs.job import JobError, JobStage, JobStatus, JobUpdate
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.transcript.document import Transcript
from stt_core.whisper.models import resolve_model
from tests.api.conftest import Serve, claim, kind_of, publish, upload, wav

UNKNOWN = "0" * 32


@pytest.mark.parametrize("path", ["", "/result"])
def test_job_when_unknown_then_404(client: httpx.Client, path: str) -> None:
    response = client.get(f"/api/v1/tasks/{UNKNOWN}{path}")

    assert (response.status_code, kind_of(response)) == (404, "job-not-found")
    assert UNKNOWN in response.json()["detail"]


@pytest.mark.parametrize("bad", ["x", "0" * 31, "F" * 32, "%2e%2e", "%00", '{"$ne": 1}', "é" * 32])
def test_job_when_the_id_is_none_then_400_before_any_server_is_asked(client: httpx.Client, bad: str) -> None:
    response = client.get(f"/api/v1/tasks/{bad}")

    assert (response.status_code, kind_of(response)) == (400, "invalid-input")
    assert response.json()["details"]["fields"][0]["field"] == "job_id"


def test_status_when_processing_then_shows_stage_progress_and_run(
    client: httpx.Client, services: Services, job_id: str
) -> None:
    claim(services, job_id).enter_stage(JobStage.TRANSCRIBING)
    view = client.get(f"/api/v1/tasks/{job_id}").json()

    assert (view["status"], view["stage"], view["attempt"], view["error"]) == ("processing", "transcribing", 1, None)
    assert set(view["progress"]) == {"chunks_done", "chunks_total", "audio_seconds_done", "audio_seconds_total"}
    assert view["run_url"].endswith("/runs/run-1")
    assert view["queue_position"] is None


def test_result_when_queued_then_409_with_status_and_progress(client: httpx.Client, job_id: str) -> None:
    response = client.get(f"/api/v1/tasks/{job_id}/result")

    assert (response.status_code, kind_of(response)) == (409, "result-not-ready")
    assert response.json()["details"]["job_status"] == "queued"
    assert response.json()["details"]["progress"]["chunks_total"] == 0


def test_result_when_failed_then_409_with_the_reason(client: httpx.Client, services: Services, job_id: str) -> None:
    error = JobError(kind="no-audio", message="The video has no sound track.", mend="Send one that has.")
    claim(services, job_id).fail(error)
    response = client.get(f"/api/v1/tasks/{job_id}/result")

    assert (response.status_code, kind_of(response)) == (409, "job-failed")
    assert error.message in response.json()["detail"]
    assert response.json()["mend"] == error.mend
    assert response.json()["details"] == {"job_status": "failed", "kind": "no-audio"}
    assert client.get(f"/api/v1/tasks/{job_id}").json()["error"]["kind"] == "no-audio"


def test_result_when_cancelled_then_409(client: httpx.Client, services: Services, job_id: str) -> None:
    services.jobs.modify_job(job_id, lambda _: JobUpdate(status=JobStatus.CANCELLED))
    response = client.get(f"/api/v1/tasks/{job_id}/result")

    assert (response.status_code, kind_of(response)) == (409, "job-failed")
    assert response.json()["details"]["job_status"] == "cancelled"


def test_result_when_completed_then_200_with_the_transcript(
    client: httpx.Client, services: Services, job_id: str
) -> None:
    transcript = publish(services, job_id)
    response = client.get(f"/api/v1/tasks/{job_id}/result")

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert Transcript.model_validate_json(response.content) == transcript
    segment = response.json()["segments"][0]
    assert (segment["index"], segment["start"], segment["end"], segment["text"]) == (0, 0.25, 1.5, "Guten Morgen.")
    view = client.get(f"/api/v1/tasks/{job_id}").json()
    assert (view["status"], view["language"], view["result"]["words"]) == ("completed", "de", 2)


def test_result_when_its_object_is_gone_then_404_by_name(client: httpx.Client, services: Services, job_id: str) -> None:
    publish(services, job_id)
    services.store.remove_prefix(object_keys.results_of_job(job_id))
    response = client.get(f"/api/v1/tasks/{job_id}/result")

    assert (response.status_code, kind_of(response)) == (404, "object-not-found")


def test_model_when_it_is_a_path_then_no_answer_shows_more_than_its_name_and_no_caller_may_name_it(
    serve: Serve, settings: Settings
) -> None:
    with TemporaryDirectory() as folder, ExitStack() as stack:  # not `tmp_path`: a caller has 64 characters
        path = Path(shutil.copy(resolve_model("demo", settings).path, f"{folder}/my model.v2"))
        client = stack.enter_context(serve(settings.model_copy(update={"whisper_model": str(path)})))
        accepted = upload(client)
        task = f"/api/v1/tasks/{accepted.json()['job_id']}"
        shown = [client.get(at) for at in (task, "/api/v1/tasks", "/v1/models", "/health", "/ready", "/openapi.json")]
        assert accepted.json()["model"] == shown[0].json()["model"] == shown[1].json()["tasks"][0]["model"] == path.name
        asked = upload(client, model=str(path))
        files = {"file": ("a.wav", wav())}
        asked_openai = client.post("/v1/audio/transcriptions", files=files, data={"model": str(path)})
        path.write_bytes(b"damaged")
        damaged = upload(client)
        path.unlink()
        gone = upload(client)
    assert {answer.status_code for answer in (accepted, *shown)} == {202, 200}
    assert (kind_of(asked), asked_openai.status_code) == ("model-not-found", 404)
    assert "asked for by its name" in asked.json()["detail"]
    assert (kind_of(damaged), kind_of(gone)) == ("model-invalid", "model-not-found")
    assert all(path.name in answer.json()["detail"] for answer in (damaged, gone))
    assert all(folder not in answer.text for answer in (accepted, *shown, damaged, gone))
