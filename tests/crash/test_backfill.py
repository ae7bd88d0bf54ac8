"""Every crash window of an object of a bucket: whoever dies there, it has one transcript, and Dagster knows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dagster import AssetKey, AssetRecordsFilter, DagsterRunStatus, RunsFilter
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from stt_core import object_keys
from stt_core.backfill.objects import BucketObjects
from stt_core.backfill.opening import open_object
from stt_core.backfill.partitions import partition_key, split_partition_key
from stt_core.failpoints import Failpoint
from stt_core.jobs.claims import ensure_claim
from stt_core.jobs.job import JobModel, JobResult, JobStatus
from stt_core.retention import sweep
from stt_core.stores.object_store import ObjectStore
from stt_core.transcript.formats import FORMATS
from tests.conftest import wait_until
from tests.crash.conftest import KILLED, RECORDING, System

ASSET = AssetKey("bucket_transcripts")

Put = Callable[[str], str]


@pytest.fixture(scope="module")
def bucket(system: System) -> ObjectStore:
    [source] = system.services.settings.backfill_sources
    bucket = system.services.store.in_bucket(source.bucket)
    bucket.ensure_bucket()
    return bucket


@pytest.fixture
def put(system: System, bucket: ObjectStore) -> Put:
    """Put the recording into the bucket and have it discovered; returns its partition."""

    def put(name: str) -> str:
        bucket.put_bytes(f"{name}.ogg", RECORDING.read_bytes())
        assert system.order("discover") == 0
        return partition_key(bucket.bucket, f"{name}.ogg")

    return put


def settle(system: System, partition: str) -> JobModel:
    """Let the daemon and the run workers do what they find to do until nobody has anything to do for the object."""

    def is_over() -> bool:
        assert system.order("recover") == 0
        assert system.order("launch") == 0
        assert all(code == 0 for code in system.work())
        jobs = system.services.jobs.find_versions([partition])
        return bool(jobs) and all(job.status.is_final and not job.release_due for job in jobs)

    wait_until(is_over, f"the end of {partition}", 60)
    [job] = system.services.jobs.find_versions([partition])
    return job


def times_told(system: System, partition: str) -> int:
    """How often Dagster was told of a transcript of the object."""
    told = AssetRecordsFilter(asset_key=ASSET, asset_partitions=[partition])
    return len(system.instance.fetch_materializations(told, limit=10).records)


def exported(system: System, partition: str) -> dict[str, bytes]:
    """What lies in the output for the object."""
    store = system.services.store
    return {key: store.get_bytes(key) for key in store.list_keys(f"transcripts/{partition}")}


def expected_export(system: System, job: JobModel) -> dict[str, bytes]:
    assert job.result is not None
    bucket, key = split_partition_key(job.partition or "")
    return {
        object_keys.exported("transcripts/", bucket, key, name): system.services.store.get_bytes(
            object_keys.transcript(job.result.prefix, name)
        )
        for name in job.result.formats
    }


def assert_has_one_transcript(
    system: System, bucket: ObjectStore, partition: str, job: JobModel, undisturbed: dict[str, Any]
) -> None:
    """Fail where its job, its output, Dagster and the bucket do not agree, or more is left than they need."""
    assert job.status is JobStatus.COMPLETED and job.result is not None
    assert set(job.result.formats) == set(FORMATS)
    item = BucketObjects.of(system.services).get(partition)
    assert (item.current_job_id, item.latest_job_id) == (job.job_id, job.job_id)
    assert item.current_etag == item.etag == bucket.version(item.key).etag
    assert system.transcript(job.job_id) == undisturbed
    assert exported(system, partition) == expected_export(system, job)
    assert partition in system.instance.get_materialized_partitions(ASSET)
    assert system.instance.get_runs_count(RunsFilter(statuses=list(NOT_FINISHED_STATUSES))) == 0
    assert bucket.list_keys("transcripts/") == []
    sweep(system.services)
    store = system.services.store
    assert store.list_keys("audio/") == [] == store.list_keys("runs/")
    results = {key.rpartition("/")[0] + "/" for key in store.list_keys(object_keys.results_of_job(job.job_id))}
    assert results == {job.result.prefix}
    assert system.services.queue.members() == set()
    assert system.services.heartbeats.signs() == {}
    assert list(system.temporary.glob("stt-*")) == []


@pytest.mark.parametrize(
    "point",
    [
        Failpoint.JOB_PROMISED,
        Failpoint.JOB_OPENED,
        Failpoint.RUN_STARTED,
        Failpoint.JOB_CLAIMED,
        Failpoint.CHUNKS_PLANNED,
        Failpoint.JOB_COMPLETED,
        Failpoint.VERSION_CURRENT,
        Failpoint.FORMAT_EXPORTED,
        Failpoint.TRANSCRIPT_EXPORTED,
    ],
)
def test_run_when_it_dies_then_its_object_has_one_transcript(
    system: System, undisturbed: dict[str, Any], bucket: ObjectStore, put: Put, point: Failpoint
) -> None:
    partition = put(f"run {point}")
    assert system.order("materialize", partition=partition) == 0
    system.arm(point)
    assert system.work() == [KILLED] and not system.fuse.exists()

    job = settle(system, partition)

    assert_has_one_transcript(system, bucket, partition, job, undisturbed)
    assert times_told(system, partition) == 1
    had_opened = point not in (Failpoint.JOB_PROMISED, Failpoint.JOB_OPENED, Failpoint.RUN_STARTED)
    had_completed = had_opened and point not in (Failpoint.JOB_CLAIMED, Failpoint.CHUNKS_PLANNED)
    assert (job.attempt, job.failures) == ((2, 1) if had_opened and not had_completed else (1, 0))


@pytest.mark.parametrize("point", [Failpoint.JOB_PROMISED, Failpoint.JOB_OPENED])
def test_daemon_when_it_dies_opening_the_job_of_a_run_that_had_not_then_that_is_the_only_one(
    system: System, undisturbed: dict[str, Any], bucket: ObjectStore, put: Put, point: Failpoint
) -> None:
    partition = put(f"daemon {point}")
    assert system.order("materialize", partition=partition) == 0
    [run] = system.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.NOT_STARTED]))
    system.instance.report_run_failed(run, "Its host died before it began.")
    system.arm(point)
    assert system.order("recover") == KILLED

    job = settle(system, partition)

    assert (job.attempt, job.failures) == (1, 0)
    assert_has_one_transcript(system, bucket, partition, job, undisturbed)
    assert times_told(system, partition) == 1


@pytest.mark.parametrize(
    "point",
    [
        Failpoint.VERSION_CURRENT,
        Failpoint.FORMAT_EXPORTED,
        Failpoint.TRANSCRIPT_EXPORTED,
        Failpoint.TRANSCRIPT_TOLD,
        Failpoint.CHECKS_TOLD,
    ],
)
def test_daemon_when_it_dies_passing_on_a_transcript_then_the_next_does_it_again(
    system: System, undisturbed: dict[str, Any], bucket: ObjectStore, put: Put, point: Failpoint
) -> None:
    partition = put(f"release {point}")
    assert system.order("materialize", partition=partition) == 0
    system.arm(Failpoint.JOB_COMPLETED)
    assert system.work() == [KILLED]
    system.arm(point)
    assert system.order("launch") == KILLED

    job = settle(system, partition)

    assert_has_one_transcript(system, bucket, partition, job, undisturbed)
    had_told = point in (Failpoint.TRANSCRIPT_TOLD, Failpoint.CHECKS_TOLD)
    assert times_told(system, partition) == (2 if had_told else 1)  # of the same transcript


@pytest.mark.parametrize(
    "point", [Failpoint.VERSION_PROMOTED, Failpoint.FORMAT_EXPORTED, Failpoint.TRANSCRIPT_EXPORTED]
)
def test_api_when_it_dies_promoting_then_whoever_promotes_again_finds_the_rest_to_do(
    system: System, bucket: ObjectStore, put: Put, point: Failpoint
) -> None:
    partition = put(f"promote {point}")
    complete(system, partition, model="demo")
    assert system.order("launch") == 0
    other = complete(system, partition, model="other")
    assert system.order("launch") == 0
    system.arm(point)
    promotion = {"bucket": bucket.bucket, "model": "other"}
    assert system.order("promote", **promotion) == KILLED

    assert system.order("promote", **promotion) == 0

    assert BucketObjects.of(system.services).get(partition).current_job_id == other.job_id
    assert exported(system, partition) == expected_export(system, other)


def complete(system: System, partition: str, *, model: str) -> JobModel:
    """Transcribe an object as a run does, but for the engine."""
    services, run_id = system.services, f"run of {model}"
    claim = ensure_claim(
        services.jobs, open_object(services, partition, run_id, model=model).job_id, run_id, attempt=None
    )
    prefix = object_keys.result_prefix(claim.job_id, claim.attempt)
    for name in FORMATS:
        services.store.put_bytes(object_keys.transcript(prefix, name), f"{claim.job_id} as {name}".encode())
    return claim.complete(
        JobResult(
            prefix=prefix,
            formats=list(FORMATS),
            language="en",
            duration_seconds=1,
            words=1,
            segments=1,
            text_preview=model,
        )
    )
