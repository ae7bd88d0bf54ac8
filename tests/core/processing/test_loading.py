"""Engines that load their model while the recording is prepared."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from loguru import logger

from stt_core.cores import cores_folder, lease_cores
from stt_core.jobs.claims import Claim, ensure_claim
from stt_core.jobs.job import Lane
from stt_core.processing.loading import engines_loading
from stt_core.processing.planning import batches_of, plan_recording
from stt_core.processing.preparing import prepare_recording
from stt_core.processing.transcribing import transcribe_batch
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.whisper.catalog import CATALOG

PAUSES = Path(__file__).parents[2] / "data" / "audio" / "pauses.ogg"


@pytest.fixture
def services(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """A stack of two cores whose recordings are all long."""
    for module in ("cores", "processing.texts"):
        monkeypatch.setattr(f"stt_core.{module}.usable_cores", lambda: [0, 1])
    changes = {
        "cores_dir": tmp_path / "cores",
        "in_process_max_seconds": 0.0,
        "max_concurrent_steps": 2,
        "whisper_models_dir": tmp_path,
    }
    services = Services.open(settings.model_copy(update=changes))
    services.prepare()
    yield services
    services.close()
    for engine in engines():
        engine.kill()
        engine.wait()


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message)), level="DEBUG")
    yield lines
    logger.remove(sink)


def upload(services: Services, **options: object) -> Claim:
    """Upload a recording and claim its job."""
    data = PAUSES.read_bytes()
    given: Any = {"model": "demo", "language": "en"} | options
    job = services.submissions.create_task(io.BytesIO(data), filename=PAUSES.name, size_bytes=len(data), **given).job
    return ensure_claim(services.jobs, job.job_id, f"run-of-{job.job_id}", attempt=None)


def engines() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if "--serve" in child.cmdline():
                found.append(child)
    return found


def test_recording_when_prepared_then_each_step_finds_its_engine(services: Services) -> None:
    claim = upload(services)
    plan = plan_recording(services, claim, prepare_recording(services, claim))
    there = engines()
    assert len(there) == 2
    for batch in batches_of(plan, slots=2):
        result = transcribe_batch(services, claim, batch)
        assert all(outcome.result_key for outcome in result.outcomes)
    assert engines() == there


def test_recording_when_cores_are_at_work_then_is_prepared_without_waiting(services: Services, log: list[str]) -> None:
    claim = upload(services)
    with lease_cores(cores_folder(services.settings.cores_dir), 2, lane=Lane.UPLOAD):
        assert prepare_recording(services, claim).tracks
    assert not engines()
    assert not [line for line in log if "waiting for one" in line]


def test_recording_of_the_backfill_lane_then_loads_nothing(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    backfill = {"lane": Lane.BACKFILL}
    claim = upload(services)
    monkeypatch.setattr(Claim, "job", lambda self: services.jobs.get_job(self.job_id).model_copy(update=backfill))
    with engines_loading(services, claim):
        pass
    assert not engines()


def test_recording_when_its_model_cannot_be_loaded_then_is_prepared_and_the_reason_is_logged(
    services: Services, log: list[str], tmp_path: Path
) -> None:
    model = tmp_path / "ggml-mine.bin"
    shutil.copy(CATALOG["demo"].bundled or "", model)
    claim = upload(services, model="mine")
    model.write_bytes(model.read_bytes()[:100_000])
    assert prepare_recording(services, claim).tracks
    assert [line for line in log if "not loaded ahead" in line]
