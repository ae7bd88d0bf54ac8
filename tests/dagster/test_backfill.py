"""Objects of a bucket as partitions of an asset: the graph on real servers, and what becomes of runs that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path

import pytest
from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    ExecuteInProcessResult,
    RunRequest,
    build_sensor_context,
)
from dagster._core.test_utils import create_run_for_test

from stt_core.backfill.objects import BucketObjects
from stt_core.backfill.partitions import partition_key
from stt_core.engines.process import find_executable
from stt_core.errors import DatabaseUnavailableError, StoreUnavailableError
from stt_core.jobs.job import JobStatus, JobUpdate
from stt_core.jobs.repository import JobRepository
from stt_core.services import Services
from stt_core.sources import BackfillSource
from stt_core.stores.object_store import ObjectStore
from stt_core.transcript.formats import FORMATS
from stt_core.transcript.quality import CHECKS
from tests.dagster.conftest import DATA, Configure, EngineCalls, script
from tests.multilingual_model import MODEL

KEY = "2026/Gespräch 'ü' (1).mp3"
ASSET = AssetKey("bucket_transcripts")
RECORDING = (DATA / "sample-01.mp3").read_bytes()

Put = Callable[..., str]
Materialize = Callable[..., ExecuteInProcessResult]


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

        return defs.get_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[ASSET],
            partition_key=partition,
            raise_on_error=False,
            tags=dict(request.tags if request else tags),
        )

    return materialize


@pytest.fixture
def current(configure: Configure) -> Callable[[], Services]:
    """The core as the test has configured it, which ops and sensors use."""

    def current() -> Services:
        from stt_dagster import resources

        return resources.open_services()

    return current


def materialized(instance: DagsterInstance) -> set[str]:
    return instance.get_materialized_partitions(ASSET)


def checked(instance: DagsterInstance, partition: str) -> dict[str, bool]:
    """The checks that have been told of for a partition, and whether it passed them."""
    found = {}
    for name in CHECKS:
        key = AssetCheckKey(ASSET, name)
        [latest] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        evaluation = latest.event.dagster_event.asset_check_evaluation_data if latest.event else None
        if evaluation and evaluation.partition == partition:
            found[name] = evaluation.passed
    return found


def latest_metadata(instance: DagsterInstance, partition: str) -> dict[str, object]:
    [record] = instance.fetch_materializations(
        AssetRecordsFilter(asset_key=ASSET, asset_partitions=[partition]), limit=1
    ).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def test_partition_when_it_is_materialised_has_a_job_a_transcript_beside_the_prefix_and_metadata(
    services: Services,
    bucket: ObjectStore,
    put: Put,
    materialize: Materialize,
    instance: DagsterInstance,
    current: Callable[[], Services],
) -> None:
    from stt_dagster.runs import release_transcripts

    partition = put()
    result = materialize(partition, **{"stt/model": "demo"})
    assert result.success and materialized(instance) == {partition}
    [job] = services.jobs.find_versions([partition])
    assert (job.status, job.attempt, job.run_id) == (JobStatus.COMPLETED, 1, result.run_id)
    text = services.store.get_bytes(f"transcripts/{bucket.bucket}/{KEY}.txt").decode()
    assert text.split() == (DATA / "sample-01.txt").read_text().split()
    assert bucket.list_keys("") == [KEY]
    shown = latest_metadata(instance, partition)
    assert (shown["language"], shown["model"], shown["current"]) == ("en", "demo", True)
    assert shown["preview"] and shown["model_digest"] and shown["words"] and shown["real_time_factor"]
    assert shown["transcript"] == f"{services.settings.api_url}/api/v1/tasks/{job.job_id}/result"
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert (run.tags["stt/job_id"], run.tags["stt/lane"]) == (job.job_id, "backfill")
    assert services.queue.members() == set()

    assert len(services.jobs.find_jobs_to_release().jobs) == 1  # what its run has told of is not told again
    assert release_transcripts(instance, current()) == (0, None)
    assert services.jobs.find_jobs_to_release().jobs == []
    assert len(instance.fetch_materializations(ASSET, limit=5).records) == 1


def test_partition_when_its_bytes_were_heard_under_another_key_needs_no_engine(
    services: Services, put: Put, materialize: Materialize, engine_calls: EngineCalls
) -> None:
    assert materialize(put()).success
    calls = len(engine_calls())
    copy = put("copy.mp3")
    assert materialize(copy).success
    assert len(engine_calls()) == calls == 1
    [job] = services.jobs.find_versions([copy])
    assert all(chunk.cached for chunk in services.chunks.get_chunks(job.job_id))


def test_partition_when_another_model_hears_it_keeps_the_first_transcript_as_the_current_one(
    services: Services, put: Put, materialize: Materialize
) -> None:
    partition = put()
    assert materialize(partition).success
    [first] = services.jobs.find_versions([partition])
    assert materialize(partition, **{"stt/model": "demo"}).success
    other, before = services.jobs.find_versions([partition])
    assert (other.options.model, other.status, before.job_id) == ("demo", JobStatus.COMPLETED, first.job_id)
    assert BucketObjects.of(services).get(partition).current_job_id == first.job_id
    assert services.tasks.get_task_result(first.job_id).text != services.tasks.get_task_result(other.job_id).text


def test_partition_when_its_object_changed_gets_another_job_which_becomes_current(
    services: Services, bucket: ObjectStore, put: Put, materialize: Materialize
) -> None:
    partition = put()
    assert materialize(partition).success
    put(data=(DATA / "sample-08.ogg").read_bytes())
    assert materialize(partition).success
    after, before = services.jobs.find_versions([partition])
    item = BucketObjects.of(services).get(partition)
    assert item.current_job_id == after.job_id != before.job_id
    assert item.current_etag == item.etag == bucket.version(KEY).etag


def test_partition_when_its_object_is_no_recording_fails_for_good_and_waits_for_nothing(
    services: Services, put: Put, materialize: Materialize, instance: DagsterInstance
) -> None:
    from stt_dagster.runs import next_runs

    partition = put(data=b"no recording")
    assert not materialize(partition).success
    [job] = services.jobs.find_versions([partition])
    assert job.status is JobStatus.FAILED and job.error is not None and job.error.kind == "unsupported-format"
    assert next_runs(instance, services) == []
    assert materialized(instance) == set()


def test_partition_when_its_object_is_larger_than_uploads_may_be_fails_for_good(
    services: Services, put: Put, materialize: Materialize, configure: Configure
) -> None:
    partition = put()
    configure(max_upload_bytes=len(RECORDING) - 1)
    assert not materialize(partition).success
    [job] = services.jobs.find_versions([partition])
    assert job.status is JobStatus.FAILED and job.error is not None and job.error.kind == "file-too-large"


def test_run_when_its_engine_dies_gets_its_next_attempt_from_the_sensor_in_the_same_backfill(
    services: Services,
    put: Put,
    materialize: Materialize,
    instance: DagsterInstance,
    configure: Configure,
    current: Callable[[], Services],
    tmp_path: Path,
) -> None:
    from stt_dagster.runs import next_runs, settle_run

    partition = put()
    configure(whisper_cpp_executable=script(tmp_path / "engine", "kill -SEGV $$"))
    result = materialize(partition, **{"dagster/backfill": "mine", "stt/model": MODEL})
    run = instance.get_run_by_id(result.run_id)
    assert run is not None and run.status is DagsterRunStatus.FAILURE
    settle_run(instance, current(), run)
    [job] = services.jobs.find_versions([partition])
    assert (job.status, job.attempt, job.failures) == (JobStatus.QUEUED, 2, 1)
    services.jobs.modify_job(job.job_id, lambda _: JobUpdate(not_before=None))

    [request] = next_runs(instance, current())
    assert (request.run_key, request.partition_key) == (f"{job.job_id}:2", partition)
    assert (request.tags["dagster/backfill"], request.tags["stt/model"]) == ("mine", MODEL)
    configure(whisper_cpp_executable=str(find_executable("stt-whisper-cli")))
    assert materialize(partition, request).success
    [job] = services.jobs.find_versions([partition])
    assert (job.status, job.attempt) == (JobStatus.COMPLETED, 2)
    assert next_runs(instance, current()) == []


@pytest.fixture
def unopened(put: Put, instance: DagsterInstance, current: Callable[[], Services]) -> DagsterRun:
    """The run of a backfill that failed before it opened a job for its object."""
    from stt_core.backfill.discovery import Round, discover_next, record_page

    partition = put()
    record_page(current(), discover_next(current(), Round())[0])
    return failed_run(instance, partition)


def failed_run(instance: DagsterInstance, partition: str) -> DagsterRun:
    return create_run_for_test(
        instance,
        job_name="__ASSET_JOB",
        status=DagsterRunStatus.FAILURE,
        asset_selection=frozenset({ASSET}),
        tags={"dagster/partition": partition, "dagster/backfill": "mine"},
    )


def test_run_when_it_fails_before_it_opened_a_job_gets_another_in_the_same_backfill(
    unopened: DagsterRun, services: Services, instance: DagsterInstance, current: Callable[[], Services]
) -> None:
    from stt_dagster.runs import next_runs, settle_run

    for _ in range(2):
        settle_run(instance, current(), unopened)
    [job] = services.jobs.find_versions([unopened.tags["dagster/partition"]])
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 1)
    [request] = next_runs(instance, current())
    assert (request.run_key, request.tags["dagster/backfill"]) == (f"{job.job_id}:1", "mine")


@pytest.mark.parametrize("had_another_run", [False, True])
def test_run_when_it_fails_before_it_opened_a_job_and_mongodb_is_away_gets_another_once_it_is_back(
    unopened: DagsterRun,
    services: Services,
    instance: DagsterInstance,
    current: Callable[[], Services],
    monkeypatch: pytest.MonkeyPatch,
    had_another_run: bool,
) -> None:
    from stt_dagster.runs import settle_run, settle_untold_runs

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailableError("MongoDB is away.")

    partition = unopened.tags["dagster/partition"]
    with monkeypatch.context() as patch:
        patch.setattr("stt_dagster.runs.open_known_object", away)
        for settle in (
            lambda: settle_run(instance, current(), unopened),
            lambda: settle_untold_runs(instance, current()),
        ):
            with pytest.raises(DatabaseUnavailableError):
                settle()
    if had_another_run:
        failed_run(instance, partition)
    for _ in range(2):
        settle_untold_runs(instance, current())

    jobs = [(job.status, job.attempt) for job in services.jobs.find_versions([partition])]
    assert jobs == ([] if had_another_run else [(JobStatus.QUEUED, 1)])
    again = instance.get_run_by_id(unopened.run_id)
    assert again is not None and again.tags["stt/untold"] == "false"


def test_run_when_it_dies_after_its_job_completed_is_spoken_for(
    services: Services,
    put: Put,
    materialize: Materialize,
    instance: DagsterInstance,
    current: Callable[[], Services],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stt_dagster.runs import release_transcripts

    def away(*_: object) -> bool:
        raise StoreUnavailableError("The object store is away.")

    partition = put()
    with monkeypatch.context() as patch:
        patch.setattr("stt_dagster.ops.release_transcript", away)
        assert not materialize(partition).success
    [job] = services.jobs.find_versions([partition])
    assert job.status is JobStatus.COMPLETED and materialized(instance) == set()

    assert release_transcripts(instance, current()) == (1, None)

    assert materialized(instance) == {partition}
    assert latest_metadata(instance, partition)["current"] is True
    assert checked(instance, partition) == {
        check.name: check.passed for check in (job.result.checks if job.result else [])
    }
    assert BucketObjects.of(services).get(partition).current_job_id == job.job_id
    assert release_transcripts(instance, current()) == (0, None)


def test_runs_when_they_die_after_each_version_of_an_object_are_all_spoken_for(
    put: Put,
    materialize: Materialize,
    instance: DagsterInstance,
    current: Callable[[], Services],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stt_dagster.runs import release_transcripts

    def away(*_: object) -> bool:
        raise StoreUnavailableError("The object store is away.")

    partition = put()
    monkeypatch.setattr("stt_dagster.ops.release_transcript", away)
    for model in (MODEL, "demo"):
        run = materialize(partition, **{"stt/model": model})
        assert not run.success
        assert release_transcripts(instance, current()) == (1, None)
        assert latest_metadata(instance, partition)["model"] == model
        for name in CHECKS:
            [told] = instance.event_log_storage.get_asset_check_execution_history(AssetCheckKey(ASSET, name), limit=1)
            assert told.run_id == run.run_id


def test_transcript_when_its_output_is_not_there_keeps_back_no_other_and_is_passed_on_later(
    services: Services,
    bucket: ObjectStore,
    put: Put,
    materialize: Materialize,
    instance: DagsterInstance,
    configure: Configure,
    current: Callable[[], Services],
) -> None:
    from stt_dagster.runs import release_transcripts

    output = bucket.in_bucket(f"{bucket.bucket}-texts")
    to_nowhere = BackfillSource(bucket=bucket.bucket, prefix="2026/", language="en", model=MODEL, output=output.bucket)
    other = BackfillSource(bucket=bucket.bucket, prefix="2027/", language="en", model=MODEL, output="not-there-either")
    configure(backfill_sources=(to_nowhere, other))
    partitions = [put(), put("2027/copy.mp3")]
    for partition in partitions:
        assert not materialize(partition).success
    assert release_transcripts(instance, current()) == (0, None)

    output.ensure_bucket()
    assert release_transcripts(instance, current()) == (1, None)

    assert materialized(instance) == {partitions[0]}
    assert len(output.list_keys("")) == len(FORMATS)
    [left] = services.jobs.find_jobs_to_release().jobs
    assert left.partition == partitions[1]


def test_sensor_when_it_cannot_pass_on_the_transcripts_of_one_look_comes_to_the_others_with_the_next(
    bucket: ObjectStore,
    put: Put,
    materialize: Materialize,
    instance: DagsterInstance,
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stt_dagster.sensors import backfill_sensor

    texts = bucket.in_bucket(f"{bucket.bucket}-texts")
    outputs = {"2026/": "not-there", "2027/": texts.bucket}
    configure(
        backfill_sources=tuple(
            BackfillSource(bucket=bucket.bucket, prefix=prefix, language="en", model=MODEL, output=output)
            for prefix, output in outputs.items()
        )
    )
    partitions = [put("2026/first.mp3"), put("2027/second.mp3")]
    for partition in partitions:
        assert not materialize(partition).success
    texts.ensure_bucket()
    one_a_look = partialmethod(JobRepository.find_jobs_to_release, limit=1)
    monkeypatch.setattr(JobRepository, "find_jobs_to_release", one_a_look)

    cursor, seen = None, []
    for _ in partitions:
        with build_sensor_context(instance=instance, cursor=cursor) as context:
            backfill_sensor(context)
            cursor = context.cursor
            seen.append(materialized(instance))

    assert seen == [set(), {partitions[1]}]


def test_sensor_when_a_transcript_cannot_be_passed_on_launches_the_objects_that_wait(
    put: Put,
    materialize: Materialize,
    instance: DagsterInstance,
    current: Callable[[], Services],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stt_core.backfill.opening import open_object
    from stt_dagster.sensors import backfill_sensor

    def away(*_: object) -> bool:
        raise StoreUnavailableError("The object store is away.")

    monkeypatch.setattr("stt_dagster.ops.release_transcript", away)
    monkeypatch.setattr("stt_dagster.runs.release_transcript", away)
    assert not materialize(put()).success
    job = open_object(current(), put("copy.mp3"), "a run that died before it claimed it")

    with build_sensor_context(instance=instance) as context:
        [request] = backfill_sensor(context)  # type: ignore[misc]

    assert request.run_key == f"{job.job_id}:1"


def test_waiting_job_when_its_partition_is_gone_is_cancelled(
    services: Services, bucket: ObjectStore, put: Put, instance: DagsterInstance, current: Callable[[], Services]
) -> None:
    from stt_core.backfill.opening import open_object
    from stt_dagster.runs import next_runs

    job = open_object(current(), put(), "a run that died before it claimed it")
    [request] = next_runs(instance, current())
    assert request.run_key == f"{job.job_id}:1"
    instance.delete_dynamic_partition("bucket_objects", partition_key(bucket.bucket, KEY))
    assert next_runs(instance, current()) == []
    assert services.jobs.get_job(job.job_id).status is JobStatus.CANCELLED
