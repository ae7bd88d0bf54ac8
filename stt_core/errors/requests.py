"""A request: what is wrong with it, and why it is not answered now."""

from __future__ import annotations

from stt_core.errors.base import PermanentError, TransientError


class InvalidInputError(PermanentError):
    """The request or the recording is not usable as it is."""

    kind = "invalid-input"
    status = 400
    expected = True


class NotAcceptableError(InvalidInputError):
    """The `Accept` header names no form that there is of the answer."""

    kind = "not-acceptable"
    status = 406


class RangeNotSatisfiableError(InvalidInputError):
    """The request asks for bytes that the file does not have."""

    kind = "range-not-satisfiable"
    status = 416


class IdempotencyMismatchError(InvalidInputError):
    """The idempotency key stands for another request."""

    kind = "idempotency-mismatch"
    status = 422


class RequestInProgressError(TransientError):
    """Another request with the same idempotency key is not through yet."""

    kind = "request-in-progress"
    status = 409
    expected = True


class StillAtWorkError(TransientError):
    """The job takes longer than a request waits for it; it goes on."""

    kind = "still-at-work"
    status = 504
    expected = True


class BusyError(TransientError):
    """More requests wait for a server than the API lets wait; this one was not begun."""

    kind = "busy"
    expected = True
