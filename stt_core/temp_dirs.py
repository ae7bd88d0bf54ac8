"""Temporary folders that do not outlive the process that made them, however that ends.

What a killed process leaves behind, another must remove, and a pid in a name would not tell which: containers share
folders, and know different processes by the same number. So a folder holds a file that its owner locks, and whoever
else needs it. The kernel frees the lock however they end, and whoever can have it alone deletes the folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stt_core.logs import get_logger

logger = get_logger(__name__)

_PREFIX = "stt-"
_LOCK = ".stt-owner"


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Make a folder, named for its purpose, that is removed with the block; after a kill others remove it."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-"))
    lock = os.open(folder / "draft", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        (folder / "draft").rename(folder / _LOCK)  # nobody sees it before it is locked
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def shared_temporary_folder(folder: Path) -> Iterator[None]:
    """Keep the folder of another process while the block runs; should that be killed meanwhile, remove it then.

    Raises:
        FileNotFoundError: It is gone.
    """
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)
        remove_abandoned_folders()


def remove_abandoned_folders() -> int:
    """Remove the folders of processes that were killed on this host; return how many there were."""
    removed = 0
    for file in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            lock = os.open(file, os.O_RDWR | os.O_NOFOLLOW)
        except OSError as error:
            logger.debug("{} is another user's, or gone: {}", file, error)
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            logger.warning("removing {}: its process was killed", file.parent)
            shutil.rmtree(file.parent, ignore_errors=True)
            removed += 1
        except BlockingIOError as error:
            logger.trace("{} is in use: {}", file.parent, error)
        finally:
            os.close(lock)
    return removed
