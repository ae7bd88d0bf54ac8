"""A real whisper-cli and our default executable are interchangeable."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stt_core.engines.process import find_executable
from stt_core.engines.transcriber import Transcriber
from stt_core.engines.whisper_cpp import WhisperCpp
from stt_core.languages import LANGUAGES
from stt_core.settings import Settings
from stt_core.whisper.models import WhisperModel, resolve_model
from tests.multilingual_model import LANGUAGE, make_multilingual_model

from .conftest import WavMaker

pytestmark = [pytest.mark.native, pytest.mark.timeout(1200)]

SAMPLES = ("01", "04", "08", "loop")


@pytest.fixture(scope="module")
def documents(
    native_whisper_cli: Path, sample_wav: WavMaker, demo_model: WhisperModel, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, Any]]]:
    """The JSON of both executables for every sample, from one command line."""
    ours = find_executable("stt-whisper-cli")
    results = {}
    for name, executable in (("native", native_whisper_cli), ("ours", ours)):
        folder = tmp_path_factory.mktemp(name)
        command = [str(executable), "-m", str(demo_model.path), "-l", "auto", "-t", "2", "-mc", "0", "-ojf"]
        for sample in SAMPLES:
            command += ["-f", str(sample_wav(sample)), "-of", str(folder / sample)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_WAIT_POLICY": "passive"})
        results[name] = [json.loads((folder / f"{sample}.json").read_text()) for sample in SAMPLES]
    return results


def test_default_executable_when_beside_a_native_one_then_says_the_same_at_the_same_times(
    documents: dict[str, list[dict[str, Any]]],
) -> None:
    def said(document: dict[str, Any]) -> list[tuple[Any, ...]]:
        return [
            (part["text"], part["offsets"], part["timestamps"], part.get("id"))
            for segment in document["transcription"]
            for part in (segment, *segment["tokens"])
        ]

    for native, ours in zip(documents["native"], documents["ours"], strict=True):
        assert said(ours) == said(native)
        assert said(native)


def test_default_executable_when_beside_a_native_one_then_writes_the_same_document(
    documents: dict[str, list[dict[str, Any]]],
) -> None:
    for native, ours in zip(documents["native"], documents["ours"], strict=True):
        assert list(ours) == list(native)
        for key in ("model", "params", "result"):
            assert ours[key] == native[key]
        for mine, theirs in zip(ours["transcription"], native["transcription"], strict=True):
            assert list(mine) == list(theirs)
            for token, other in zip(mine["tokens"], theirs["tokens"], strict=True):
                assert list(token) == list(other)
                assert token["p"] == pytest.approx(other["p"], abs=0.02)


def test_transcriber_when_given_a_native_whisper_cli_then_says_the_same(
    native_whisper_cli: Path, sample_wav: WavMaker, demo_model: WhisperModel, transcriber: Transcriber
) -> None:
    native = Transcriber.for_model(demo_model, Settings(whisper_cpp_executable=str(native_whisper_cli)))
    wavs = [sample_wav("08"), sample_wav("loop")]
    theirs = native.transcribe(wavs, language="auto", threads=2)
    ours = transcriber.transcribe(wavs, language="auto", threads=2)
    assert [one.text for one in theirs] == [one.text for one in ours]
    assert [one.language for one in theirs] == ["en", "en"]


def test_detection_when_a_native_whisper_cli_hears_none_of_the_allowed_then_the_default_one_listens(
    native_whisper_cli: Path, sample_wav: WavMaker, tmp_path: Path
) -> None:
    make_multilingual_model(tmp_path / "many.bin")
    settings = Settings(whisper_cpp_executable=str(native_whisper_cli), whisper_model=str(tmp_path / "many.bin"))
    model = resolve_model(settings.whisper_model, settings)
    native, ours = WhisperCpp.from_settings(model, settings), WhisperCpp.from_settings(model, Settings())
    wavs = [sample_wav("08"), sample_wav("01")]
    alone = native.detect_languages(wavs, threads=2)
    assert [one.keys() for one in alone] == [{LANGUAGE}, {LANGUAGE}]
    all_of_them = ours.detect_languages(wavs, threads=2)
    assert [one[LANGUAGE] for one in alone] == pytest.approx([one[LANGUAGE] for one in all_of_them], abs=0.02)
    assert native.detect_languages(wavs, allowed=(LANGUAGE, "fr"), threads=2) == alone
    for one, known in zip(native.detect_languages(wavs, allowed=("fr",), threads=2), all_of_them, strict=True):
        assert one.keys() == LANGUAGES.keys()
        assert one["fr"] == pytest.approx(known["fr"], rel=0.01)
