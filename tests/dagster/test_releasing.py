"""Transcripts whose run died before it had passed them on: told in its name, each when its turn comes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partialmethod

import pytest
from dagster import AssetCheckKey, DagsterInstance, build_sensor_context

from stt_core.backfill.objects import BucketObjects
from stt_core.backfill.opening import open_object
from stt_core.errors import StoreUnavailableError
from stt_core.jobs.job import JobStatus
from stt_core.jobs.repository import JobRepository
from stt_core.services import Services
from stt_core.sources import BackfillSource
from stt_core.stores.object_store import ObjectStore
from stt_core.transcript.formats import FORMATS
from stt_core.transcript.quality import CHECKS
from tests.dagster.conftest import TRANSCRIPTS, Configure, Materialize, Put, current, latest_metadata, raising
from tests.multilingual_model import MODEL

Release = Callable[[], tuple[int, str | None]]

AWAY = raising(StoreUnavailableError("The object store is away."))


@pytest.fixture
def release(instance: DagsterInstance) -> Release:
    """Pass on what is due, as the sensor does."""
    from stt_dagster.backfill_runs import release_transcripts

    return lambda: release_transcripts(instance, current())


def checked(instance: DagsterInstance, partition: str) -> dict[str, tuple[str, bool]]:
    """The checks that have been told of for a partition: by which run, and whether it passed them."""
    found = {}
    for name in CHECKS:
        key = AssetCheckKey(TRANSCRIPTS, name)
        [latest] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        evaluation = latest.event.dagster_event.asset_check_evaluation_data if latest.event else None
        if evaluation and evaluation.partition == partition:
            found[name] = (latest.run_id, evaluation.passed)
    return found


def outputs(bucket: ObjectStore, **prefixes: str) -> tuple[BackfillSource, ...]:
    """Return a source for each prefix, whose transcripts go to a bucket of that name."""
    return tuple(
        BackfillSource(bucket=bucket.bucket, prefix=f"{prefix}/", language="en", model=MODEL, output=output)
        for prefix, output in prefixes.items()
    )


def test_run_when_it_dies_after_its_job_completed_is_spoken_for(
    services: Services,
    put: Put,
    materialize: Materialize,
    instance: DagsterInstance,
    release: Release,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    partition = put()
    with monkeypatch.context() as patch:
        patch.setattr("stt_dagster.ops.release_transcript", AWAY)
        assert not materialize(partition).success
    [job] = services.jobs.find_versions([partition])
    assert job.status is JobStatus.COMPLETED and job.result is not None
    assert instance.get_materialized_partitions(TRANSCRIPTS) == set()

    assert release() == (1, None)

    assert instance.get_materialized_partitions(TRANSCRIPTS) == {partition}
    assert latest_metadata(instance, partition)["current"] is True
    assert checked(instance, partition) == {check.name: (job.run_id, check.passed) for check in job.result.checks}
    assert BucketObjects.of(services).get(partition).current_job_id == job.job_id
    assert release() == (0, None)


def test_runs_when_they_die_after_each_version_of_an_object_are_all_spoken_for(
    put: Put,
    materialize: Materialize,
    instance: DagsterInstance,
    release: Release,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    partition = put()
    monkeypatch.setattr("stt_dagster.ops.release_transcript", AWAY)
    for model in (MODEL, "demo"):
        run = materialize(partition, **{"stt/model": model})
        assert not run.success
        assert release() == (1, None)
        assert latest_metadata(instance, partition)["model"] == model
        assert {name: run_id for name, (run_id, _) in checked(instance, partition).items()} == dict.fromkeys(
            CHECKS, run.run_id
        )


def test_transcript_when_its_output_is_not_there_keeps_back_no_other_and_is_passed_on_later(
    services: Services,
    bucket: ObjectStore,
    put: Put,
    materialize: Materialize,
    instance: DagsterInstance,
    configure: Configure,
    release: Release,
) -> None:
    output = bucket.in_bucket(f"{bucket.bucket}-texts")
    configure(backfill_sources=outputs(bucket, **{"2026": output.bucket, "2027": "not-there-either"}))
    partitions = [put(), put("2027/copy.mp3")]
    for partition in partitions:
        assert not materialize(partition).success
    assert release() == (0, None)

    output.ensure_bucket()
    assert release() == (1, None)

    assert instance.get_materialized_partitions(TRANSCRIPTS) == {partitions[0]}
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
    configure(backfill_sources=outputs(bucket, **{"2026": "not-there", "2027": texts.bucket}))
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
            seen.append(instance.get_materialized_partitions(TRANSCRIPTS))

    assert seen == [set(), {partitions[1]}]


def test_sensor_when_a_transcript_cannot_be_passed_on_launches_the_objects_that_wait(
    put: Put, materialize: Materialize, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stt_dagster.sensors import backfill_sensor

    for module in ("ops", "backfill_runs"):
        monkeypatch.setattr(f"stt_dagster.{module}.release_transcript", AWAY)
    assert not materialize(put()).success
    job = open_object(current(), put("copy.mp3"), "a run that died before it claimed it")

    with build_sensor_context(instance=instance) as context:
        [request] = backfill_sensor(context)  # type: ignore[misc]

    assert request.run_key == f"{job.job_id}:1"
