"""Jobs: whether there is one, where it stands, and who may change it."""

from __future__ import annotations

from stt_core.errors.base import PermanentError, TransientError
from stt_core.errors.requests import InvalidInputError


class JobNotFoundError(InvalidInputError):
    """No job has this id."""

    kind = "job-not-found"
    status = 404


class JobDeletedError(JobNotFoundError):
    """There was a job with this id; it was deleted with all that belonged to it."""

    kind = "job-deleted"
    status = 410


class ResultNotReadyError(InvalidInputError):
    """The job has not finished, so there is no transcript yet."""

    kind = "result-not-ready"
    status = 409


class JobFailedError(InvalidInputError):
    """The job ended without a transcript; the message carries its own error."""

    kind = "job-failed"
    status = 409


class InvalidTransitionError(PermanentError):
    """The state machine has no such step."""

    kind = "invalid-transition"
    status = 409
    expected = True


class ConflictError(TransientError):
    """Somebody else changed the document first: the compare-and-set lost its race."""

    kind = "conflict"
    status = 409
    expected = True


class SupersededError(PermanentError):
    """The job is no longer this run's: another attempt took it over, or it ended."""

    kind = "superseded"
    status = 409
    expected = True


class QueueFullError(TransientError):
    """The queue holds `QUEUE_MAX_SIZE` jobs; nothing was accepted."""

    kind = "queue-full"
    expected = True
