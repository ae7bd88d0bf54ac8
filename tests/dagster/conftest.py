"""Fixtures of the Dagster room: the core on this worker's servers, and whole runs of the graph in this process."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dagster import AssetKey, AssetRecordsFilter, DagsterInstance, DagsterRun, ExecuteInProcessResult, RunRequest

from stt_core.backfill.partitions import partition_key
from stt_core.engines.process import find_executable
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.sources import BackfillSource
from stt_core.stores.object_store import ObjectStore
from tests.multilingual_model import MODEL, make_multilingual_model

DATA = Path(__file__).parents[1] / "data" / "audio"
#: An object that is a recording.
KEY = "2026/Gespräch 'ü' (1).mp3"
RECORDING = (DATA / "sample-01.mp3").read_bytes()
TRANSCRIPTS = AssetKey("bucket_transcripts")

Upload = Callable[..., str]
Configure = Callable[..., None]
EngineCalls = Callable[[], list[list[str]]]
RunJob = Callable[..., ExecuteInProcessResult]
Transcribe = Callable[..., str]
Put = Callable[..., str]
Materialize = Callable[..., ExecuteInProcessResult]


def script(path: Path, text: str) -> str:
    """Write a shell script that plays an executable."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def mute_engine(folder: Path) -> str:
    """Write an engine that hears next to nothing in any sound."""
    heard = (
        """'{"result":{"language":"en"},"transcription":[{"text":" Hm.","offsets":{"from":0,"to":400},"tokens":[]}]}'"""
    )
    body = f'while [ $# -gt 0 ]; do [ "$1" = -of ] && printf %s {heard} > "$2.json"; shift; done'
    return script(folder / "mute", body)


def read_calls(log: Path) -> list[list[str]]:
    """Return the arguments of each call of the engine but those for what was missed, which is heard again."""
    calls = [line.split() for line in log.read_text().splitlines()]
    return [call for call in calls if not any("/stretch-" in word for word in call)]


def raising(error: BaseException) -> Callable[..., None]:
    """Return a stand-in for a function, which fails whatever it is given."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def run_of(instance: DagsterInstance, run_id: str) -> DagsterRun:
    """Return a run as Dagster has it now."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


def latest_metadata(instance: DagsterInstance, partition: str) -> dict[str, object]:
    """Return what Dagster shows of a partition's latest transcript."""
    of_partition = AssetRecordsFilter(asset_key=TRANSCRIPTS, asset_partitions=[partition])
    [record] = instance.fetch_materializations(of_partition, limit=1).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def current() -> Services:
    """Return the core that ops and sensors use, as the test has configured it."""
    from stt_dagster import resources

    return resources.open_services()


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
        submission = services.submissions.create_task(io.BytesIO(data), filename=name, size_bytes=len(data), **options)  # type: ignore[arg-type]
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
            return defs.resolve_job_def(request.job_name or "").execute_in_process(
                run_config=config, instance=instance or own, raise_on_error=False, tags=request.tags
            )

    return run


@pytest.fixture
def transcribe(upload: Upload, run_job: RunJob) -> Transcribe:
    """Upload a recording and run its job, which succeeds; returns the job's id."""

    def transcribe(recording: bytes | str, **options: object) -> str:
        job_id = upload(recording, **options)
        assert run_job(job_id).success
        return job_id

    return transcribe


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as own:
        yield own


@pytest.fixture
def bucket(services: Services, configure: Configure, multilingual_model: None) -> ObjectStore:
    """The one source: a bucket of somebody else's recordings, and a model that is fast and understands little."""
    bucket = services.store.in_bucket(f"{services.settings.minio_bucket}-calls")
    bucket.ensure_bucket()
    configure(backfill_sources=(BackfillSource(bucket=bucket.bucket, language="en", model=MODEL),))
    return bucket


@pytest.fixture
def put(bucket: ObjectStore, instance: DagsterInstance) -> Put:
    """Put an object into the bucket; returns its partition."""

    def put(key: str = KEY, data: bytes = RECORDING) -> str:
        bucket.put_bytes(key, data)
        partition = partition_key(bucket.bucket, key)
        instance.add_dynamic_partitions("bucket_objects", [partition])
        return partition

    return put


@pytest.fixture
def materialize(instance: DagsterInstance) -> Materialize:
    """Run for a partition as people launch it, or as a request says."""

    def materialize(partition: str, request: RunRequest | None = None, **tags: str) -> ExecuteInProcessResult:
        from stt_dagster.definitions import defs

        return defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[TRANSCRIPTS],
            partition_key=partition,
            raise_on_error=False,
            tags=dict(request.tags if request else tags),
        )

    return materialize
