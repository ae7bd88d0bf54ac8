"""Jobs as those see them who follow them: one look at the truth serves everybody who follows the same job.

A job is held here while somebody follows it. A look is at most a quarter of a second old, and the text of a chunk is
read once for all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from stt_core.errors import SttError
from stt_core.jobs.models import JobStatus, JobView
from stt_core.jobs.partial import ChunkText, take_new_texts
from stt_core.logs import get_logger, logged
from stt_core.services import Services

logger = get_logger(__name__)

#: How old a look may be, seconds.
_MAX_AGE_SECONDS = 0.25


@dataclass(frozen=True)
class Snapshot:
    """A job at one moment, and what was heard of it so far, in the order in which it was."""

    view: JobView
    texts: list[ChunkText]


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

    @logged
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

    @logged
    def listen(self) -> Snapshot:
        """Return the job with what was heard of it so far, a page of texts at a time; raises as `look`."""
        view = self.look()
        with self._lock:
            if view.status is JobStatus.PROCESSING and view.progress.chunks_done > len(self._heard):
                try:
                    self._texts += take_new_texts(self._services.jobs, self._services.store, self._job_id, self._heard)
                except SttError as error:  # a later look brings them: what else is known of the job goes on
                    logger.warning("what was heard of job {} cannot be read: {}", self._job_id, error)
        return Snapshot(view, self._texts)


class Snapshots:
    """The jobs of one app that are followed; used on its event loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._jobs: dict[str, SharedJob] = {}

    @property
    def followed(self) -> int:
        """How many jobs somebody follows."""
        return len(self._jobs)

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
