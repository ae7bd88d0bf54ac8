"""How many requests may be at something at once, so that one server that hangs does not take every thread there is.

Routes run in worker threads, and each waits for its servers there. Those that need the object store, whose answers take
longest, take a place first: there are fewer places than threads, so that routes that need MongoDB alone go on while the
store hangs. Probes have threads of their own, and so have those who wait for their jobs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import anyio
import anyio.to_thread
from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from api.auth import Caller
from stt_core.access.api_key import ApiKey
from stt_core.access.limits import PLACE_SECONDS, Limits
from stt_core.errors import BusyError, SttError
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: Requests that read objects at once, and uploads that are written at once, each with a part of 16 MiB in memory.
_STORE_PLACES = _UPLOAD_PLACES = 40
#: Uploads whose recording is fetched from elsewhere at once. Each holds a place of the uploads, for minutes perhaps.
_FETCH_PLACES = 8
#: Requests that may wait for their jobs at once: connections that are held open. No key has more than half, so that
#: none keeps everybody else out.
_WAITING_PLACES = 200
_WAITING_PLACES_OF_A_KEY = 100
#: How long a request waits for its place before it is sent away, seconds. An upload that was received is not.
_PATIENCE_SECONDS = 5.0
#: Threads for everything else: MongoDB, Redis, putting answers into JSON.
_OTHER_THREADS = 100
#: Probes at once; whoever probes asks one at a time.
_PROBE_THREADS = 4
#: Threads that look for all who wait for their jobs: where MongoDB hangs, they take no more than these.
_WATCH_THREADS = 8
#: The place of an upload is renewed often enough for two renewals to fail before it is lost.
_RENEWAL_SECONDS = PLACE_SECONDS / 3


class Places:
    """A number of places, each taken by one request at a time; used on the app's event loop.

    Args:
        places: How many.
        patience_seconds: How long to wait for one; None waits as long as it takes, 0 not at all.
        of_a_key: How many of them one API key may have; by default all.
        told: What somebody is told who gets none, after their number.
        mend: And what to do.
    """

    def __init__(
        self,
        places: int,
        patience_seconds: float | None = None,
        *,
        of_a_key: int | None = None,
        told: str = "such requests are being served already.",
        mend: str = "Try again later.",
    ) -> None:
        self._places = places
        self._patience_seconds = patience_seconds
        self._of_a_key = of_a_key or places
        self._told = told
        self._mend = mend
        self._free = anyio.Semaphore(places)
        self._of_keys = Counter[str | None]()

    @asynccontextmanager
    async def taken(self, key_id: str | None = None) -> AsyncIterator[None]:
        """Hold a place while the block runs, of an API key where it matters whose it is.

        Raises:
            BusyError: None became free in time, or the key has all that it may have.
        """
        try:
            self._free.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(self._patience_seconds) as waiting:
                await self._free.acquire()
            if waiting.cancelled_caught:
                raise self._busy(self._places) from None
        self._of_keys[key_id] += 1
        try:
            if key_id and self._of_keys[key_id] > self._of_a_key:
                raise self._busy(self._of_a_key)
            yield
        finally:
            self._of_keys[key_id] -= 1
            self._of_keys += Counter()  # which forgets the keys that have none left
            self._free.release()

    def _busy(self, most: int) -> BusyError:
        return BusyError(f"{most} {self._told}", mend=self._mend)


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
        self.waiting = Places(
            _WAITING_PLACES,
            patience_seconds=0,
            of_a_key=_WAITING_PLACES_OF_A_KEY,
            told="requests wait for their jobs already.",
            mend="Ask for the job's status, without waiting.",
        )
        self.watch_threads = anyio.CapacityLimiter(_WATCH_THREADS)
        self.probe_threads = anyio.CapacityLimiter(_PROBE_THREADS)
        threads = anyio.to_thread.current_default_thread_limiter()
        threads.total_tokens = _STORE_PLACES + _UPLOAD_PLACES + _OTHER_THREADS


async def upload_place(request: Request) -> AsyncIterator[None]:
    """Hold one of the places that the caller's key has for uploads, in Redis: all processes of the API count together.

    It is renewed for as long as the upload takes; those of a process that dies meanwhile run out by themselves. Where
    Redis is away nothing is uploaded: it has the queue too.

    Raises:
        TooManyUploadsError: The key has no place left.
        QueueUnavailableError: Redis does not answer.
    """
    caller: Caller = request.state.caller
    if caller.key is None:
        yield
        return
    limits: Limits = request.app.state.services.limits
    upload_id = uuid4().hex
    await run_in_threadpool(limits.take_upload, caller.key, upload_id)
    renewing = asyncio.create_task(_renew(limits, caller.key, upload_id))
    try:
        yield
    finally:
        renewing.cancel()
        with anyio.CancelScope(shield=True):  # also where the client went away
            try:
                await run_in_threadpool(limits.end_upload, caller.key, upload_id)
            except SttError as error:
                logger.warning("the place of an upload is left to run out: {}", error)


async def _renew(limits: Limits, key: ApiKey, upload_id: str) -> None:
    while True:
        await asyncio.sleep(_RENEWAL_SECONDS)
        try:
            await run_in_threadpool(limits.take_upload, key, upload_id)
        except SttError as error:
            logger.warning("the place of an upload could not be renewed: {}", error)
