"""What docs/api.md says of sending recordings, done as it says."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stt_core.settings import Settings
from tests.api.conftest import REPOSITORY, Serve, wav
from tests.web import Site

SECTION = (
    (REPOSITORY / "docs" / "api.md")
    .read_text(encoding="utf-8")
    .partition("## Sending a recording")[2]
    .partition("\n## ")[0]
)
COMMANDS = re.findall(r"`(curl [^`]+)`", SECTION)


@pytest.fixture
def place(
    serve: Serve, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """A folder with the recording, and where the addresses of the documentation really are."""
    (tmp_path / "meeting.ogg").write_bytes(wav())
    monkeypatch.chdir(tmp_path)
    with Site() as site, serve(settings.model_copy(update={"source_url_allow": ("127.0.0.1",)})) as client:
        site.pages["/meeting.ogg"] = wav()
        yield {"http://127.0.0.1:8000": str(client.base_url).rstrip("/"), "https://example.org": site.url}


def moved(text: str, place: dict[str, str]) -> str:
    for documented, real in place.items():
        text = text.replace(documented, real)
    return text


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize("command", COMMANDS, ids=["form", "body", "elsewhere"])
def test_commands_when_run_as_documented_then_the_recording_is_accepted(place: dict[str, str], command: str) -> None:
    run = subprocess.run(
        [*shlex.split(moved(command, place)), "-sS", "-o", "answer", "-w", "%{http_code}"],
        check=True, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert run.stdout == "202", Path("answer").read_text()
    assert '"filename":"meeting.ogg"' in Path("answer").read_text()


def test_program_when_run_as_documented_then_the_presigned_recording_is_queued(
    place: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    program = SECTION.partition("```python\n")[2].partition("```")[0]
    names = {"httpx": httpx}
    exec(compile(moved(program, place), "docs/api.md", "exec"), names)

    assert capsys.readouterr().out == "queued\n"
