"""Jobs as those see them who follow them: one look at the truth serves everybody who follows the same job.

A job is held here while somebody follows it. A look is at most a quarter of a second old, and the text of a chunk is
read once for all. Whoever asks once how a job stands is given a look that began after that, and shares it with those
who came meanwhile: there is one at a time of a job, so that a hundred who poll it cost as much as a few.

Whoever waits holds no thread, and looks at the truth again and again, which every process of ours may have changed:
often at first, and ever more seldom, so that what a wait adds stays a small share of its own length, and a hundred of
them are little to MongoDB.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
import anyio.to_thread
from fastapi.concurrency import run_in_threadpool

from api.capacity import Places
from stt_core.errors import BusyError, SttError, TransientError
from stt_core.jobs.job import JobStatus, JobView
from stt_core.logs import get_logger
from stt_core.services import Services
from stt_core.tasks.live_text import ChunkText, take_new_texts

logger = get_logger(__name__)

T = TypeVar("T")

#: How old a look may be, seconds.
_MAX_AGE_SECONDS = 0.25
#: The pause before the next look: a tenth of the time waited so far, seconds.
_PAUSE_SHARE, _PAUSE_SECONDS, _PAUSE_MAX_SECONDS = 0.1, 0.1, 2.0


class SharedJob:
    """A job that is followed; its looks wait for servers, so they belong into threads."""

    def __init__(self, services: Services, job_id: str) -> None:
        self.followers = 0
        self._services = services
        self._job_id = job_id
        self._lock = threading.Lock()
        self._seen_at: float | None = None
        self._view: JobView | None = None
        self._texts: list[ChunkText] = []
        self._heard: set[int] = set()

    def look(self) -> JobView:
        """Return the job as it is, or was a moment ago.

        Raises:
            JobNotFoundError: It is gone.
            TransientError: MongoDB is away.
        """
        with self._lock:
            now = time.monotonic()
            if self._view is None or self._seen_at is None or now - self._seen_at > _MAX_AGE_SECONDS:
                self._view = self._services.tasks.get_task_status(self._job_id)
                self._seen_at = now
            return self._view

    def listen(self) -> tuple[JobView, list[ChunkText]]:
        """Return the job, and what was heard of it so far, in the order in which it was; raises as `look`.

        Of what is new, a page of texts at a time.
        """
        view = self.look()
        with self._lock:
            if view.status is JobStatus.PROCESSING and view.progress.chunks_done > len(self._heard):
                try:
                    self._texts += take_new_texts(
                        self._services.chunks, self._services.store, self._job_id, self._heard
                    )
                except SttError as error:  # a later look brings them: what else is known of the job goes on
                    logger.warning("what was heard of job {} cannot be read: {}", self._job_id, error)
        return view, self._texts


class Snapshots:
    """The jobs of one app that are followed, or asked for; used on its event loop.

    Args:
        services: The core.
        places: Those of looks for whoever asks once.
    """

    def __init__(self, services: Services, places: Places) -> None:
        self._services = services
        self._places = places
        self._jobs: dict[str, SharedJob] = {}
        #: The look that goes on, and the one that has not begun, of each job and owner.
        self._begun: dict[tuple[str, str | None], asyncio.Task[JobView]] = {}
        self._coming: dict[tuple[str, str | None], asyncio.Task[JobView]] = {}

    async def look(self, job_id: str, owner: str | None) -> JobView:
        """Return the job as it is, by a look that begins from now on; raises as `JobService.get_task_status`."""
        asked = job_id, owner
        if asked not in self._coming:
            self._coming[asked] = asyncio.create_task(self._look(asked, self._begun.get(asked)))
        return await asyncio.shield(self._coming[asked])  # others wait for it, too

    async def _look(self, asked: tuple[str, str | None], earlier: asyncio.Task[JobView] | None) -> JobView:
        try:
            if earlier:
                await asyncio.wait([earlier])
            async with self._places.taken():
                self._begun[asked] = self._coming.pop(asked)
                try:
                    job_id, owner = asked
                    return await run_in_threadpool(self._services.tasks.get_task_status, job_id, owner=owner)
                finally:
                    del self._begun[asked]
        except BusyError:
            self._coming.pop(asked, None)
            raise

    @contextmanager
    def follow(self, job_id: str) -> Iterator[SharedJob]:
        """Hold a job while the block follows it; whether one may see it is for the caller to ask before."""
        job = self._jobs.setdefault(job_id, SharedJob(self._services, job_id))
        job.followers += 1
        try:
            yield job
        finally:
            job.followers -= 1
            if not job.followers:
                del self._jobs[job_id]


async def watch(look: Callable[[], T], seconds: float, threads: anyio.CapacityLimiter) -> AsyncIterator[T]:
    """Yield what `look` sees, at once and again and again, the last time when `seconds` have passed.

    A server that is away for less than that is waited for too.

    Raises:
        SttError: Of `look`; a `TransientError` only at the end.
    """
    started = anyio.current_time()
    while True:
        is_over = anyio.current_time() - started >= seconds
        try:
            seen = await anyio.to_thread.run_sync(look, limiter=threads)
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
