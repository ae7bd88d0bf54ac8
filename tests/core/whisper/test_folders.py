"""Folders in faster-whisper's format: found, checked, told apart from files of the same name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stt_core.engines import ctranslate2
from stt_core.engines.base import Decoding
from stt_core.engines.choice import engine_for
from stt_core.engines.ctranslate2 import CTranslate2
from stt_core.engines.whisper_cpp import WhisperCpp
from stt_core.errors import ConfigurationError, ExecutableNotFoundError, ModelInvalidError, ModelNotFoundError
from stt_core.settings import Settings, load_settings
from stt_core.whisper.models import WhisperModel, list_models, resolve_model

from .test_wheels import SMALL, make_tensors, write_ctranslate2, write_words


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model: whole, and of no use."""
    path = tmp_path / "faster-whisper-mine"
    path.mkdir()
    (path / "model.bin").write_bytes(write_ctranslate2(make_tensors()))
    (path / "vocabulary.txt").write_bytes(write_words())
    for name, content in SMALL.items():
        (path / name).write_bytes(content)
    return path


def test_folder_when_named_by_its_path_or_its_name_then_is_a_model_of_ctranslate2(folder: Path) -> None:
    by_path, by_name = Settings(whisper_model=str(folder)), Settings(whisper_models_dir=folder.parent)
    models = [
        resolve_model(str(folder), by_path),
        resolve_model("faster-whisper-mine", by_name),
        resolve_model("mine", by_name),
    ]
    assert {(model.path, model.multilingual, model.digest) for model in models} == {(folder, False, models[0].digest)}
    assert all(isinstance(engine_for(model, by_name), CTranslate2) for model in models)
    [listed] = [model for model in list_models(by_name) if "mine" in model.name]
    assert (listed.name, listed.installed, listed.size_bytes) == (
        folder.name,
        True,
        folder.joinpath("model.bin").stat().st_size,
    )


def test_name_when_both_kinds_are_there_then_the_setting_chooses(folder: Path, demo_model: WhisperModel) -> None:
    shutil.copy(demo_model.path, folder.parent / "ggml-mine.bin")

    def engine(setting: str) -> type:
        settings = Settings(whisper_models_dir=folder.parent, whisper_engine=setting)  # type: ignore[arg-type]
        return type(engine_for(resolve_model("mine", settings), settings))

    assert [engine(setting) for setting in ("auto", "whisper.cpp", "ctranslate2")] == [
        WhisperCpp,
        WhisperCpp,
        CTranslate2,
    ]


def test_name_when_the_other_kind_alone_is_there_then_is_not_found(folder: Path) -> None:
    only_files = Settings(whisper_models_dir=folder.parent, whisper_engine="whisper.cpp")
    with pytest.raises(ModelNotFoundError):
        resolve_model("mine", only_files)
    only_folders = Settings(whisper_models_dir=folder.parent, whisper_engine="ctranslate2")
    with pytest.raises(ModelNotFoundError, match="`stt models download base --engine ctranslate2`"):
        resolve_model("base", only_folders)


def test_settings_when_path_and_engine_do_not_go_together_then_say_so(
    folder: Path, demo_model: WhisperModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for engine, path in (("whisper.cpp", folder), ("ctranslate2", demo_model.path)):
        monkeypatch.setenv("WHISPER_ENGINE", engine)
        monkeypatch.setenv("WHISPER_MODEL", str(path))
        with pytest.raises(ConfigurationError, match=f"WHISPER_MODEL is a .*WHISPER_ENGINE is {engine}"):
            load_settings()


def test_folder_when_a_file_changes_then_has_another_digest(folder: Path) -> None:
    settings = Settings(whisper_model=str(folder))
    before = resolve_model(str(folder), settings).digest
    (folder / "tokenizer.json").write_bytes(b"[1]")
    assert resolve_model(str(folder), settings).digest != before


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop("tokenizer.json"), r"has no tokenizer\.json"),
        (drop("vocabulary.txt"), r"has no vocabulary\.json or vocabulary\.txt"),
        (write("model.bin", b"\x06\0\0\0"), r"model\.bin is not a CTranslate2 model"),
        (write("model.bin", write_ctranslate2({})), "not a usable model"),
        (write("config.json", b"{"), "not a usable model"),
        (write("preprocessor_config.json", json.dumps({"feature_size": 128}).encode()), "tells of 128 filters"),
        (write("preprocessor_config.json", b"[]"), "not a usable model"),
    ],
)
def test_folder_when_it_is_not_whole_then_is_refused(
    damage: Callable[[Path], None], message: str, folder: Path
) -> None:
    damage(folder)
    with pytest.raises(ModelInvalidError, match=message):
        resolve_model(str(folder), Settings(whisper_model=str(folder)))


def test_folder_when_it_is_gone_after_it_was_resolved_then_is_not_found(folder: Path) -> None:
    model = resolve_model(str(folder), Settings(whisper_model=str(folder)))
    shutil.rmtree(folder)
    with pytest.raises(ModelNotFoundError):
        model.check()


def test_engine_when_faster_whisper_is_not_installed_then_says_how_to_install_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        raise ctranslate2.PackageNotFoundError(name)

    monkeypatch.setattr(ctranslate2, "version", version)
    settings = Settings(whisper_model=str(folder))
    with pytest.raises(ExecutableNotFoundError, match="needs faster-whisper") as caught:
        engine_for(resolve_model(str(folder), settings), settings)
    assert "make ctranslate2" in (caught.value.mend or "")


def test_fingerprint_holds_all_that_changes_the_text(folder: Path) -> None:
    settings = Settings(whisper_model=str(folder))
    engine = engine_for(resolve_model(str(folder), settings), settings)
    assert isinstance(engine, CTranslate2)
    decodings = [
        Decoding(),
        Decoding(beam_size=1),
        Decoding(best_of=1),
        Decoding(prompt="Ada"),
        Decoding(temperature=0.2),
    ]
    fingerprints = [json.dumps(engine.fingerprint(decoding, "en")) for decoding in decodings]
    other = CTranslate2(engine.model, "0.0.0")
    assert len({*fingerprints, json.dumps(other.fingerprint(Decoding(), "en"))}) == len(decodings) + 1
