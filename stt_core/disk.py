"""What a full disk looks like, and the error it becomes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stt_core.errors import DiskFullError

#: The disk has no room, or its user has used up a quota.
_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def disk_errors(where: str, mend: str) -> Iterator[None]:
    """Turn the operating system's errors about a full disk inside the block into ours; pass every other on.

    Args:
        where: What had no room, and where: the rest of the sentence "No room left ...".
        mend: How to put it right.

    Raises:
        DiskFullError: No room.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(f"No room left {where}.", mend=mend) from error
        raise


def check_room(folder: Path, size_bytes: int) -> None:
    """Fail now rather than when the disk is full.

    Raises:
        OSError: The folder's disk has less free than that (`ENOSPC`).
    """
    if size_bytes > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
