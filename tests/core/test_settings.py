"""Settings: the defaults people rely on, the values that are refused, and the secrets that stay secret."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic import SecretStr

from stt_core.errors import ConfigurationError
from stt_core.logs import setup_logging
from stt_core.settings import Settings, former_settings, get_settings, load_settings

ENV_EXAMPLE = Path(__file__).parents[2] / ".env.example"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours is set, and no `.env` lies in the working directory."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")


@pytest.mark.parametrize(
    ("variable", "field", "default", "given", "read"),
    [
        ("MONGODB_URL", "mongodb_url", "mongodb://localhost:27017", "mongodb://db:1", "mongodb://db:1"),
        ("MONGODB_DATABASE", "mongodb_database", "stt_system", "other", "other"),
        ("MONGODB_MAX_POOL_SIZE", "mongodb_max_pool_size", 10, "20", 20),
        ("MONGODB_MIN_POOL_SIZE", "mongodb_min_pool_size", 1, "2", 2),
        ("REDIS_HOST", "redis_host", "localhost", "cache", "cache"),
        ("REDIS_PORT", "redis_port", 6379, "6380", 6380),
        ("REDIS_DB", "redis_db", 0, "3", 3),
        ("REDIS_PASSWORD", "redis_password", None, "hunter2", SecretStr("hunter2")),
    ],
)
def test_setting_when_unset_and_set_then_it_has_its_default_and_its_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, field: str, default: object, given: str, read: object
) -> None:
    assert getattr(load_settings(), field) == default
    monkeypatch.setenv(variable, given)
    assert getattr(load_settings(), field) == read


def test_settings_when_env_file_and_environment_differ_then_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("REDIS_HOST=from-file\nREDIS_PORT=7000\n")
    monkeypatch.setenv("REDIS_PORT", "7001")
    settings = load_settings()
    assert (settings.redis_host, settings.redis_port) == ("from-file", 7001)


def test_settings_when_a_variable_is_empty_then_its_default_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PORT", "")
    assert load_settings().redis_port == 6379


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("MONGODB_URL", "http://localhost", "must look like mongodb://"),
        ("MONGODB_URL", "localhost:27017", "must look like mongodb://"),
        ("MONGODB_DATABASE", "a b", "match pattern"),
        ("MONGODB_MAX_POOL_SIZE", "0", "greater than or equal to 1"),
        ("REDIS_PORT", "0", "greater than or equal to 1"),
        ("REDIS_PORT", "65536", "less than or equal to 65535"),
        ("REDIS_PORT", "six", "valid integer"),
        ("REDIS_DB", "-1", "greater than or equal to 0"),
        ("MINIO_ENDPOINT", "http://minio:9000", "match pattern"),
        ("MINIO_BUCKET", "Upper", "match pattern"),
        ("WHISPER_MODEL", f"no{os.sep}such{os.sep}model.bin", "nothing at"),
        ("WHISPER_LANGUAGE", "klingon", "does not know the language"),
        ("CHUNK_MAX_SECONDS", "31", "less than or equal to 29.5"),
        ("CHUNK_STRATEGY", "magic", "'silence', 'vad' or 'fixed'"),
        ("WHISPER_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("MAX_ATTEMPTS", "0", "greater than or equal to 1"),
        ("LOG_LEVEL", "LOUD", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
    ],
)
def test_setting_when_its_value_is_wrong_then_the_error_names_it_and_the_mend(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert re.search(rf"\b{variable}: .*{re.escape(reason)}.*got {re.escape(repr(value))}", caught.value.message)
    assert ".env.example" in str(caught.value.mend)


def test_settings_when_several_values_are_wrong_then_the_error_names_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PORT", "0")
    monkeypatch.setenv("MONGODB_URL", "x")
    with pytest.raises(ConfigurationError, match=r"MONGODB_URL: .*; REDIS_PORT: "):
        load_settings()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"MONGODB_MIN_POOL_SIZE": "11"}, "MONGODB_MIN_POOL_SIZE must not exceed MONGODB_MAX_POOL_SIZE"),
    ],
)
def test_settings_when_two_values_contradict_then_the_error_names_both(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], named: str
) -> None:
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=named):
        load_settings()


def test_settings_when_loaded_then_the_log_says_so_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URL", "mongodb://user:hunter2@db:27017")
    monkeypatch.setenv("REDIS_PASSWORD", "hunter2")
    monkeypatch.setenv("MINIO_SECRET_KEY", "hunter2")
    log = io.StringIO()
    setup_logging("DEBUG", sink=log)
    settings = load_settings()
    setup_logging(sink=sys.stderr)
    assert re.search(r"INFO .*settings loaded: mongodb_url=mongodb://user:\*\*\*@db:27017", log.getvalue())
    assert "hunter2" not in log.getvalue()
    assert "hunter2" not in f"{settings!r} {settings}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"MONGODB_URL": "mongo://user:hunter2@db"},
        {"REDIS_PASSWORD": "hunter2", "REDIS_PORT": "0"},
        {"MINIO_SECRET_KEY": "hunter2", "MONGODB_URL": "mongodb://u:hunter2@[", "MINIO_SECURE": "perhaps"},
        {"MINIO_SECRET_KEY": "hunter2", "MONGODB_MIN_POOL_SIZE": "11"},
    ],
)
def test_settings_when_refused_then_neither_the_error_nor_the_log_holds_a_secret(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]
) -> None:
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    log = io.StringIO()
    setup_logging("DEBUG", sink=log)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    setup_logging(sink=sys.stderr)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert "WARNING" in log.getvalue()
    assert "hunter2" not in log.getvalue()


def test_settings_when_asked_for_twice_then_they_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    get_settings.cache_clear()
    first = get_settings()
    monkeypatch.setenv("REDIS_PORT", "7000")
    assert get_settings() is first
    get_settings.cache_clear()


def test_settings_when_a_home_folder_is_written_as_tilde_then_it_is_expanded() -> None:
    assert load_settings().whisper_models_dir == Path("~/.cache/stt/models").expanduser()


def test_addresses_when_not_given_then_they_follow_the_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STT_API_PORT", "8123")
    monkeypatch.setenv("STT_DAGSTER_URL", "https://dagster.example/")
    settings = load_settings()
    assert (settings.api_url, settings.dagster_url) == ("http://127.0.0.1:8123", "https://dagster.example")


def _example_entries() -> list[tuple[str, str | None]]:
    """Every `NAME=value` of .env.example, also those that are commented out, with dotenv's reading of the value."""
    lines = ENV_EXAMPLE.read_text(encoding="utf-8").splitlines()
    entries = [re.sub(r"^#\s?", "", line) for line in lines if re.match(r"^(#\s?)?[A-Z][A-Z0-9_]*=", line)]
    return [pair for entry in entries for pair in dotenv_values(stream=io.StringIO(entry)).items()]


def test_env_example_when_read_then_it_has_every_setting_once_and_nothing_else() -> None:
    assert sorted(name for name, _ in _example_entries()) == sorted(name.upper() for name in Settings.model_fields)


@pytest.mark.parametrize("field", Settings.model_fields)
def test_env_example_when_read_then_it_shows_the_default(field: str) -> None:
    value = dict(_example_entries())[field.upper()]
    if value:
        shown = Settings.model_validate({field.upper(): value})
        assert getattr(shown, field) == getattr(Settings(), field)
    else:  # empty means unset, which only settings that are empty or have no fixed default may be
        information = Settings.model_fields[field]
        assert not information.default or information.default_factory is not None


def test_former_settings_when_still_set_are_named_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert former_settings() == {}
    env_file = tmp_path / ".env"
    env_file.write_text("queue_low_delay_seconds=1\n")
    monkeypatch.setitem(Settings.model_config, "env_file", str(env_file))
    monkeypatch.setenv("QUEUE_NORMAL_DELAY_SECONDS", "600")

    assert list(former_settings()) == ["QUEUE_NORMAL_DELAY_SECONDS", "QUEUE_LOW_DELAY_SECONDS"]
