"""The checks of a transcript as checks of its asset's partition."""

from __future__ import annotations

import os
from pathlib import Path

from dagster import AssetCheckEvaluation, AssetCheckSeverity, AssetKey, DagsterInstance, ExecuteInProcessResult

from stt_core.backfill.partitions import partition_key
from stt_core.services import Services
from stt_core.sources import BackfillSource
from tests.dagster.conftest import DATA, Configure, script

KEY = "2026/Gespräch 'ü' (1).ogg"


def materialize(
    services: Services, configure: Configure, instance: DagsterInstance
) -> tuple[str, ExecuteInProcessResult]:
    """Put a recording into a bucket of its own, and materialise its partition."""
    from stt_dagster.definitions import defs

    bucket = services.store.in_bucket(f"calls-{os.urandom(4).hex()}")
    bucket.ensure_bucket()
    bucket.put_bytes(KEY, (DATA / "sample-08.ogg").read_bytes(), content_type="audio/ogg")
    partition = partition_key(bucket.bucket, KEY)
    configure(backfill_sources=(BackfillSource(bucket=bucket.bucket),))
    instance.add_dynamic_partitions("bucket_objects", [partition])
    job = defs.get_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance,
        asset_selection=[AssetKey("bucket_transcripts")],
        partition_key=partition,
        raise_on_error=False,
    )
    return partition, result


def checks_of(result: ExecuteInProcessResult) -> dict[str, AssetCheckEvaluation]:
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def test_partition_when_its_transcript_is_good_then_every_check_passes_for_it(
    services: Services, configure: Configure
) -> None:
    with DagsterInstance.ephemeral() as instance:
        partition, result = materialize(services, configure, instance)
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
    services: Services, configure: Configure, tmp_path: Path
) -> None:
    heard = (
        """'{"result":{"language":"en"},"transcription":[{"text":" Hm.","offsets":{"from":0,"to":400},"tokens":[]}]}'"""
    )
    body = f'while [ $# -gt 0 ]; do [ "$1" = -of ] && printf %s {heard} > "$2.json"; shift; done'
    configure(whisper_cpp_executable=script(tmp_path / "mute", body), quality_errors=("speech_coverage",))
    with DagsterInstance.ephemeral() as instance:
        _, result = materialize(services, configure, instance)
    assert result.success
    [failed] = [check for check in checks_of(result).values() if not check.passed]
    assert (failed.check_name, failed.severity) == ("speech_coverage", AssetCheckSeverity.ERROR)
    assert failed.description and "have no text" in failed.description
