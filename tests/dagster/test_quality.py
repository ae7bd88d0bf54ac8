"""What a run finds out about its transcript, and what the engine cost."""

from __future__ import annotations

from pathlib import Path

from stt_core.services import Services
from stt_core.transcript.quality import LEAST_COVERAGE
from tests.dagster.conftest import Configure, Transcribe, mute_engine


def test_run_when_it_published_then_transcript_and_job_tell_its_checks_and_its_cost(
    services: Services, transcribe: Transcribe
) -> None:
    job_id = transcribe("sample-08.ogg")
    transcript, result = services.tasks.get_task_result(job_id), services.jobs.get_job(job_id).result
    assert result is not None
    assert result.checks == transcript.checks
    assert [check.name for check in result.checks if check.passed] == [
        "speech_coverage", "repetition", "speech_rate", "monotonic_times", "language_flips", "confidence",
    ]  # fmt: skip
    assert (result.model, result.model_digest) == (transcript.model, transcript.model_digest)
    assert result.confidence == transcript.statistics.confidence
    assert result.speech_seconds == transcript.statistics.speech_seconds
    assert result.engine_seconds > 0.1 and result.cpu_seconds > 0.1

    again = transcribe("sample-08.ogg")
    known = services.jobs.get_job(again).result
    assert known is not None and known.cpu_seconds == 0


def test_run_when_the_engine_says_almost_nothing_then_the_checks_say_so_by_the_setting(
    services: Services, configure: Configure, transcribe: Transcribe, tmp_path: Path
) -> None:
    configure(whisper_cpp_executable=mute_engine(tmp_path), quality_errors=("speech_coverage",))
    job_id = transcribe("sample-08.ogg")
    result = services.jobs.get_job(job_id).result
    assert result is not None
    [failed] = [check for check in result.checks if not check.passed]
    assert (failed.name, failed.severity, failed.limit) == ("speech_coverage", "error", LEAST_COVERAGE)


def test_run_when_speech_was_not_looked_for_then_its_coverage_is_not_measured(
    services: Services, transcribe: Transcribe
) -> None:
    job_id = transcribe("sample-08.ogg", strategy="fixed")
    coverage, *others = services.tasks.get_task_result(job_id).checks
    assert (coverage.passed, coverage.value) == (True, None)
    assert all(check.passed for check in others)
