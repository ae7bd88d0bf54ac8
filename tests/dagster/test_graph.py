"""The transcription graph on real servers with the real engine."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path

import jiwer
import numpy as np
import pytest

from stt_core.engines.process import find_executable
from stt_core.jobs.claims import ensure_claim
from stt_core.jobs.job import ChunkStatus, JobStatus
from stt_core.jobs.recovery import cancel_job
from stt_core.services import Services
from stt_core.transcript.document import ChunkTranscript
from tests.dagster.conftest import DATA, Configure, RunJob, Transcribe, Upload, script


def wav(pcm: bytes) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(16_000)
        audio.writeframes(pcm)
    return buffer.getvalue()


def silence(seconds: float) -> bytes:
    return wav(bytes(int(seconds * 16_000) * 2))


def bursts(seconds: float, *loud: tuple[float, float]) -> bytes:
    """A loud noise in these seconds, over a quiet one."""
    level = np.full(round(seconds * 16_000), 10.0)
    for start, end in loud:
        level[round(start * 16_000) : round(end * 16_000)] = 3000
    return wav((np.random.default_rng(1).normal(0, 1, len(level)) * level).astype("<i2").tobytes())


def test_run_when_recording_is_sound_publishes_every_format(services: Services, transcribe: Transcribe) -> None:
    job_id = transcribe("sample-01.mp3")
    job = services.jobs.get_job(job_id)
    assert job.status is JobStatus.COMPLETED and job.result is not None
    spoken = services.tasks.get_task_result(job_id).text
    assert spoken.split() == (DATA / "sample-01.txt").read_text().split()
    names = {key.removeprefix(job.result.prefix) for key in services.store.list_keys(job.result.prefix)}
    assert names == {f"transcript.{extension}" for extension in ("json", "txt", "srt", "vtt", "tsv")}
    assert services.store.list_keys(f"audio/{job_id}/") == []
    assert services.queue.members() == set()


def test_run_when_chunks_are_spread_over_steps_gives_the_same_text_but_for_what_is_unsure(
    services: Services, upload: Upload, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_core.processing.planning._MIN_CHUNKS_PER_STEP", 1)
    one, many = upload("noisy.ogg"), upload("noisy.ogg")
    assert run_job(one).success
    result = run_job(many, slots=2)
    assert result.success
    assert len([e for e in result.all_events if e.is_step_success and e.step_key and "transcribe[" in e.step_key]) > 1
    texts = [services.tasks.get_task_result(job_id).text for job_id in (one, many)]
    # Each step hears its own least sure segments again, so a few of them differ.
    assert jiwer.wer(*texts) <= 0.05


def test_run_when_same_recording_was_transcribed_before_does_not_run_the_engine(
    services: Services, transcribe: Transcribe, configure: Configure
) -> None:
    first = transcribe("sample-01.mp3")
    configure(whisper_cpp_executable="/bin/false")
    second = transcribe("sample-01.mp3")
    assert all(chunk.cached for chunk in services.chunks.get_chunks(second))
    assert services.tasks.get_task_result(first).text == services.tasks.get_task_result(second).text


def test_run_when_the_engine_hears_words_beside_the_sound_places_them_and_those_it_heard_before(
    services: Services, transcribe: Transcribe, tmp_path: Path, configure: Configure
) -> None:
    words = [(" One.", 0, 500), (" Two.", 500, 3000)]
    tokens = [{"text": text, "p": 1, "offsets": {"from": start, "to": end}} for text, start, end in words]
    segment = {"text": " One. Two.", "offsets": {"from": 0, "to": 3000}, "tokens": tokens}
    (tmp_path / "said").write_text(json.dumps({"result": {"language": "en"}, "transcription": [segment]}))
    body = f'while [ $# -gt 0 ]; do [ "$1" = -of ] && cp {tmp_path}/said "$2.json"; shift; done'
    recording = bursts(9, (1, 2), (6, 7.5))
    texts = []
    for engine in (script(tmp_path / "engine", body), "/bin/false"):
        configure(whisper_cpp_executable=engine)
        job_id = transcribe(recording, language="en")
        [chunk] = services.chunks.get_chunks(job_id)
        assert chunk.result_key is not None
        texts.append(ChunkTranscript.model_validate_json(services.store.get_bytes(chunk.result_key)))
    transcript = services.tasks.get_task_result(job_id)
    said = [word for segment in [*transcript.segments, *transcript.sounds] for word in segment.words]
    assert [word.text for word in said] == ["One.", "Two."]
    assert [edge for word in said for edge in (word.start, word.end)] == pytest.approx([1, 2, 6, 7.5], abs=0.02)
    assert texts[0] == texts[1]


def test_run_when_recording_is_silent_completes_with_empty_transcript(
    services: Services, transcribe: Transcribe
) -> None:
    job_id = transcribe(silence(3))
    transcript = services.tasks.get_task_result(job_id)
    assert (transcript.text, transcript.segments, transcript.duration_seconds) == ("", [], 3.0)


def test_run_when_recording_has_no_samples_fails_at_once_and_for_good(
    services: Services, upload: Upload, run_job: RunJob
) -> None:
    job_id = upload(silence(0))
    result = run_job(job_id)
    assert not result.success
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    job = services.jobs.get_job(job_id)
    assert job.status is JobStatus.FAILED and job.error is not None
    assert job.error.kind == "no-audio" and job.error.stage == "preparing"


def test_run_when_engine_crashes_once_tries_again_and_completes(
    services: Services, upload: Upload, run_job: RunJob, tmp_path: Path, configure: Configure
) -> None:
    real, mark = find_executable("stt-whisper-cli"), tmp_path / "crashed"
    crashing = script(tmp_path / "engine", f'[ -e {mark} ] && exec {real} "$@"; touch {mark}; kill -SEGV $$')
    job_id = upload("sample-01.mp3")
    configure(whisper_cpp_executable=crashing)
    result = run_job(job_id)
    assert result.success
    assert [event for event in result.all_events if event.is_step_up_for_retry]
    job = services.jobs.get_job(job_id)
    assert job.status is JobStatus.COMPLETED and job.error is None


def test_run_when_engine_always_crashes_keeps_a_transient_error_with_the_job(
    services: Services, upload: Upload, run_job: RunJob, tmp_path: Path, configure: Configure
) -> None:
    job_id = upload("sample-01.mp3")
    configure(whisper_cpp_executable=script(tmp_path / "engine", "kill -SEGV $$"))
    result = run_job(job_id)
    assert not result.success
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 2
    job = services.jobs.get_job(job_id)
    assert job.status is JobStatus.PROCESSING and job.error is not None
    assert job.error.kind == "engine-failed" and job.error.transient
    assert {chunk.status for chunk in services.chunks.get_chunks(job_id)} == {ChunkStatus.FAILED}


def test_run_when_job_was_cancelled_stops_and_changes_nothing(
    services: Services, upload: Upload, run_job: RunJob
) -> None:
    job_id = upload("sample-01.mp3")
    cancel_job(services.jobs, job_id)
    assert not run_job(job_id).success
    assert services.jobs.get_job(job_id).status is JobStatus.CANCELLED


def test_run_when_another_run_has_the_job_gives_up(services: Services, upload: Upload, run_job: RunJob) -> None:
    job_id = upload("sample-01.mp3")
    ensure_claim(services.jobs, job_id, "another-run", attempt=1)
    assert not run_job(job_id).success
    job = services.jobs.get_job(job_id)
    assert (job.status, job.run_id) == (JobStatus.PROCESSING, "another-run")


def test_run_leaves_no_temporary_folder(
    upload: Upload, run_job: RunJob, transcribe: Transcribe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    transcribe("sample-01.mp3")
    assert not run_job(upload(silence(0))).success
    assert list(tmp_path.glob("stt-*")) == []
