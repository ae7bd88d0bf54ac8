"""Names, paths and languages of models."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import _pywhispercpp as engine
import loguru
import pytest

from stt_core.errors import (
    LanguageChoiceError,
    ModelChangedError,
    ModelInvalidError,
    ModelNotFoundError,
    UnknownLanguageError,
)
from stt_core.languages import LANGUAGES, check_language, check_languages, resolve_languages
from stt_core.logs import add_sink
from stt_core.settings import Settings
from stt_core.whisper.catalog import CATALOG
from stt_core.whisper.ggml import file_digest
from stt_core.whisper.models import WhisperModel, _warn_once, list_models, resolve_model


def test_demo_when_resolved_then_is_the_bundled_file_and_warns(settings: Settings) -> None:
    model = resolve_model("demo", settings)
    assert "266" in (CATALOG["demo"].notice or "")
    assert not model.multilingual
    assert model.digest == "21440cb552bb54c567ec48cdc0fbd1f4c9bab78cfda4a3c6583bea29427d625a"
    assert model.digest in (model.path.parent / "MODEL_CARD.md").read_text()


def test_demo_when_resolved_again_then_warns_no_more(settings: Settings) -> None:
    lines: list[str] = []
    _warn_once.cache_clear()  # this process has warned already
    sink = add_sink(lambda message: lines.append(str(message)), level="WARNING")
    try:
        for _ in range(3):
            resolve_model("demo", settings)
    finally:
        loguru.logger.remove(sink)
    assert len([line for line in lines if "266" in line]) == 1


def test_demo_is_never_what_somebody_gets_who_did_not_ask(settings: Settings) -> None:
    assert settings.whisper_model != "demo"
    with pytest.raises(ModelNotFoundError):
        resolve_model(settings.whisper_model, settings)


def test_resolving_when_a_model_is_not_downloaded_then_names_the_command(settings: Settings) -> None:
    with pytest.raises(ModelNotFoundError, match="`stt models download large-v3-turbo`"):
        resolve_model("large-v3-turbo", settings)


@pytest.mark.parametrize("name", ["bass", "", "../../etc/passwd", "/etc/passwd", "demo.bin", "x" * 300, "~nobody"])
def test_resolving_when_the_name_is_unknown_then_says_so(name: str, settings: Settings) -> None:
    with pytest.raises(ModelNotFoundError, match="no model named"):
        resolve_model(name, settings)


def test_resolving_when_the_user_has_an_own_file_then_finds_it_by_name(
    tmp_path: Path, demo_model: WhisperModel
) -> None:
    settings = Settings(whisper_models_dir=tmp_path)
    shutil.copy(demo_model.path, tmp_path / "ggml-mine.bin")
    model = resolve_model("mine", settings)
    assert (model.name, model.path) == ("mine", tmp_path / "ggml-mine.bin")
    assert model.digest == demo_model.digest
    assert [row.name for row in list_models(settings) if row.installed] == ["demo", "mine"]


def test_resolving_when_the_setting_is_a_path_then_takes_that_path_only(
    tmp_path: Path, demo_model: WhisperModel
) -> None:
    path, other = tmp_path / "a.bin", tmp_path / "b.bin"
    for target in (path, other):
        shutil.copy(demo_model.path, target)
    settings = Settings(whisper_model=str(path))
    assert resolve_model(str(path), settings).path == path
    with pytest.raises(ModelNotFoundError):
        resolve_model(str(other), settings)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("{folder}/my model.v2", "my model.v2"),
        ("{folder}/base.bin", "base"),
        ("{folder}/ggml-.bin", "ggml-.bin"),
        ("~/ggml-a b.c.bin", "a b.c"),
        ("./models here/-x", "-x"),
        ("plain.bin", "plain"),
    ],
)
def test_resolving_when_the_path_is_odd_then_finds_the_file_and_names_it_without_its_folder(
    tmp_path: Path, demo_model: WhisperModel, monkeypatch: pytest.MonkeyPatch, asked: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    asked = asked.format(folder=tmp_path)
    path = tmp_path / Path(asked).expanduser()
    path.parent.mkdir(exist_ok=True)
    shutil.copy(demo_model.path, path)
    model = resolve_model(asked, Settings(whisper_model=asked, whisper_models_dir=tmp_path / "nowhere"))
    assert (model.name, model.path, model.digest) == (name, path, demo_model.digest)


def test_resolving_when_the_path_is_a_link_then_keeps_the_name_that_the_user_gave(
    tmp_path: Path, demo_model: WhisperModel
) -> None:
    link = tmp_path / "ggml-in use.bin"
    link.symlink_to(demo_model.path)
    model = resolve_model(str(link), Settings(whisper_model=str(link)))
    assert (model.name, model.digest) == ("in use", demo_model.digest)


def test_resolving_when_another_digest_is_expected_then_says_both(settings: Settings, demo_model: WhisperModel) -> None:
    assert resolve_model("demo", settings, digest=demo_model.digest) == demo_model
    with pytest.raises(ModelChangedError, match=f"begins with {demo_model.digest[:12]} on this host, not with 0{{12}}"):
        resolve_model("demo", settings, digest="0" * 64)


def test_resolving_when_a_path_is_not_the_setting_any_more_then_names_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no model named 'mine'") as caught:
        resolve_model(str(tmp_path / "ggml-mine.bin"), Settings())
    assert str(tmp_path) not in str(caught.value) and "WHISPER_MODEL" in (caught.value.mend or "")


def test_digest_when_the_file_is_replaced_by_one_of_its_size_and_date_then_is_the_new_ones(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"one")
    other.write_bytes(b"two")
    before = file_digest(path, tmp_path / "digests")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert file_digest(path, tmp_path / "digests") == hashlib.sha256(b"two").hexdigest() != before


def test_resolving_when_the_file_is_damaged_then_refuses_it(tmp_path: Path) -> None:
    (tmp_path / "ggml-base.bin").write_bytes(b"<html>not a model</html>")
    with pytest.raises(ModelInvalidError, match=r"ggml-base\.bin"):
        resolve_model("base", Settings(whisper_models_dir=tmp_path))


def test_catalogue_holds_a_digest_for_all_that_is_downloaded() -> None:
    for entry in CATALOG.values():
        assert entry.bundled or len(bytes.fromhex(entry.sha1)) == hashlib.sha1().digest_size
        assert entry.file.endswith(".bin")


def test_language_table_is_the_engines() -> None:
    assert list(LANGUAGES) == [engine.whisper_lang_str(number) for number in range(engine.whisper_lang_max_id() + 1)]


@pytest.mark.parametrize(
    ("asked", "code"),
    [("en", "en"), (" DE ", "de"), ("German", "de"), ("auto", "auto"), ("Auto-per-chunk", "auto-per-chunk")],
)
def test_language_when_known_then_becomes_its_code(asked: str, code: str) -> None:
    assert check_language(asked) == code


@pytest.mark.parametrize("asked", ["xx", "", "english!", "en-GB"])
def test_language_when_unknown_then_is_refused(asked: str) -> None:
    with pytest.raises(UnknownLanguageError, match="does not know"):
        check_language(asked)


def test_language_when_the_model_speaks_english_only_then_others_are_refused(demo_model: WhisperModel) -> None:
    assert check_language("auto", demo_model) == "auto"
    assert check_language("auto-per-chunk", demo_model) == "auto-per-chunk"
    assert check_language("en", demo_model) == "en"
    with pytest.raises(UnknownLanguageError, match="demo speaks English only, not german"):
        check_language("de", demo_model)


def test_languages_when_given_in_any_way_then_are_codes_in_order() -> None:
    assert check_languages(["German", " en", "DE"]) == ("de", "en")
    assert check_languages(["en", "de"], language="auto") == ("de", "en")
    assert check_languages([], language="fr") == ()


@pytest.mark.parametrize(
    ("languages", "language", "reason"),
    [
        (["de", "klingon"], None, "languages: Whisper does not know the language 'klingon'"),
        (["de", "auto"], None, "'auto' is not a language"),
        (["de", ""], None, "does not know the language ''"),
        (["de", "en"], "de", "language='de' leaves nothing to choose"),
        (["de", "en"], "auto-per-chunk", "language='auto-per-chunk' leaves nothing to choose"),
    ],
)
def test_languages_when_there_is_nothing_to_choose_then_are_refused(
    languages: list[str], language: str | None, reason: str
) -> None:
    with pytest.raises(LanguageChoiceError, match=reason) as caught:
        check_languages(languages, language=language)
    assert caught.value.status == 422


def test_languages_when_the_model_speaks_english_only_then_are_refused(demo_model: WhisperModel) -> None:
    assert check_languages([], model=demo_model) == ()
    with pytest.raises(LanguageChoiceError, match="demo speaks English only"):
        check_languages(["en"], model=demo_model)


@pytest.mark.parametrize(
    ("language", "languages", "resolved"),
    [
        (None, [], ("fr", ())),
        ("German", [], ("de", ())),
        (None, ["en", "de"], ("auto", ("de", "en"))),
        ("auto", ["en", "de"], ("auto", ("de", "en"))),
        (None, ["de", "german"], ("de", ())),
    ],
)
def test_languages_when_resolved_then_say_what_is_chosen_from(
    language: str | None, languages: list[str], resolved: tuple[str, tuple[str, ...]]
) -> None:
    assert resolve_languages(language, languages, default="fr") == resolved
