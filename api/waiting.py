"""Requests that wait for something to happen to a job: so many at once, and none holds a thread while it waits.

They look at the truth again and again, which every process of ours may have changed: often at first, and ever more
seldom, so that what a wait adds stays a small share of its own length, and a hundred of them are little to MongoDB.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
import anyio.to_thread

from stt_core.errors import BusyError, TransientError
from stt_core.logs import get_logger, logged

logger = get_logger(__name__)

T = TypeVar("T")

#: Requests that may wait at once: connections that are held open.
_PLACES = 200
#: Threads that look for all of them: where MongoDB hangs, those who wait take no more than these.
_THREADS = 8
#: The pause before the next look: a tenth of the time waited so far, seconds.
_PAUSE_SHARE, _PAUSE_SECONDS, _PAUSE_MAX_SECONDS = 0.1, 0.1, 2.0


class WaitingRoom:
    """The places for requests that wait; made on the app's event loop."""

    def __init__(self) -> None:
        self._taken = 0
        self._threads = anyio.CapacityLimiter(_THREADS)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place while the block runs.

        Raises:
            BusyError: All are taken.
        """
        if self._taken >= _PLACES:
            raise BusyError(
                f"{_PLACES} requests wait for their jobs already.", mend="Ask for the job's status, without waiting."
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    @logged
    async def watch(self, look: Callable[[], T], seconds: float) -> AsyncIterator[T]:
        """Yield what `look` sees, at once and again and again, the last time when `seconds` have passed.

        A server that is away for less than that is waited for too.

        Raises:
            SttError: Of `look`; a `TransientError` only at the end.
        """
        started = anyio.current_time()
        while True:
            is_over = anyio.current_time() - started >= seconds
            try:
                seen = await anyio.to_thread.run_sync(look, limiter=self._threads)
            except TransientError as error:
                if is_over:
                    raise
                logger.warning("goes on waiting: {}", error)
            else:
                yield seen
            if is_over:
                return
            elapsed = anyio.current_time() - started
            pause = min(max(elapsed * _PAUSE_SHARE, _PAUSE_SECONDS), _PAUSE_MAX_SECONDS)
            await anyio.sleep(min(pause, max(seconds - elapsed, 0.0)))
