"""Signs of life of runs, and who has stopped giving them.

The process of a run renews a small document of its own from the run's begin to its end, between two steps and between
two tries of one too. Nobody compares clocks of two hosts: what has not changed over several looks of one observer, who
keeps what was seen last, stands still.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import uuid4

from pydantic import BaseModel
from pymongo.errors import DuplicateKeyError

from stt_core.errors import SttError
from stt_core.jobs.job import JobModel
from stt_core.logs import get_logger, log_exception
from stt_core.settings import Settings
from stt_core.stores.database import Database, mongo_errors

logger = get_logger(__name__)

#: Signs that a run gives in `RUN_SILENCE_SECONDS`: at the default of a minute, one every 5 s.
_SIGNS_PER_SILENCE = 12


class Heartbeats:
    """The `heartbeats` collection: one document a run, written by its process."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._every_seconds = settings.run_silence_seconds / _SIGNS_PER_SILENCE

    def beat(self, run_id: str) -> None:
        """Give a sign of life for a run."""
        document = {"_id": run_id, "sign": uuid4().hex}
        with mongo_errors(f"giving a sign of life of run {run_id}"):
            if self._database.heartbeats.replace_one({"_id": run_id}, document).matched_count:
                return
            try:
                self._database.heartbeats.insert_one(document)
            except DuplicateKeyError as error:
                logger.debug("the first sign of life of run {} had arrived: {}", run_id, error)

    @contextmanager
    def beating(self, run_id: str) -> Iterator[None]:
        """Give signs of life while the block runs; one that cannot be given is logged, and the next one tried."""
        stopped = threading.Event()

        def run() -> None:
            while True:
                try:
                    self.beat(run_id)
                except SttError as error:
                    log_exception(logger, "heartbeat", error)
                if stopped.wait(self._every_seconds):
                    return

        thread = threading.Thread(target=run, name=f"heartbeat-{run_id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join(timeout=self._every_seconds)

    def signs(self) -> dict[str, str]:
        """Return the latest sign of each run."""
        with mongo_errors("reading signs of life"):
            return {document["_id"]: document["sign"] for document in self._database.heartbeats.find()}

    def forget(self, run_ids: Sequence[str]) -> None:
        """Remove the signs of runs that have no job any more."""
        if run_ids:
            with mongo_errors("removing signs of life"):
                self._database.heartbeats.delete_many({"_id": {"$in": list(run_ids)}})


class Observation(BaseModel):
    """What was seen of something at the latest look, and over how many looks it was the same."""

    sign: str
    looks: int = 1


def observe(signs: Mapping[str, str], seen: Mapping[str, Observation]) -> dict[str, Observation]:
    """Return what is seen now, counted on from the look before."""

    def look(key: str, sign: str) -> Observation:
        before = seen.get(key)
        return Observation(sign=sign, looks=before.looks + 1 if before is not None and before.sign == sign else 1)

    return {key: look(key, sign) for key, sign in signs.items()}


def has_stood_still(observation: Observation, seconds: float, settings: Settings) -> bool:
    """Return whether something was the same for so long, in looks of `RECONCILE_SECONDS`; two looks at the least."""
    return observation.looks > max(1, math.ceil(seconds / settings.reconcile_seconds))


def observe_runs(
    processing: Sequence[JobModel], heartbeats: Heartbeats, seen: Mapping[str, Observation]
) -> dict[str, Observation]:
    """Look at the runs of jobs that are being processed, by run; a write to the job is a sign of life too.

    Signs of other runs are removed: they have not claimed their job yet, and give another, or are over.
    """
    signs = heartbeats.signs()
    running = {job.run_id or "": f"{job.version}:{signs.get(job.run_id or '')}" for job in processing}
    heartbeats.forget([run_id for run_id in signs if run_id not in running])
    return observe(running, seen)
