"""Partitions of the asset of transcripts, materialised: the graph on real servers, and the checks of what came out."""

from __future__ import annotations

from pathlib import Path

from dagster import AssetCheckEvaluation, AssetCheckSeverity, DagsterInstance, ExecuteInProcessResult

from stt_core.backfill.objects import BucketObjects
from stt_core.jobs.job import JobStatus
from stt_core.services import Services
from stt_core.stores.object_store import ObjectStore
from tests.dagster.conftest import (
    DATA,
    KEY,
    RECORDING,
    TRANSCRIPTS,
    Configure,
    EngineCalls,
    Materialize,
    Put,
    current,
    latest_metadata,
    mute_engine,
    run_of,
)

SHORT = (DATA / "sample-08.ogg").read_bytes()


def checks_of(result: ExecuteInProcessResult) -> dict[str, AssetCheckEvaluation]:
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def test_partition_when_it_is_materialised_has_a_job_a_transcript_beside_the_prefix_and_metadata(
    services: Services, bucket: ObjectStore, put: Put, materialize: Materialize, instance: DagsterInstance
) -> None:
    from stt_dagster.backfill_runs import release_transcripts

    partition = put()
    result = materialize(partition, **{"stt/model": "demo"})
    assert result.success and instance.get_materialized_partitions(TRANSCRIPTS) == {partition}
    [job] = services.jobs.find_versions([partition])
    assert (job.status, job.attempt, job.run_id) == (JobStatus.COMPLETED, 1, result.run_id)
    text = services.store.get_bytes(f"transcripts/{bucket.bucket}/{KEY}.txt").decode()
    assert text.split() == (DATA / "sample-01.txt").read_text().split()
    assert bucket.list_keys("") == [KEY]
    shown = latest_metadata(instance, partition)
    assert (shown["language"], shown["model"], shown["current"]) == ("en", "demo", True)
    assert shown["preview"] and shown["model_digest"] and shown["words"] and shown["real_time_factor"]
    assert shown["transcript"] == f"{services.settings.api_url}/api/v1/tasks/{job.job_id}/result"
    run = run_of(instance, result.run_id)
    assert (run.tags["stt/job_id"], run.tags["stt/lane"]) == (job.job_id, "backfill")
    assert services.queue.members() == set()

    assert len(services.jobs.find_jobs_to_release().jobs) == 1  # what its run has told of is not told again
    assert release_transcripts(instance, current()) == (0, None)
    assert services.jobs.find_jobs_to_release().jobs == []
    assert len(instance.fetch_materializations(TRANSCRIPTS, limit=5).records) == 1


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
    put(data=SHORT)
    assert materialize(partition).success
    after, before = services.jobs.find_versions([partition])
    item = BucketObjects.of(services).get(partition)
    assert item.current_job_id == after.job_id != before.job_id
    assert item.current_etag == item.etag == bucket.version(KEY).etag


def test_partition_when_its_object_is_no_recording_fails_for_good_and_waits_for_nothing(
    services: Services, put: Put, materialize: Materialize, instance: DagsterInstance
) -> None:
    from stt_dagster.backfill_runs import next_runs

    partition = put(data=b"no recording")
    assert not materialize(partition).success
    [job] = services.jobs.find_versions([partition])
    assert job.status is JobStatus.FAILED and job.error is not None and job.error.kind == "unsupported-format"
    assert next_runs(instance, services) == []
    assert instance.get_materialized_partitions(TRANSCRIPTS) == set()


def test_partition_when_its_object_is_larger_than_uploads_may_be_fails_for_good(
    services: Services, put: Put, materialize: Materialize, configure: Configure
) -> None:
    partition = put()
    configure(max_upload_bytes=len(RECORDING) - 1)
    assert not materialize(partition).success
    [job] = services.jobs.find_versions([partition])
    assert job.status is JobStatus.FAILED and job.error is not None and job.error.kind == "file-too-large"


def test_partition_when_its_transcript_is_good_then_every_check_passes_for_it(
    services: Services, put: Put, materialize: Materialize
) -> None:
    partition = put(data=SHORT)
    result = materialize(partition, **{"stt/model": "demo"})
    assert result.success
    [job] = services.jobs.find_versions([partition])
    assert job.result is not None
    checks = checks_of(result)
    assert list(checks) == [check.name for check in job.result.checks]
    assert all(check.passed and check.partition == partition for check in checks.values())
    coverage = checks["speech_coverage"]
    assert {name: value.value for name, value in coverage.metadata.items()} == {"value": 1.0, "limit": 0.8}
    assert coverage.target_materialization_data is not None


def test_partition_when_its_transcript_has_almost_no_text_then_its_check_fails_as_severe_as_is_set(
    put: Put, materialize: Materialize, configure: Configure, tmp_path: Path
) -> None:
    configure(whisper_cpp_executable=mute_engine(tmp_path), quality_errors=("speech_coverage",))
    result = materialize(put(data=SHORT))
    assert result.success
    [failed] = [check for check in checks_of(result).values() if not check.passed]
    assert (failed.check_name, failed.severity) == ("speech_coverage", AssetCheckSeverity.ERROR)
    assert failed.description and "have no text" in failed.description
