"""What every error is: its base, and the two branches that say whether trying again may help."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar


class SttError(Exception):
    """Base of every named error.

    Args:
        message: What is wrong and where, one sentence, safe to show to the caller (no secrets).
        mend: How to put it right, one sentence.
        details: Facts for machines (sizes, limits, names); they appear in logs and problem documents.
    """

    kind: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    #: Whether trying again unchanged may succeed.
    transient: ClassVar[bool] = False
    #: Whether a server or a host was away, and nothing is wrong with the job: that burns none of `MAX_ATTEMPTS`.
    outage: ClassVar[bool] = False
    #: A caller's mistake or an everyday answer ("no such job") is logged as one warning line, without a stack trace.
    expected: ClassVar[bool] = False

    def __init__(self, message: str, *, mend: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend
        self.details = details

    @classmethod
    def branch(cls) -> Iterator[type[SttError]]:
        """Yield this class and every one below it in the tree."""
        yield cls
        for below in cls.__subclasses__():
            yield from below.branch()

    def __str__(self) -> str:
        return f"{self.message} {self.mend}" if self.mend else self.message


class TransientError(SttError):
    """May succeed when tried again unchanged."""

    kind = "transient"
    status = 503
    transient = True


class PermanentError(SttError):
    """Cannot succeed when tried again unchanged."""

    kind = "permanent"


class UnexpectedError(PermanentError):
    """An exception nobody named: a defect of ours. The message carries its type and text."""

    kind = "unexpected"
