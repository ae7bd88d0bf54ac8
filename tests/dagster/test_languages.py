"""The language of a recording, with the real engine and a model that is multilingual by its form."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from stt_core.engines.process import find_executable
from stt_core.services import Services
from stt_core.transcript.document import Transcript
from stt_core.warnings import WarningName
from tests.dagster.conftest import DATA, Configure, EngineCalls, RunJob, Transcribe, Upload, script
from tests.multilingual_model import LANGUAGE, MODEL

pytestmark = pytest.mark.usefixtures("multilingual_model")


#: Two notes a second, each dying away.
MELODY = "aevalsrc=0.4*sin(2*PI*(220+55*mod(floor(2*t)\\,5))*t)*exp(-3*mod(t\\,0.5)):d=60:s=16000"


@pytest.fixture
def music_then_speech(tmp_path: Path) -> bytes:
    """60 s of a melody, then 10 s of speech."""
    path = tmp_path / "intro.wav"
    command = [get_ffmpeg_exe(), "-v", "error", "-nostdin", "-f", "lavfi", "-i", MELODY, "-i", DATA / "sample-08.ogg"]
    joined = ["-filter_complex", "[1:a]aresample=16000,aformat=channel_layouts=mono[b];[0:a][b]concat=n=2:v=0:a=1"]
    subprocess.run([*command, *joined, path], check=True)
    return path.read_bytes()


def has_doubt(transcript: Transcript) -> bool:
    """Tell whether a transcript says that its language is uncertain."""
    return WarningName.LANGUAGE_UNCERTAIN in {warning.name for warning in transcript.warnings}


def languages_of(calls: list[list[str]]) -> list[tuple[str, int]]:
    """Return the language (`-dl` where it was listened for) and the number of sounds of each call of the engine."""
    return [("-dl" if "-dl" in call else call[call.index("-l") + 1], call.count("-f")) for call in calls]


def test_run_when_language_is_auto_listens_in_several_places_and_holds_it(
    services: Services, transcribe: Transcribe, engine_calls: EngineCalls
) -> None:
    job_id = transcribe("noisy.ogg", model=MODEL)
    chunks = services.chunks.get_chunks(job_id)
    assert len(chunks) > 1
    assert languages_of(engine_calls()) == [("-dl", min(4, len(chunks))), (LANGUAGE, len(chunks))]
    transcript = services.tasks.get_task_result(job_id)
    assert transcript.language == services.tasks.get_task_status(job_id).language == LANGUAGE
    assert "water morning train" in transcript.text


def test_run_when_language_was_held_before_transcribes_nothing_again(
    services: Services, transcribe: Transcribe, engine_calls: EngineCalls
) -> None:
    first = transcribe("sample-08.ogg", model=MODEL)
    before = len(engine_calls())
    transcribe("sample-08.ogg", model=MODEL)
    named = transcribe("sample-08.ogg", model=MODEL, language=LANGUAGE)
    assert (before, len(engine_calls())) == (1, 1)
    assert services.tasks.get_task_result(first).text == services.tasks.get_task_result(named).text


def test_run_when_language_is_auto_per_chunk_lets_each_chunk_detect_its_own(
    services: Services, transcribe: Transcribe, engine_calls: EngineCalls
) -> None:
    job_id = transcribe("noisy.ogg", model=MODEL, language="auto-per-chunk")
    chunks = services.chunks.get_chunks(job_id)
    assert languages_of(engine_calls()) == [("auto", len(chunks))]
    assert {chunk.language for chunk in chunks} == {LANGUAGE}
    assert services.tasks.get_task_result(job_id).language == LANGUAGE


def test_run_when_channels_are_split_holds_one_language_for_both(
    services: Services, transcribe: Transcribe, engine_calls: EngineCalls
) -> None:
    job_id = transcribe("call.ogg", model=MODEL, channels="split")
    chunks = services.chunks.get_chunks(job_id)
    assert languages_of(engine_calls()) == [("-dl", min(4, len(chunks))), (LANGUAGE, len(chunks))]


@pytest.mark.parametrize("asked", ["auto", "auto-per-chunk"])
def test_run_when_model_speaks_english_only_asks_the_engine_for_english(
    transcribe: Transcribe, engine_calls: EngineCalls, asked: str
) -> None:
    transcribe("sample-08.ogg", language=asked)
    assert languages_of(engine_calls()) == [("en", 1)]


def test_run_when_languages_are_limited_chooses_the_most_probable_of_them_and_listens_once(
    services: Services, transcribe: Transcribe, engine_calls: EngineCalls
) -> None:
    first = transcribe("noisy.ogg", model=MODEL, languages=["fr", "en", "es"])
    chosen = services.tasks.get_task_result(first).language
    assert chosen in {"fr", "en", "es"}  # and never LANGUAGE, which this model hears in every sound
    chunks = services.chunks.get_chunks(first)
    calls = languages_of(engine_calls())
    assert calls == [("-dl", min(4, len(chunks))), (chosen, len(chunks))]
    second = transcribe("noisy.ogg", model=MODEL, languages=["fr", "en", "es"])
    assert languages_of(engine_calls()) == calls
    assert services.tasks.get_task_result(second).language == chosen


def test_run_when_languages_are_limited_and_there_is_one_chunk_listens_before_it_transcribes(
    services: Services, transcribe: Transcribe, engine_calls: EngineCalls
) -> None:
    job_id = transcribe("sample-08.ogg", model=MODEL, languages=["fr", "en"])
    chosen = services.tasks.get_task_result(job_id).language
    assert chosen in {"fr", "en"}
    assert languages_of(engine_calls()) == [("-dl", 1), (chosen, 1)]


def test_run_when_music_comes_first_listens_to_the_voice_after_it(
    services: Services, transcribe: Transcribe, engine_calls: EngineCalls, music_then_speech: bytes
) -> None:
    job_id = transcribe(music_then_speech, model=MODEL, strategy="fixed")
    chunks = services.chunks.get_chunks(job_id)
    assert len(chunks) == 3
    assert languages_of(engine_calls()) == [("-dl", 1), (LANGUAGE, 3)]


@pytest.mark.skipif("STT_TEST_BASE_MODEL" not in os.environ, reason="STT_TEST_BASE_MODEL names no ggml file of base")
@pytest.mark.parametrize("languages", [[], ["sv", "en"]], ids=str)
def test_run_when_music_comes_first_and_the_weights_are_real_hears_what_is_spoken(
    services: Services, transcribe: Transcribe, music_then_speech: bytes, languages: list[str]
) -> None:
    own = services.settings.whisper_models_dir / "ggml-own-base.bin"
    own.unlink(missing_ok=True)
    own.symlink_to(os.environ["STT_TEST_BASE_MODEL"])
    job_id = transcribe(music_then_speech, model="own-base", strategy="fixed", languages=languages)
    transcript = services.tasks.get_task_result(job_id)
    assert (transcript.language, has_doubt(transcript)) == ("en", False)


def test_run_when_the_engine_fails_on_places_together_listens_to_each_by_itself(
    services: Services, transcribe: Transcribe, configure: Configure, tmp_path: Path
) -> None:
    real = find_executable("stt-whisper-cli")
    several = 'case "$*" in *-dl*" -f "*" -f "*) kill -KILL $$;; esac'
    configure(whisper_cpp_executable=script(tmp_path / "weak", f'{several}\nexec {real} "$@"'))
    job_id = transcribe("noisy.ogg", model=MODEL)
    transcript = services.tasks.get_task_result(job_id)
    assert (transcript.language, has_doubt(transcript)) == (LANGUAGE, False)


def test_run_when_no_language_can_be_heard_warns_unless_languages_are_limited(
    services: Services, upload: Upload, run_job: RunJob, configure: Configure, tmp_path: Path
) -> None:
    real = find_executable("stt-whisper-cli")
    configure(
        whisper_cpp_executable=script(tmp_path / "deaf", f'case "$*" in *-dl*) kill -KILL $$;; esac\nexec {real} "$@"')
    )
    free, limited = upload("noisy.ogg", model=MODEL), upload("noisy.ogg", model=MODEL, languages=["fr", "en"])
    assert run_job(free).success
    assert has_doubt(services.tasks.get_task_result(free))
    assert not run_job(limited).success
    error = services.jobs.get_job(limited).error
    assert error is not None
    assert "heard no language" in error.message
