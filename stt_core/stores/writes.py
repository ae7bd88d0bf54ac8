"""Writes that nobody overwrites and no silence loses: what every document with a version is written by.

A document is replaced on `(_id, version)`, and each write carries a fresh `write_id`. Where the server fell silent
before it confirmed a write, the write is sent once more under the same id: it takes effect once, whichever of the two
arrives, and one's own id in the document means success.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pymongo.collection import Collection
from pymongo.errors import (
    ConnectionFailure,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from stt_core.errors import ConflictError
from stt_core.logs import get_logger
from stt_core.stores.database import MongoDocument

logger = get_logger(__name__)

#: The error code of a MongoDB server for a unique key that is taken.
DUPLICATE_KEY = 11000

T = TypeVar("T")

#: How often `until_won` tries, and up to how long it steps aside after a lost race (random, doubling, seconds). A
#: document has few writers: a job's are its run, the client, the sensors.
_MAX_RACES = 20
_RACE_PAUSE_SECONDS = 0.005
_RACE_PAUSE_MAX_SECONDS = 0.2


def write_confirmed(write: Callable[[], T]) -> T:
    """Run a write; once more where the server fell silent and may or may not have written."""
    try:
        return write()
    except (ServerSelectionTimeoutError, WaitQueueTimeoutError):
        raise  # nothing was sent
    except (ConnectionFailure, WriteConcernError) as error:
        logger.warning("a write was not confirmed and is sent again: {}", error)
        return write()


def replace_as_read(collection: Collection[MongoDocument], version: int, document: MongoDocument) -> bool:
    """Write `document`, whole and under its own `write_id`, over the one that was read in that version.

    False where it is another version's by now, or gone.
    """
    as_read = {"_id": document["_id"], "version": version}
    if write_confirmed(lambda: collection.replace_one(as_read, document)).matched_count:
        return True
    stored = collection.find_one({"_id": document["_id"]}, {"write_id": 1})
    return stored is not None and stored.get("write_id") == document["write_id"]


def until_won(race: Callable[[], T]) -> T:
    """Read, decide and write, and start over where another writer came between.

    Raises:
        ConflictError: Other writers came between every time.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(ConflictError),
        wait=wait_random_exponential(_RACE_PAUSE_SECONDS, _RACE_PAUSE_MAX_SECONDS),
        stop=stop_after_attempt(_MAX_RACES),
        reraise=True,
    )
    return retrying(race)
