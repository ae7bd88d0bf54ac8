"""Temporary files that are written once, from beginning to end, and hashed on the way.

Hashing is then done while more comes in. Afterwards it would be another second for a gigabyte, or stand in the way of
the object store, which takes the cores while it is written to.
"""

from __future__ import annotations

import hashlib
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from stt_core.logs import logged

#: What of a file is kept in memory, bytes.
_MEMORY_BYTES = 1024**2


class _HashedSpool(SpooledTemporaryFile[bytes]):
    """A file in memory, or once it is large unnamed on disk, with the SHA-256 of all that was ever written."""

    def __init__(self) -> None:
        super().__init__(max_size=_MEMORY_BYTES)
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return super().write(data)


@logged
def new_spool() -> BinaryIO:
    """Return an empty temporary file, which is gone when it is closed."""
    return cast("BinaryIO", _HashedSpool())


@logged
def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 of a file, in hexadecimal; one that is no spool is read for it, and left at its start."""
    if isinstance(file, _HashedSpool):
        return file.sha256.hexdigest()
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]  # what is open for bytes has `readinto`
    file.seek(0)
    return digest.hexdigest()
