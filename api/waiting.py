"""Requests that wait for something to happen to a job: so many at once, and none holds a thread while it waits.

They look at the truth again and again, which every process of ours may have changed: often at first, and ever more
seldom, so that what a wait adds stays a small share of its own length, and a hundred of them are little to MongoDB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
import anyio.to_thread

from stt_core.errors import BusyError, TransientError
from stt_core.logs import get_logger, logged

logger = get_logger(__name__)

T = TypeVar("T")

#: Requests that may wait at once: connections that are held open. No key has more than half, so that none keeps
#: everybody else out.
_PLACES = 200
_PLACES_OF_A_KEY = 100
#: Threads that look for all of them: where MongoDB hangs, those who wait take no more than these.
_THREADS = 8
#: The pause before the next look: a tenth of the time waited so far, seconds.
_PAUSE_SHARE, _PAUSE_SECONDS, _PAUSE_MAX_SECONDS = 0.1, 0.1, 2.0


class WaitingRoom:
    """The places for requests that wait; made on the app's event loop."""

    def __init__(self) -> None:
        self._taken = Counter[str | None]()
        self._threads = anyio.CapacityLimiter(_THREADS)

    @contextmanager
    def place(self, key_id: str | None = None) -> Iterator[None]:
        """Hold a place while the block runs, of an API key where there are keys.

        Raises:
            BusyError: All are taken, or all that one key may have.
        """
        taken, most = self._taken.total(), _PLACES
        if key_id and taken < most:
            taken, most = self._taken[key_id], _PLACES_OF_A_KEY
        if taken >= most:
            raise BusyError(
                f"{most} requests wait for their jobs already.", mend="Ask for the job's status, without waiting."
            )
        self._taken[key_id] += 1
        try:
            yield
        finally:
            self._taken[key_id] -= 1
            self._taken += Counter()  # which forgets the keys that have none left

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
