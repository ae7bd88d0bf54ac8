"""A run carries its model: the file it began with, wherever that lies and whatever it is called."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stt_core import object_keys
from stt_core.engines.process import find_executable
from stt_core.jobs.claims import Claim
from stt_core.jobs.job import JobStatus
from stt_core.processing.handover import BatchResult, ChunkBatch
from stt_core.processing.planning import plan_recording
from stt_core.processing.transcribing import transcribe_batch
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.warnings import WarningName
from stt_core.whisper.catalog import CATALOG
from tests.dagster.conftest import DATA, Configure, RunJob, Transcribe, Upload, script
from tests.multilingual_model import make_multilingual_model

DEMO = CATALOG["demo"].bundled


@pytest.fixture
def model_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model under a name of its own, beside no other."""
    assert DEMO is not None
    folder = tmp_path / "some folder"
    folder.mkdir()
    return Path(shutil.copy(DEMO, folder / getattr(request, "param", "ggml-my model.v2")))


@pytest.fixture
def services(settings: Settings, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """The core with `WHISPER_MODEL` as a path."""
    opened = Services.open(settings.model_copy(update={"whisper_model": str(model_file)}))
    opened.prepare()
    monkeypatch.setattr("stt_dagster.resources.open_services", lambda: opened)
    yield opened
    opened.close()


@pytest.mark.parametrize("model_file", ["ggml-my model.v2", "base.bin", "Model ü"], indirect=True)
def test_run_when_the_model_is_a_path_completes_and_shows_the_name_of_the_file(
    services: Services, transcribe: Transcribe, model_file: Path
) -> None:
    job_id = transcribe("sample-01.mp3")
    transcript, view = services.tasks.get_task_result(job_id), services.tasks.get_task_status(job_id)
    assert transcript.text.split() == (DATA / "sample-01.txt").read_text().split()
    name = model_file.name.removeprefix("ggml-").removesuffix(".bin")
    assert transcript.model == view.model == name and view.result is not None
    assert transcript.model_digest == view.result.model_digest is not None
    assert str(model_file.parent) not in view.model_dump_json() + transcript.model_dump_json()


def test_step_when_the_model_was_replaced_after_the_plan_fails_and_a_retry_completes(
    services: Services, upload: Upload, run_job: RunJob, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan_and_replace(*arguments: Any, **options: Any) -> Any:
        plan = plan_recording(*arguments, **options)
        data = bytearray(model_file.read_bytes())
        data[-1] ^= 1  # of the last tensor's last number
        model_file.write_bytes(data)
        return plan

    job_id = upload("sample-01.mp3")
    with monkeypatch.context() as patch:
        patch.setattr("stt_dagster.ops.plan_recording", plan_and_replace)
        assert not run_job(job_id).success
    view = services.tasks.get_task_status(job_id)
    assert view.status is JobStatus.FAILED and view.error is not None
    assert (view.error.kind, view.error.transient) == ("model-changed", False)
    assert view.error.mend is not None and "stt retry" in view.error.mend
    services.tasks.retry_task(job_id)
    assert run_job(job_id).success
    assert services.tasks.get_task_result(job_id).warnings == []


def test_step_when_the_model_is_replaced_while_the_engine_hears_keeps_no_text_and_a_retry_completes(
    services: Services, upload: Upload, run_job: RunJob, model_file: Path, configure: Configure, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    make_multilingual_model(other)
    real = find_executable("stt-whisper-cli")
    configure(whisper_cpp_executable=script(tmp_path / "engine", f'{real} "$@" && cp {other} "{model_file}"'))
    before = set(services.store.list_keys(object_keys.CHUNK_RESULTS))
    job_id = upload("sample-01.mp3")
    assert not run_job(job_id).success
    view = services.tasks.get_task_status(job_id)
    assert view.error is not None and (view.status, view.error.kind) == (JobStatus.FAILED, "model-changed")
    assert set(services.store.list_keys(object_keys.CHUNK_RESULTS)) == before
    configure(whisper_cpp_executable=str(real))
    services.tasks.retry_task(job_id)
    assert run_job(job_id).success


@pytest.mark.parametrize("is_set", [True, False])
def test_step_when_the_path_is_gone_fails_for_good_with_the_mend_and_a_retry_completes(
    services: Services, upload: Upload, run_job: RunJob, model_file: Path, configure: Configure, is_set: bool
) -> None:
    job_id = upload("sample-01.mp3")
    hidden = model_file.rename(model_file.with_name("hidden")) if is_set else None
    configure(whisper_model=str(model_file) if is_set else "demo")
    assert not run_job(job_id).success
    error = services.tasks.get_task_status(job_id).error
    assert error is not None and (error.kind, error.transient) == ("model-not-found", False)
    assert ("WHISPER_MODEL names is gone" if is_set else "WHISPER_MODEL was the path") in (error.mend or "")
    assert str(model_file.parent) not in error.model_dump_json()
    if hidden:
        hidden.rename(model_file)
    configure(whisper_model=str(model_file))
    services.tasks.retry_task(job_id)
    assert run_job(job_id).success


def test_batch_that_was_planned_before_runs_named_their_model_is_transcribed_by_the_jobs_with_a_warning(
    services: Services, transcribe: Transcribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_it_was(core: Services, claim: Claim, batch: ChunkBatch, **more: bool) -> BatchResult:
        old = batch.model_copy(update={"model": "my model.v2"}).model_dump(exclude={"model_digest", "parallel"})
        return transcribe_batch(core, claim, ChunkBatch.model_validate(old | {"threads": 2}), **more)

    stand_in: Callable[..., BatchResult] = as_it_was
    monkeypatch.setattr("stt_dagster.ops.transcribe_batch", stand_in)
    job_id = transcribe("sample-01.mp3")
    warnings = services.tasks.get_task_result(job_id).warnings
    assert [warning.name for warning in warnings] == [WarningName.MODEL_UNPINNED]
