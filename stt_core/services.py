"""The core put together: what every door (API, Dagster, command line) opens once and closes at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass

from pydantic import BaseModel

from stt_core.access.keys import ApiKeys
from stt_core.access.limits import Limits
from stt_core.access.sessions import Sessions
from stt_core.errors import SttError
from stt_core.jobs.chunks import ChunkRepository
from stt_core.jobs.heartbeats import Heartbeats
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.repository import JobRepository
from stt_core.logs import get_logger
from stt_core.metrics import Tallies
from stt_core.settings import Settings
from stt_core.stores.database import Database
from stt_core.stores.object_store import ObjectStore
from stt_core.tasks.service import JobService
from stt_core.tasks.submission import Submissions

logger = get_logger(__name__)


class DependencyHealth(BaseModel):
    """Whether a server answers, and how fast."""

    ok: bool
    latency_ms: float
    error: str | None = None


@dataclass(frozen=True)
class Services:
    """The parts of the core, connected to the servers that the settings name."""

    settings: Settings
    database: Database
    jobs: JobRepository
    chunks: ChunkRepository
    heartbeats: Heartbeats
    queue: JobQueue
    store: ObjectStore
    tasks: JobService
    submissions: Submissions
    keys: ApiKeys
    sessions: Sessions
    limits: Limits
    tallies: Tallies

    @classmethod
    def open(cls, settings: Settings) -> Services:
        """Put the parts together. Connects to nothing, so it works while a server is down.

        Raises:
            ConfigurationError: A setting cannot be used.
        """
        # The database last: it starts threads at once, and nothing after it can fail.
        store, queue, database = ObjectStore(settings), JobQueue(settings), Database(settings)
        jobs, chunks, heartbeats = JobRepository(database), ChunkRepository(database), Heartbeats(database, settings)
        tasks, submissions = JobService(settings, jobs, queue, store), Submissions(settings, jobs, queue, store)
        keys, limits, tallies = ApiKeys(database), Limits(queue.server, settings.queue_name), Tallies(database)
        return cls(
            settings,
            database,
            jobs,
            chunks,
            heartbeats,
            queue,
            store,
            tasks,
            submissions,
            keys,
            Sessions(database),
            limits,
            tallies,
        )

    def prepare(self) -> None:
        """Create what the servers need once: indexes and the bucket."""
        # The bucket first: without it a store that is up counts as down, while MongoDB works without its indexes.
        self.store.ensure_bucket()
        self.database.ensure_indexes()

    def health(self) -> dict[str, DependencyHealth]:
        """Ask each server for a sign of life, all at once, since one may hang."""
        pings = {"mongodb": self.database.ping, "redis": self.queue.ping, "object_store": self.store.ping}
        with ThreadPoolExecutor(len(pings)) as threads:
            asked = {name: threads.submit(copy_context().run, _measure, ping) for name, ping in pings.items()}
        return {name: health.result() for name, health in asked.items()}

    def close(self) -> None:
        """End the uploads that are still under way, and close every connection."""
        self.submissions.close()
        self.queue.close()
        self.store.close()
        self.database.close()


def _measure(ping: Callable[[], float]) -> DependencyHealth:
    started = time.perf_counter()
    try:
        return DependencyHealth(ok=True, latency_ms=round(ping() * 1000, 2))
    except SttError as error:
        logger.debug("not healthy: {}", error)  # the ping has said so
        return DependencyHealth(ok=False, latency_ms=round((time.perf_counter() - started) * 1000, 2), error=str(error))
