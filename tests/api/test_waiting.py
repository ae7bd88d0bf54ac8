"""Waiting for a job: how often it is looked at, and what becomes of that while a server is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import pytest

from api.job_watch import watch
from stt_core.errors import DatabaseUnavailableError, JobNotFoundError

T = TypeVar("T")


def seen_in(look: Callable[[], T], seconds: float) -> list[T]:
    """Return everything that a request sees that waits for so long."""

    async def wait() -> list[T]:
        return [seen async for seen in watch(look, seconds, anyio.CapacityLimiter(1))]

    return anyio.run(wait)


def test_watch_when_nothing_happens_then_looks_at_once_ever_more_seldom_and_at_the_end() -> None:
    moments: list[float] = []

    async def wait() -> float:
        started = anyio.current_time()
        async for _ in watch(lambda: None, 1.5, anyio.CapacityLimiter(1)):
            moments.append(anyio.current_time() - started)
        return anyio.current_time() - started

    seconds = anyio.run(wait)
    assert moments[0] < 0.2
    assert 1.5 <= moments[-1] <= seconds
    assert len(moments) <= 16  # a tenth of a second apart at first, and more than that after one second


def test_watch_when_there_is_no_time_then_looks_once() -> None:
    assert seen_in(lambda: "seen", 0) == ["seen"]


def test_watch_when_a_server_is_away_for_a_moment_then_goes_on() -> None:
    answers = iter([DatabaseUnavailableError("away"), "seen"])

    def look() -> object:
        answer = next(answers, "again")
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert seen_in(look, 0.3)[0] == "seen"


@pytest.mark.parametrize("error", [DatabaseUnavailableError("away"), JobNotFoundError("gone")])
def test_watch_when_an_error_lasts_or_is_final_then_it_is_raised(error: Exception) -> None:
    def look() -> None:
        raise error

    with pytest.raises(type(error)):
        seen_in(look, 0.2)
