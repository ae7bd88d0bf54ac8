"""Real weights and human recordings: fetched once, kept between runs, and checked.

A machine that cannot fetch them skips these tests and says why; where `CI` is set they fail instead.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from stt_core.errors import ModelDownloadError, PackageUnavailableError
from stt_core.settings import Settings
from stt_core.whisper.download import Source, download_model

#: Where `stt models download` keeps them by default: what is there already is not fetched again.
MODELS = Path(Settings.model_fields["whisper_models_dir"].default).expanduser()

#: Prompts of a telephone system in US English, spoken by Allison Smith (CC BY-SA 3.0), 8 kHz, and what they say:
#: Debian's packages, by version and SHA-256. They are read as data.
VERSION = "1.6.1-1"
SOUNDS = ("asterisk-core-sounds-en-wav", "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d")
TEXTS = ("asterisk-core-sounds-en", "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50")


@dataclass(frozen=True)
class Prompt:
    recording: Path
    text: str


def go_without(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def fetching() -> Iterator[None]:
    try:
        yield
    except (ModelDownloadError, PackageUnavailableError) as error:
        go_without(str(error))


@pytest.fixture(scope="session")
def kept(pytestconfig: pytest.Config) -> Path:
    """Folder that outlives the run."""
    assert pytestconfig.cache is not None
    return pytestconfig.cache.mkdir("speech")


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one of pytest-xdist's workers fetch."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def real_model(kept: Path) -> Callable[[str], Path]:
    """Return a function that fetches a real model, unless it is there, and returns its path."""

    def fetch(name: str) -> Path:
        with one_at_a_time(kept), fetching():
            settings = Settings(whisper_models_dir=MODELS)
            return download_model(name, settings, lambda done, total: None, Source.AUTO)

    return fetch


@pytest.fixture(scope="session")
def prompts(kept: Path) -> list[Prompt]:
    """Whole sentences of plain words, 5 s and longer, in the order of their names."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        go_without("no apt-get here that human recordings could be fetched with")
    with one_at_a_time(kept):
        sounds, texts = (_unpack(*package, kept) for package in (SOUNDS, TEXTS))
    recordings = sounds / "usr/share/asterisk/sounds/en_US_f_Allison"
    written = gzip.decompress((texts / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz").read_bytes())
    found = []
    for line in sorted(written.decode("utf-8", "replace").splitlines()):
        name, _, text = line.partition(": ")
        recording = recordings / f"{name}.wav"
        if re.fullmatch(r"(?!\.\.\.)[A-Za-z',.;?! -]+[.?!]\s*", text) and "www." not in text and recording.is_file():
            with wave.open(str(recording), "rb") as audio:
                if audio.getnframes() / audio.getframerate() >= 5:
                    found.append(Prompt(recording, text))
    return found


def _unpack(name: str, sha256: str, folder: Path) -> Path:
    target = folder / f"{name}_{VERSION}"
    if not target.is_dir():
        done = subprocess.run(
            ["apt-get", "-qq", "download", f"{name}={VERSION}"], cwd=folder, capture_output=True, text=True
        )
        [package] = folder.glob(f"{name}_{VERSION}_*.deb") or [None]
        if package is None:
            go_without(f"apt-get has no {name} {VERSION} here: {done.stderr.strip()}")
        assert hashlib.sha256(package.read_bytes()).hexdigest() == sha256, f"{package} is another file"
        partial = target.with_suffix(".partial")
        subprocess.run(["dpkg-deb", "-x", package, partial], check=True)
        partial.rename(target)
        package.unlink()
    return target
