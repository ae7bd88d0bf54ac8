"""How many requests may wait for one server at once, so that one that hangs does not take every thread there is.

Routes run in worker threads, and each waits for its servers there. Those that need the object store, whose answers take
longest, take a place first: there are fewer places than threads, so that routes that need MongoDB alone go on while the
store hangs. Probes have threads of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread

from api.waiting import WaitingRoom
from stt_core.errors import BusyError

#: Requests that read objects at once, and uploads that are written at once, each with a part of 16 MiB in memory.
_STORE_PLACES = _UPLOAD_PLACES = 40
#: Uploads whose recording is fetched from elsewhere at once. Each holds a place of the uploads, for minutes perhaps.
_FETCH_PLACES = 8
#: How long a request waits for its place before it is sent away, seconds. An upload that was received is not.
_PATIENCE_SECONDS = 5.0
#: Threads for everything else: MongoDB, Redis, putting answers into JSON.
_OTHER_THREADS = 100
#: Probes at once; whoever probes asks one at a time.
_PROBE_THREADS = 4


class Places:
    """A number of places, each taken by one request at a time.

    Args:
        places: How many.
        patience_seconds: How long to wait for one; None waits as long as it takes.
    """

    def __init__(self, places: int, patience_seconds: float | None = None) -> None:
        self._places = places
        self._patience_seconds = patience_seconds
        self._free = anyio.Semaphore(places)

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Hold a place while the block runs.

        Raises:
            BusyError: None became free in time.
        """
        with anyio.move_on_after(self._patience_seconds) as waiting:
            await self._free.acquire()
        if waiting.cancelled_caught:
            raise BusyError(f"{self._places} such requests are being served already.", mend="Try again later.")
        try:
            yield
        finally:
            self._free.release()


class Capacity:
    """The places of one app; made on its event loop, whose number of threads it sets.

    Args:
        connections: How many connections to MongoDB there are.
    """

    def __init__(self, connections: int) -> None:
        #: One after the other for whoever asks how a job stands: MongoDB's client gives its connections to those who
        #: wait for one in no order, so that some of many would wait long.
        self.looks = Places(connections, _PATIENCE_SECONDS)
        self.store = Places(_STORE_PLACES, _PATIENCE_SECONDS)
        self.uploads = Places(_UPLOAD_PLACES)
        self.fetches = Places(_FETCH_PLACES, _PATIENCE_SECONDS)
        self.waiting_room = WaitingRoom()
        self.probe_threads = anyio.CapacityLimiter(_PROBE_THREADS)
        threads = anyio.to_thread.current_default_thread_limiter()
        threads.total_tokens = _STORE_PLACES + _UPLOAD_PLACES + _OTHER_THREADS
