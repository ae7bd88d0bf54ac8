"""Models by name: where their files lie, what there is to choose from, what a chosen one is.

A name is one of the catalogue, or that of any `ggml-<name>.bin` the user put into `WHISPER_MODELS_DIR`. A path is taken
from the settings only (`WHISPER_MODEL`), never from a caller of the API.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from stt_core.errors import ModelNotFoundError
from stt_core.logs import get_logger, logged
from stt_core.settings import Settings
from stt_core.whisper.catalog import CATALOG, DEFAULT_FLAGS, CatalogEntry
from stt_core.whisper.ggml import file_digest, validate_model

logger = get_logger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class WhisperModel:
    """A model that is there and sound."""

    name: str
    path: Path
    multilingual: bool
    default_flags: tuple[str, ...] = DEFAULT_FLAGS
    #: What whoever selects the model must be told.
    notice: str | None = None
    digest_dir: Path | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, computed at the first use."""
        return file_digest(self.path, self.digest_dir)


@dataclass(frozen=True)
class ListedModel:
    """A row of `stt models list`; sizes are bytes."""

    name: str
    description: str
    size_bytes: int
    installed: bool
    notice: str | None = None


@logged
def resolve_model(name_or_path: str, settings: Settings) -> WhisperModel:
    """Find a model, check its file, and warn, once in a process, where it needs a warning.

    Args:
        name_or_path: A name of `list_models`, or the path that `WHISPER_MODEL` holds.
        settings: Where models lie.

    Raises:
        ModelNotFoundError: No such model, or it is not downloaded; the mend names the command.
        ModelInvalidError: Its file is damaged.
    """
    entry = CATALOG.get(name_or_path)
    path = _find(name_or_path, entry, settings)
    header = validate_model(path)
    if entry is not None and entry.notice:
        _warn_once(entry.notice)
    return WhisperModel(
        name=path.stem.removeprefix("ggml-") if entry is None else entry.name,
        path=path,
        multilingual=header.multilingual,
        default_flags=DEFAULT_FLAGS if entry is None else entry.default_flags,
        notice=None if entry is None else entry.notice,
        digest_dir=settings.whisper_models_dir / ".digests",
    )


@logged
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
    return listed


@logged
def model_path(entry: CatalogEntry, settings: Settings) -> Path:
    """Return where the file of a catalogue entry lies, or will once it is downloaded."""
    return entry.bundled or settings.whisper_models_dir / entry.file


@lru_cache
def _warn_once(notice: str) -> None:
    logger.warning("{}", notice)


def _find(name: str, entry: CatalogEntry | None, settings: Settings) -> Path:
    if entry is not None:
        path = model_path(entry, settings)
        if not path.is_file():
            raise ModelNotFoundError(
                f"The model {name} is not downloaded (there is no {path}).", mend=f"Run `stt models download {name}`."
            )
        return path
    if name == settings.whisper_model and Path(name).expanduser().is_file():
        return Path(name).expanduser().resolve()
    own = settings.whisper_models_dir / f"ggml-{name}.bin"
    if _NAME.fullmatch(name) and own.is_file():
        return own
    raise ModelNotFoundError(
        f"There is no model named {name[:80]!r}.",
        mend=f"`stt models list` shows what there is, for example {', '.join(list(CATALOG)[:6:2])}; "
        "`stt models download NAME` fetches one.",
    )
