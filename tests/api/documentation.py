"""The examples of docs/api.md, led to the API of a test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import httpx

from tests.api.conftest import REPOSITORY

#: The text below each heading.
SECTIONS: dict[str, str] = dict(
    section.split("\n", 1) for section in (REPOSITORY / "docs" / "api.md").read_text("utf-8").split("\n## ")
)


def led_to(client: httpx.Client, text: str) -> str:
    """Return a text with the address of the client's API."""
    return text.replace("http://127.0.0.1:8000", str(client.base_url).rstrip("/"))


def example(client: httpx.Client, heading: str, language: str) -> str:
    """Return a section's first example in a language."""
    return led_to(client, SECTIONS[heading].partition(f"```{language}\n")[2].partition("```")[0])


def run(script: str, folder: Path, **environment: str) -> str:
    """Run commands as people do, and return what they print; one that fails is said with what it was answered."""
    script = script.replace("curl -s", "curl -sS --fail-with-body -w '\\n'")
    done = subprocess.run(
        ["bash", "-ec", script], env=os.environ | environment, cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
