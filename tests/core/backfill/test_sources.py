"""`BACKFILL_SOURCES`: what is taken, what is refused, and what a source says of an object."""

from __future__ import annotations

import json

import pytest

from stt_core.errors import ConfigurationError
from stt_core.options import Channels, JobOptions
from stt_core.settings import Settings, load_settings
from stt_core.sources import BackfillSource, find_source

CALLS = {"bucket": "calls", "prefix": "2026/"}


def sources_of(*sources: dict[str, object], **variables: str) -> Settings:
    return Settings.model_validate({"BACKFILL_SOURCES": json.dumps(sources), **variables})


def options_of(source: BackfillSource, settings: Settings, model: str | None = None) -> JobOptions:
    defaults = {"default_language": settings.whisper_language, "default_model": settings.whisper_model}
    return source.job_options(**defaults, model=model)


def test_sources_when_not_set_then_there_are_none() -> None:
    assert Settings.model_validate({"BACKFILL_SOURCES": ""}).backfill_sources == ()


def test_sources_when_set_in_the_environment_then_they_are_read_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKFILL_SOURCES", json.dumps([CALLS, {"bucket": "talks", "language": "en"}]))

    settings = load_settings()

    assert [source.name for source in settings.backfill_sources] == ["calls/2026/", "talks/"]
    assert settings.backfill_sources[1].language == "en"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("calls", "JSON list"),
        ('{"bucket": "calls"}', "BACKFILL_SOURCES"),
        ('[{"bucket": "Calls"}]', "BACKFILL_SOURCES"),
        ('[{"prefix": "2026/"}]', "BACKFILL_SOURCES"),
        ('[{"bucket": "calls", "langage": "en"}]', "BACKFILL_SOURCES"),
        ('[{"bucket": "calls", "language": "klingon"}]', "klingon"),
        ('[{"bucket": "calls", "languages": "de,klingon"}]', "klingon"),
        ('[{"bucket": "calls", "languages": "de,en", "language": "de"}]', "leaves nothing to choose"),
        ('[{"bucket": "calls", "output": "Not A Bucket/x"}]', "BACKFILL_SOURCES"),
        ('[{"bucket": "calls"}, {"bucket": "calls", "prefix": "2026/"}]', "calls/2026/ lies within calls/"),
        ('[{"bucket": "calls", "prefix": "a"}, {"bucket": "calls", "prefix": "a", "glob": "*.mp3"}]', "lies within"),
        ('[{"bucket": "stt", "prefix": "uploads/"}]', "our own objects"),
        ('[{"bucket": "calls", "prefix": "texts/calls/", "output": "calls/texts/"}]', "our own objects"),
    ],
)
def test_sources_when_wrong_then_the_variable_and_the_reason_are_named(
    value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKFILL_SOURCES", value)

    with pytest.raises(ConfigurationError, match="BACKFILL_SOURCES") as caught:
        load_settings()

    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("glob", "key", "expected"),
    [
        ("**", "2026/a/b.wav", True),
        ("**", "2025/a.wav", False),
        ("*.wav", "2026/a/b.wav", True),
        ("*.wav", "2026/b.mp3", False),
        ("may/*", "2026/may/b.mp3", True),
        ("may/*", "2026/june/b.mp3", False),
        ("*.wav", "2026/b.WAV", False),
        ("call ?.wav", "2026/call ü.wav", True),
    ],
)
def test_source_when_asked_for_a_key_then_prefix_and_glob_decide(glob: str, key: str, expected: bool) -> None:
    source = BackfillSource(bucket="calls", prefix="2026/", glob=glob)

    assert source.matches(key) is expected
    assert (find_source([source], "calls", key) is source) is expected
    assert find_source([source], "talks", key) is None


def test_source_when_it_names_options_then_a_job_has_them_and_the_system_s_for_the_rest() -> None:
    settings = sources_of(
        CALLS | {"channels": "split", "prompt": "Dr. Who"}, WHISPER_LANGUAGE="de", WHISPER_MODEL="tiny"
    )
    (source,) = settings.backfill_sources

    options = options_of(source, settings)

    assert (options.channels, options.prompt) == (Channels.SPLIT, "Dr. Who")
    assert (options.language, options.model) == ("de", "tiny")
    assert options_of(source, settings, model="small").model == "small"


@pytest.mark.parametrize(
    ("output", "prefix", "place"),
    [
        (None, "transcripts/", ("stt", "transcripts/")),
        (None, "texts", ("stt", "texts/")),
        ("texts", "transcripts/", ("texts", "")),
        ("texts/2026", "transcripts/", ("texts", "2026/")),
        ("calls/", "transcripts/", ("calls", "")),
    ],
)
def test_source_when_it_names_an_output_then_transcripts_go_there(
    output: str | None, prefix: str, place: tuple[str, str]
) -> None:
    settings = sources_of(CALLS | {"output": output}, BACKFILL_OUTPUT_PREFIX=prefix)

    assert settings.backfill_sources[0].output_place("stt", settings.backfill_output_prefix) == place


def test_own_prefixes_when_transcripts_go_into_a_source_then_they_are_no_recordings() -> None:
    settings = sources_of({"bucket": "calls", "output": "calls/texts/"}, {"bucket": "stt"})

    assert settings.own_prefixes("calls") == ("texts/calls/",)
    assert {"transcripts/stt/", "uploads/", "results/", "chunks/"} < set(settings.own_prefixes("stt"))


def test_options_when_languages_are_named_then_jobs_choose_from_them_whatever_the_default_is() -> None:
    settings = sources_of(
        {"bucket": "aaa", "languages": ["en", "de"]},
        {"bucket": "bbb", "languages": "German, en"},
        {"bucket": "ccc", "languages": "de"},
        {"bucket": "ddd"},
        WHISPER_LANGUAGE="fr",
    )
    chosen = [options_of(source, settings) for source in settings.backfill_sources]
    assert [(one.language, one.languages) for one in chosen] == [
        ("auto", ("de", "en")), ("auto", ("de", "en")), ("de", ()), ("fr", ()),
    ]  # fmt: skip
