"""Fixtures of the Dagster room: the core on this worker's servers, and whole runs of the graph in this process."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dagster import DagsterInstance, ExecuteInProcessResult

from stt_core.engines.process import find_executable
from stt_core.services import Services
from stt_core.settings import Settings
from tests.multilingual_model import MODEL, make_multilingual_model

DATA = Path(__file__).parents[1] / "data" / "audio"

Upload = Callable[..., str]
Configure = Callable[..., None]
EngineCalls = Callable[[], list[list[str]]]
RunJob = Callable[[str], ExecuteInProcessResult]


def script(path: Path, text: str) -> str:
    """Write a shell script that plays an executable."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def read_calls(log: Path) -> list[list[str]]:
    """Return the arguments of each call of the engine but those for what was missed, which is heard again."""
    calls = [line.split() for line in log.read_text().splitlines()]
    return [call for call in calls if not any("/stretch-" in word for word in call)]


@pytest.fixture(scope="session", autouse=True)
def _short_backoff(_own_environment: None) -> Iterator[None]:
    """Keep retries from making the tests wait: the ops' retry policy is made when they are first imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETRY_BACKOFF_SECONDS", "0.05")
        yield


@pytest.fixture(autouse=True)
def _own_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep runs for objects that this process executes itself from making it slow for all tests that follow."""
    monkeypatch.setattr("stt_dagster.steps.lower_priority", lambda: None)


@pytest.fixture
def services(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """The core that ops and sensors use in this test."""
    opened = Services.open(settings.model_copy(update={"whisper_model": "demo"}))
    opened.prepare()
    monkeypatch.setattr("stt_dagster.resources.open_services", lambda: opened)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def multilingual_model(_own_environment: None) -> None:
    """Install the tiny model of `tests.multilingual_model`: ten times as fast as the demo model."""
    folder = Settings().whisper_models_dir
    folder.mkdir(parents=True, exist_ok=True)
    make_multilingual_model(folder / f"ggml-{MODEL}.bin")


@pytest.fixture
def configure(services: Services, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Change settings of the runs that follow: `configure(whisper_cpp_executable=...)`; other changes stay."""
    changes: dict[str, object] = {}

    def configure(**more: object) -> None:
        changes.update(more)
        changed = replace(services, settings=services.settings.model_copy(update=changes))
        monkeypatch.setattr("stt_dagster.resources.open_services", lambda: changed)

    return configure


@pytest.fixture
def engine_calls(configure: Configure, tmp_path: Path) -> EngineCalls:
    """Count the real engine's calls: gives a function that returns the arguments of each, as `read_calls` does."""
    log = tmp_path / "calls"
    log.touch()
    real = find_executable("stt-whisper-cli")
    configure(whisper_cpp_executable=script(tmp_path / "counted", f'echo "$@" >> {log}; exec {real} "$@"'))
    return lambda: read_calls(log)


@pytest.fixture
def upload(services: Services) -> Upload:
    """Upload bytes, or a file of `tests/data/audio`; returns the job's id."""

    def upload(recording: bytes | str, **options: object) -> str:
        data = (DATA / recording).read_bytes() if isinstance(recording, str) else recording
        name = recording if isinstance(recording, str) else "bytes.wav"
        submission = services.submissions.submit(io.BytesIO(data), filename=name, size_bytes=len(data), **options)  # type: ignore[arg-type]
        return submission.job.job_id

    return upload


@pytest.fixture
def run_job(services: Services) -> RunJob:
    """Run the job's current attempt as the sensor would, in this process."""

    def run(job_id: str, *, slots: int = 1, instance: DagsterInstance | None = None) -> ExecuteInProcessResult:
        from stt_dagster.definitions import defs
        from stt_dagster.jobs import run_request

        request = run_request(services.jobs.get_job(job_id), services.settings)
        config = {"ops": request.run_config["ops"] | {"plan_chunks": {"config": {"slots": slots}}}}
        with DagsterInstance.ephemeral() as own:
            return defs.get_job_def(request.job_name or "").execute_in_process(
                run_config=config, instance=instance or own, raise_on_error=False, tags=request.tags
            )

    return run
