"""Models by name: where their files lie, what there is to choose from, what a chosen one is.

A model is a ggml file, which whisper.cpp reads, or a folder in faster-whisper's format, which CTranslate2 reads. A name
is one of the catalogue, or that of any `ggml-<name>.bin` or folder the user put into `WHISPER_MODELS_DIR`. A path is
taken from the settings only (`WHISPER_MODEL`), never from a caller of the API.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stt_core.errors import ModelChangedError, ModelNotFoundError
from stt_core.logs import get_logger
from stt_core.options import model_name
from stt_core.settings import Settings
from stt_core.whisper.catalog import CATALOG, CatalogEntry
from stt_core.whisper.ctranslate2 import MODEL_FILE, folder_digest, is_model_folder, validate_folder
from stt_core.whisper.ggml import file_digest, validate_model

logger = get_logger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class WhisperModel:
    """A model that is there and sound."""

    name: str
    path: Path
    multilingual: bool
    digest_dir: Path | None = None

    @property
    def is_folder(self) -> bool:
        """Whether it is in faster-whisper's format."""
        return self.path.is_dir()

    @property
    def digest(self) -> str:
        """SHA-256 of the file, or over those of the folder, as it is now; computed once, until a file changes."""
        return (folder_digest if self.is_folder else file_digest)(self.path, self.digest_dir)

    def check(self) -> None:
        """Look at its files once more: they may have been damaged since it was resolved.

        Raises:
            ModelNotFoundError: They are gone.
            ModelInvalidError: They are damaged.
        """
        _is_multilingual(self.path)

    def ensure_unchanged(self, digest: str) -> None:
        """Refuse a file that is another one than a run began with.

        Raises:
            ModelChangedError: Its SHA-256 is not this one.
        """
        if self.digest != digest:
            raise ModelChangedError(
                f"The model {self.name} is another file than this run began with: its SHA-256 begins with "
                f"{self.digest[:12]} on this host, not with {digest[:12]}.",
                mend="Put the same file in place on every host; then `stt retry` begins with what is there.",
            )


@dataclass(frozen=True)
class ListedModel:
    """A row of `stt models list`; sizes are bytes."""

    name: str
    description: str
    size_bytes: int
    installed: bool
    notice: str | None = None


def resolve_model(name_or_path: str, settings: Settings, *, digest: str | None = None) -> WhisperModel:
    """Find a model, check its file, and warn, once in a process, where it needs a warning.

    Args:
        name_or_path: A name of `list_models`, or the path that `WHISPER_MODEL` holds.
        settings: Where models lie.
        digest: That of the model with which a run began; None takes the one that is there.

    Raises:
        ModelNotFoundError: No such model, or it is not downloaded; the mend names the command.
        ModelInvalidError: Its file is damaged.
        ModelChangedError: Its file is another one than the run began with.
    """
    entry = CATALOG.get(name_or_path)
    path = _find(name_or_path, entry, settings)
    multilingual = _is_multilingual(path)
    if entry is not None and entry.notice:
        _warn_once(entry.notice)
    model = WhisperModel(
        name=model_name(name_or_path) if entry is None else entry.name,
        path=path,
        multilingual=multilingual,
        digest_dir=settings.whisper_models_dir / ".digests",
    )
    if digest is not None:
        model.ensure_unchanged(digest)
    return model


def list_models(settings: Settings) -> list[ListedModel]:
    """Return every model that can be named: the catalogue, then the user's own files."""
    listed = [
        ListedModel(
            entry.name, entry.description, entry.size_bytes, model_path(entry, settings).is_file(), entry.notice
        )
        for entry in CATALOG.values()
    ]
    published = {entry.file for entry in CATALOG.values()}
    for path in sorted(settings.whisper_models_dir.glob("ggml-*.bin")):
        if path.name not in published:
            name = path.stem.removeprefix("ggml-")
            listed.append(ListedModel(name, f"Your own file {path}", path.stat().st_size, installed=True))
    for path in sorted(settings.whisper_models_dir.glob(f"*/{MODEL_FILE}")):
        folder = path.parent
        if _NAME.fullmatch(folder.name):
            listed.append(ListedModel(folder.name, "For CTranslate2", path.stat().st_size, installed=True))
    return listed


def model_path(entry: CatalogEntry, settings: Settings) -> Path:
    """Return where the file of a catalogue entry lies, or will once it is downloaded."""
    return entry.bundled or settings.whisper_models_dir / entry.file


def folder_path(name: str, settings: Settings) -> Path:
    """Return where a model of the catalogue lies, or will once it is downloaded, in faster-whisper's format."""
    return settings.whisper_models_dir / f"faster-whisper-{name}"


def _is_multilingual(path: Path) -> bool:
    """Check a model, and say whether it knows other languages than English."""
    return validate_folder(path) if path.is_dir() else validate_model(path).multilingual


@lru_cache
def _warn_once(notice: str) -> None:
    logger.warning("{}", notice)


def _find(name: str, entry: CatalogEntry | None, settings: Settings) -> Path:
    if entry is None and name == settings.whisper_model:  # what others name is no path, and `~nobody` has no home
        given = Path(name).expanduser()
        if given.is_file() or is_model_folder(given):
            return given.absolute()
    candidates = [path for path in _candidates(name, entry, settings) if path.is_file() or is_model_folder(path)]
    if candidates:
        return candidates[0]
    if entry is not None:
        option = " --engine ctranslate2" if settings.whisper_engine == "ctranslate2" else ""
        raise ModelNotFoundError(
            f"The model {name} is not downloaded.", mend=f"Run `stt models download {name}{option}`."
        )
    if os.sep not in name:
        mend = f"`stt models list` shows what there is, for example {', '.join(list(CATALOG)[:6:2])}; "
        mend += "`stt models download NAME` fetches one."
    elif name == settings.whisper_model:
        mend = "What WHISPER_MODEL names is gone. Put it back, or set WHISPER_MODEL to another."
    else:
        mend = (
            "WHISPER_MODEL was the path of this model, and is not any more. Set it back, or send the recording again."
        )
    raise ModelNotFoundError(f"There is no model named {model_name(name)[:80]!r}.", mend=mend)


def _candidates(name: str, entry: CatalogEntry | None, settings: Settings) -> Iterator[Path]:
    """Yield where a model of this name may lie, the best place first."""
    if not _NAME.fullmatch(name):
        return
    if settings.whisper_engine != "ctranslate2":
        yield model_path(entry, settings) if entry else settings.whisper_models_dir / f"ggml-{name}.bin"
    if settings.whisper_engine != "whisper.cpp":
        yield folder_path(name, settings)
        yield settings.whisper_models_dir / name
