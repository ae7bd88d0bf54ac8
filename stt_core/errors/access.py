"""Who asks: API keys, their scopes and their limits."""

from __future__ import annotations

from stt_core.errors.base import PermanentError, TransientError
from stt_core.errors.requests import InvalidInputError


class UnauthorizedError(PermanentError):
    """The request carries no API key, or none that is in use."""

    kind = "unauthorized"
    status = 401
    expected = True


class ForbiddenError(PermanentError):
    """The API key does not have the scope that the request takes."""

    kind = "forbidden"
    status = 403
    expected = True


class RateLimitedError(TransientError):
    """The API key sent more requests than it may."""

    kind = "rate-limited"
    status = 429
    expected = True


class TooManyUploadsError(TransientError):
    """The API key has as many uploads under way as it may."""

    kind = "too-many-uploads"
    status = 429
    expected = True


class KeyNotFoundError(InvalidInputError):
    """No API key has this id."""

    kind = "key-not-found"
    status = 404
