"""Signs of life of the runs that have a job, and who has stopped giving them.

A run renews a small document of its own while a step is at work. Nobody compares clocks of two hosts: a run is silent
when its document has not changed over several looks of one observer, who keeps what was seen last.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import uuid4

from pydantic import BaseModel
from pymongo.errors import DuplicateKeyError

from stt_core.errors import SttError
from stt_core.jobs.database import Database, mongo_errors
from stt_core.jobs.models import JobModel, JobStatus
from stt_core.jobs.repository import JobRepository
from stt_core.logs import get_logger, logged

logger = get_logger(__name__)

#: How often a step at work gives a sign of life, seconds.
BEAT_SECONDS = 5.0
#: Looks without a change after which a run counts as dead. At 15 s a look this is a minute: longer than the starts of
#: processes and the backoff between two steps' tries.
PATIENCE = 4
#: Jobs that are looked at together; more are never processing at once.
_MOST_JOBS = 1000


class Observation(BaseModel):
    """The latest sign of life seen of a job's run, and in how many looks it was still the same."""

    sign: str
    looks: int = 1


class Heartbeats:
    """The `heartbeats` collection: one document a job, written by the run that has it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @logged
    def beat(self, job_id: str) -> None:
        """Give a sign of life for the run that has the job."""
        document = {"_id": job_id, "sign": uuid4().hex}
        with mongo_errors(f"giving a sign of life of job {job_id}"):
            if self._database.heartbeats.replace_one({"_id": job_id}, document).matched_count:
                return
            try:
                self._database.heartbeats.insert_one(document)
            except DuplicateKeyError as error:
                logger.debug("another step of job {} began to beat at the same moment: {}", job_id, error)

    @contextmanager
    def beating(self, job_id: str) -> Iterator[None]:
        """Give signs of life while the block runs; one that cannot be given is logged, and the next one tried."""
        stopped = threading.Event()

        def run() -> None:
            while True:
                try:
                    self.beat(job_id)
                except SttError as error:
                    logger.warning("no sign of life of job {}: {}", job_id, error)
                if stopped.wait(BEAT_SECONDS):
                    return

        thread = threading.Thread(target=run, name=f"heartbeat-{job_id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join(timeout=BEAT_SECONDS)

    @logged
    def signs(self) -> dict[str, str]:
        """Return the latest sign of each job."""
        with mongo_errors("reading signs of life"):
            return {document["_id"]: document["sign"] for document in self._database.heartbeats.find()}

    @logged
    def forget(self, job_ids: list[str]) -> None:
        """Remove the signs of jobs that are not processed any more."""
        with mongo_errors("removing signs of life"):
            self._database.heartbeats.delete_many({"_id": {"$in": job_ids}})


@logged
def find_silent_jobs(
    jobs: JobRepository, heartbeats: Heartbeats, seen: Mapping[str, Observation]
) -> tuple[list[JobModel], dict[str, Observation]]:
    """Look at every job in `processing` once.

    Args:
        jobs: The truth.
        heartbeats: The signs of life.
        seen: What the look before returned.

    Returns:
        The jobs whose run has given no sign over `PATIENCE` looks, and what was seen now.
    """
    signs = heartbeats.signs()
    processing = jobs.list_jobs(status=JobStatus.PROCESSING, limit=_MOST_JOBS).jobs
    observed: dict[str, Observation] = {}
    for job in processing:
        sign = f"{job.version}:{signs.get(job.job_id)}"  # a write to the job is a sign of life too
        before = seen.get(job.job_id)
        looks = before.looks + 1 if before is not None and before.sign == sign else 1
        observed[job.job_id] = Observation(sign=sign, looks=looks)
    heartbeats.forget([job_id for job_id in signs if job_id not in observed])
    silent = [job for job in processing if observed[job.job_id].looks > PATIENCE]
    for job in silent:
        logger.warning("run {} of job {} has given no sign of life for {} looks", job.run_id, job.job_id, PATIENCE)
    return silent, observed
