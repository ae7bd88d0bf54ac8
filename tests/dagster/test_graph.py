"""The transcription graph on real servers with the real engine."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance, ExecuteInProcessResult

from stt_core.jobs.models import JobStatus
from stt_core.services import Services
from stt_core.settings import Settings, get_settings

RECORDING = Path(__file__).parents[1] / "data" / "audio" / "sample-01.mp3"


@pytest.fixture
def services(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    opened = Services.open(settings)
    opened.prepare()
    monkeypatch.setattr("stt_dagster.resources.open_services", lambda: opened)
    yield opened
    opened.close()


def run_job(services: Services, job_id: str) -> ExecuteInProcessResult:
    from stt_dagster.definitions import defs
    from stt_dagster.jobs import run_request

    request = run_request(services.jobs.get_job(job_id), services.settings)
    return defs.get_job_def(request.job_name).execute_in_process(
        run_config={"ops": request.run_config["ops"]}, instance=DagsterInstance.ephemeral(), raise_on_error=False
    )


def test_job_when_run_completes_with_transcript(services: Services) -> None:
    data = RECORDING.read_bytes()
    view = services.tasks.create_task(io.BytesIO(data), filename="sample.mp3", size_bytes=len(data), model="demo")
    result = run_job(services, view.job_id)
    assert result.success
    done = services.tasks.get_task_status(view.job_id)
    assert done.status is JobStatus.COMPLETED
    assert done.result is not None and done.result.words > 20
