"""Connections to the object store: how long a silent server is waited for, and what is asked for again."""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import urllib3

from stt_core.errors import DiskFullError, StoreRefusedError

# It would tell of every try of a request that fails, which is told of in one line when no try is left.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

#: Block size of requests' bodies, bytes: the limit on silence holds for each block of a slow upload.
_SEND_SIZE = 64 * 1024
#: What of a file is read at once, bytes.
_READ_SIZE = 1024**2
#: How long a server may be silent, seconds: while a connection opens or a block is sent, and before an answer or its
#: next bytes. A transfer that goes on may take as long as it takes.
_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 8.0
#: The same for listings: the embedded server reads a folder of 100 000 files, 5 to 12 s, before it answers.
_LISTING_SECONDS = 30.0
#: The same for questions that are answered at once or not at all: signs of life, and tidying up after an error.
_PROBE_SECONDS = 3.0


def is_silence(error: Exception | None) -> bool:
    """Return whether a server let a limit of time pass, unlike one that refused or broke a connection."""
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)
    sending = isinstance(error, urllib3.exceptions.ProtocolError) and isinstance(error.args[-1], TimeoutError)
    return sending or (isinstance(error, urllib3.exceptions.TimeoutError) and not refused)


class _Retry(urllib3.Retry):
    """Asks again what was refused or broken off, but not a server that is silent: it was waited for already."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        if error is not None and is_silence(error):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


class FileBody:
    """The first bytes of a file as the body of a request, read anew each time that the request is made.

    Args:
        file: A file that can be sought.
        size: How many bytes.
        on_sent: Called when they were all sent, while the server has yet to answer.
    """

    def __init__(self, file: BinaryIO, size: int, on_sent: Callable[[], object]) -> None:
        self._file = file
        self._size = size
        self._on_sent = on_sent

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[memoryview]:
        """Yield what is sent at once.

        Raises:
            StoreRefusedError: The file is shorter, or cannot be read. (The connection's own errors are tried again.)
        """
        try:
            self._file.seek(0)
            left = self._size
            while left:
                block = memoryview(self._file.read(min(left, _READ_SIZE)))
                if not block:
                    raise StoreRefusedError(f"The stream has not enough bytes: {left} of {self._size} are missing.")
                left -= len(block)
                for begin in range(0, len(block), _SEND_SIZE):
                    yield block[begin : begin + _SEND_SIZE]
            self._on_sent()
        except OSError as error:
            raise StoreRefusedError(f"The stream cannot be read: {error}.") from error


class _Connections(urllib3.PoolManager):
    """Connections that send block by block, tidy up soon or not at all, and call XML by its S3 name.

    Some servers label errors `text/xml`, which the client does not read, and some do not say that their disk is full:
    a failed write is put down to the disk of `home`, where the embedded server's data lies, if it has no room for it.
    """

    def __init__(self, home: Path, **options: Any) -> None:
        super().__init__(**options)
        self._home = home

    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> Any:  # type: ignore[override]
        body: bytes | FileBody = kw.get("body") or b""
        if body and isinstance(body, bytes):
            kw["body"] = io.BytesIO(body)
        if method == "DELETE":
            kw["timeout"] = _PROBE_SECONDS
        elif "list-type=" in url:
            kw["timeout"] = _LISTING_SECONDS
        response = super().urlopen(method, url, redirect, **kw)
        if response.status >= 500 and self._home.is_dir() and shutil.disk_usage(self._home).free < len(body):
            raise DiskFullError(f"The object store failed, and the disk of {self._home} is full.", mend="Free space.")
        if response.status >= 400 and response.headers.get("content-type", "").startswith("text/xml"):
            response.headers["content-type"] = "application/xml"
        return response


def patient_connections(home: Path) -> urllib3.PoolManager:
    """Return connections for transfers: a request that was refused or broken off is made again.

    Args:
        home: Where the embedded server keeps its data, if there is one (`STT_HOME`).
    """
    return _Connections(
        home,
        timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_SILENCE_SECONDS),
        blocksize=_SEND_SIZE,
        maxsize=10,
        retries=_Retry(
            total=2,
            backoff_factor=0.2,
            status_forcelist=[500, 502, 503, 504],
            raise_on_status=False,  # the last answer says why
            respect_retry_after_header=False,  # a server may ask for minutes
        ),
    )


def probing_connections(home: Path) -> urllib3.PoolManager:
    """Return connections for questions that are answered at once or not at all; `home` as for the patient ones."""
    return _Connections(home, timeout=_PROBE_SECONDS, retries=False)
