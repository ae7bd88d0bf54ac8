"""Chunks on which the engine fails for good: named in the error, or left out where the job allows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stt_core import object_keys
from stt_core.engines.process import find_executable
from stt_core.jobs.job import ChunkStatus, JobStatus
from stt_core.jobs.recovery import recover_failed_run
from stt_core.services import Services
from tests.dagster.conftest import Configure, EngineCalls, RunJob, Transcribe, Upload, read_calls, script
from tests.multilingual_model import LANGUAGE, MODEL

pytestmark = pytest.mark.usefixtures("multilingual_model")

#: The chunk that the engine of these tests cannot bear.
BAD = 1


@pytest.fixture
def bad_chunk(configure: Configure, tmp_path: Path) -> EngineCalls:
    """The real engine, which crashes when it is given that chunk; gives the arguments of its calls."""
    real, log = find_executable("stt-whisper-cli"), tmp_path / "calls"
    crash = f'case "$*" in */{BAD}.wav*) kill -SEGV $$;; esac'
    engine = script(tmp_path / "crashing", f'echo "$@" >> {log}; {crash}; exec {real} "$@"')
    configure(whisper_cpp_executable=engine, chunk_max_seconds=20.0)  # so that there are several
    return lambda: read_calls(log)


def chunks_of(calls: list[list[str]]) -> list[list[int]]:
    """Return the chunks that each call of the engine was given."""
    return [[int(Path(word).stem) for word in call if word.endswith(".wav")] for call in calls]


def test_run_when_a_chunk_fails_for_good_fails_and_names_the_chunk_and_its_time(
    services: Services, upload: Upload, run_job: RunJob, bad_chunk: EngineCalls
) -> None:
    job_id = upload("noisy.ogg", model=MODEL, language=LANGUAGE)
    run = run_job(job_id)
    assert not run.success
    settings = services.settings.model_copy(update={"max_attempts": 1})
    job = recover_failed_run(  # as the failure sensor does
        services.jobs, services.queue, settings, job_id=job_id, run_id=run.run_id, attempt=1, reason="failed"
    )
    assert (job.status, job.result) == (JobStatus.FAILED, None)
    assert job.error is not None
    assert (job.error.kind, job.error.transient, job.error.stage) == ("engine-failed", True, "transcribing")
    assert re.match(
        r"No text for chunk 1 \(00:00:\d\d to 00:00:\d\d\): The engine was ended by SIGSEGV", job.error.message
    )
    chunks = services.chunks.get_chunks(job_id)
    assert [chunk.status for chunk in chunks[:2]] == [ChunkStatus.DONE, ChunkStatus.FAILED]
    assert chunks[BAD].error is not None
    assert chunks[BAD].error.message == job.error.message


def test_run_when_gaps_are_allowed_keeps_every_other_text_and_names_the_gap(
    services: Services, transcribe: Transcribe, bad_chunk: EngineCalls
) -> None:
    job_id = transcribe("noisy.ogg", model=MODEL, language=LANGUAGE, allow_partial=True)
    chunks = services.chunks.get_chunks(job_id)
    others = [chunk.index for chunk in chunks if chunk.index != BAD]
    assert len(others) > 1
    assert [chunk.index for chunk in chunks if chunk.status is ChunkStatus.DONE] == others

    result = services.tasks.get_task_status(job_id).result
    assert result is not None
    assert result.gaps == 1
    transcript = services.tasks.get_task_result(job_id)
    [gap] = transcript.gaps
    assert (gap.chunk, gap.start, gap.end) == (BAD, chunks[BAD].start_seconds, chunks[BAD].end_seconds)
    assert "SIGSEGV" in gap.reason
    assert {segment.chunk for segment in transcript.segments} == set(others)
    marker = r"\[no transcript from 00:00:\d\d to 00:00:\d\d: The engine was ended by SIGSEGV"
    files = {
        name: services.store.get_bytes(object_keys.transcript(result.prefix, name)).decode()
        for name in ("txt", "srt", "vtt", "tsv")
    }
    assert {name for name, text in files.items() if re.search(marker, text)} == set(files)
    lines = files["txt"].splitlines()
    assert [number for number, line in enumerate(lines) if re.match(marker, line)] == [
        sum(segment.chunk == 0 for segment in transcript.segments)  # in its place
    ]


def test_run_when_a_chunk_fails_tries_it_by_itself_and_repeats_no_other(
    services: Services, upload: Upload, run_job: RunJob, bad_chunk: EngineCalls
) -> None:
    job_id = upload("noisy.ogg", model=MODEL, language=LANGUAGE, allow_partial=True)
    result = run_job(job_id)
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 2
    rest = [chunk.index for chunk in services.chunks.get_chunks(job_id)][BAD:]
    first = [[0, *rest], [0], rest, [BAD]]
    again = [rest, [BAD]]
    assert chunks_of(bad_chunk()) == [*first, *again, *again, rest[1:]]


def test_run_when_a_gap_was_left_transcribes_only_that_the_next_time(
    services: Services, transcribe: Transcribe, bad_chunk: EngineCalls, request: pytest.FixtureRequest
) -> None:
    transcribe("noisy.ogg", model=MODEL, language=LANGUAGE, allow_partial=True)
    calls: EngineCalls = request.getfixturevalue("engine_calls")  # a sound engine from here on
    before = len(calls())
    whole = transcribe("noisy.ogg", model=MODEL, language=LANGUAGE)
    assert chunks_of(calls()[before:]) == [[BAD]]
    assert services.tasks.get_task_result(whole).gaps == []


def test_run_when_no_chunk_has_a_text_fails_although_gaps_are_allowed(
    services: Services, upload: Upload, run_job: RunJob, configure: Configure, tmp_path: Path
) -> None:
    configure(whisper_cpp_executable=script(tmp_path / "dead", "kill -SEGV $$"))
    job_id = upload("sample-08.ogg", allow_partial=True)
    assert not run_job(job_id).success
    job = services.jobs.get_job(job_id)
    assert job.result is None
    assert job.error is not None
    assert job.error.kind == "missing-chunks"
    assert "SIGSEGV" in job.error.message
