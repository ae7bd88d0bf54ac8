"""MongoDB, Redis and the object store: away, or refusing, or without what they should hold."""

from __future__ import annotations

from stt_core.errors.base import PermanentError, TransientError


class DatabaseUnavailableError(TransientError):
    """MongoDB cannot be reached or did not answer in time."""

    kind = "database-unavailable"
    outage = True


class DatabaseRefusedError(PermanentError):
    """MongoDB answered, and refused: bad credentials, an invalid operation."""

    kind = "database-refused"


class InvalidDocumentError(PermanentError):
    """A document that MongoDB holds does not fit its model: it was written by something else, or damaged."""

    kind = "invalid-document"


class QueueUnavailableError(TransientError):
    """Redis cannot be reached or did not answer in time."""

    kind = "queue-unavailable"
    outage = True


class QueueRefusedError(PermanentError):
    """Redis answered, and refused: bad credentials, a wrong type under our key."""

    kind = "queue-refused"


class StoreUnavailableError(TransientError):
    """The object store cannot be reached or answered with a server error."""

    kind = "store-unavailable"
    outage = True


class StoreRefusedError(PermanentError):
    """The object store answered, and refused: bad credentials, no such bucket, an invalid name."""

    kind = "store-refused"


class BucketNotFoundError(StoreRefusedError):
    """The object store has no such bucket."""

    kind = "bucket-not-found"
    expected = True


class ObjectNotFoundError(PermanentError):
    """An object that the truth names is not in the object store."""

    kind = "object-not-found"
    status = 404


class PreparedAudioGoneError(TransientError):
    """What an earlier step of a run stored was removed meanwhile; the next attempt prepares it again."""

    kind = "prepared-audio-gone"


class ObjectChangedError(PermanentError):
    """An object is not the version any more that was asked for."""

    kind = "object-changed"
    status = 409
