"""`.env.example` and Settings say the same: every field, its default, and a line that explains it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from stt_cli.local_stack.home import StackHome
from stt_cli.local_stack.servers import SERVERS, given_variables, missing_servers
from stt_core.settings import Settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"
ENTRY = re.compile(r"^# (?P<comment>[^\n]+)\n#(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)$", re.MULTILINE)
ENTRIES = {match["name"]: match["value"] for match in ENTRY.finditer(EXAMPLE.read_text(encoding="utf-8"))}


def test_env_example_when_compared_with_settings_then_both_have_the_same_variables() -> None:
    assert sorted(ENTRIES) == sorted(name.upper() for name in Settings.model_fields)


def test_env_example_when_read_then_every_variable_has_its_own_comment() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert re.findall(r"^#([A-Z][A-Z0-9_]*)=", text, re.MULTILINE) == list(ENTRIES)


@pytest.mark.parametrize("field", Settings.model_fields)
def test_env_example_when_uncommented_then_every_value_is_the_default(field: str, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(f"{field.upper()}={ENTRIES[field.upper()]}\n", encoding="utf-8")
    info = Settings.model_fields[field]
    shown = getattr(Settings(_env_file=file), field)
    if info.default is PydanticUndefined:
        assert ENTRIES[field.upper()] == ""  # it depends on the machine; the comment says how
    assert shown == getattr(Settings(_env_file=None), field)


def test_env_example_when_copied_as_it_is_then_no_server_counts_as_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_bytes(EXAMPLE.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MONGODB_URL", raising=False)
    assert len(missing_servers(StackHome.at(tmp_path), given_variables())) == len(SERVERS)
