"""The connections of the API's server: uvicorn's, with an end to what may come before a body, and to waiting for it.

Both are asked of everybody, before there is a key to look at. httptools keeps lines of any length and number in memory,
and uvicorn waits for them for ever. (Its other parser, h11, has a limit, and takes three times the CPU for a body.)
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stt_core.logs import get_logger

logger = get_logger(__name__)

#: The longest request line with its headers, as much as other servers take, and the longest trailers, bytes. What
#: comes in one read of the socket (256 KiB) may be more: it is there already.
HEAD_BYTES = 64 * 1024
#: How long a connection may be silent before its first request, and a request take for its headers, seconds.
HEAD_SECONDS = 30.0


class _Connection(HttpToolsProtocol):
    """Counts the bytes since the parser last brought something to an end, and closes where that takes too long.

    This stands on uvicorn's own class, since there is no public way: `--h11-max-incomplete-event-size` is h11's alone,
    and `--timeout-keep-alive` begins with the end of a first answer. It names nothing that uvicorn calls private.

    uvicorn calls its methods, some of them with each block of a body: none is logged.
    """

    _unfinished_bytes = 0
    _patience: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unfinished_bytes += len(data)
        super().data_received(data)
        if self._unfinished_bytes > HEAD_BYTES and not self.transport.is_closing():
            logger.warning("a connection is closed: its headers have no end")
            self.send_400_response("The headers are too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait_for_head()

    def on_headers_complete(self) -> None:
        self._unfinished_bytes = 0
        self._end_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished_bytes = 0
        super().on_message_complete()

    def _wait_for_head(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _end_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


#: For uvicorn's `--http`.
HTTP = _Connection
