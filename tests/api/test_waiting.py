"""Waiting for a job: how many may, how often they look, and what they do while a server is away."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

import anyio
import pytest

from api import waiting
from api.waiting import WaitingRoom
from stt_core.errors import BusyError, DatabaseUnavailableError, JobNotFoundError

T = TypeVar("T")


def watch(look: Callable[[], T], seconds: float) -> list[T]:
    """Return everything that a request sees that waits for so long."""

    async def wait() -> list[T]:
        return [seen async for seen in WaitingRoom().watch(look, seconds)]

    return anyio.run(wait)


def test_watch_when_nothing_happens_then_looks_at_once_ever_more_seldom_and_at_the_end() -> None:
    moments: list[float] = []

    async def wait() -> float:
        started = anyio.current_time()
        async for _ in WaitingRoom().watch(lambda: None, 1.5):
            moments.append(anyio.current_time() - started)
        return anyio.current_time() - started

    seconds = anyio.run(wait)
    assert moments[0] < 0.2
    assert 1.5 <= moments[-1] <= seconds
    assert len(moments) <= 16  # a tenth of a second apart at first, and more than that after one second


def test_watch_when_there_is_no_time_then_looks_once() -> None:
    assert watch(lambda: "seen", 0) == ["seen"]


def test_watch_when_a_server_is_away_for_a_moment_then_goes_on() -> None:
    answers = iter([DatabaseUnavailableError("away"), "seen"])

    def look() -> object:
        answer = next(answers, "again")
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert watch(look, 0.3)[0] == "seen"


@pytest.mark.parametrize("error", [DatabaseUnavailableError("away"), JobNotFoundError("gone")])
def test_watch_when_an_error_lasts_or_is_final_then_it_is_raised(error: Exception) -> None:
    def look() -> None:
        raise error

    with pytest.raises(type(error)):
        watch(look, 0.2)


def test_place_when_a_key_has_its_share_then_it_is_busy_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_PLACES", 3)
    monkeypatch.setattr(waiting, "_PLACES_OF_A_KEY", 2)

    async def fill() -> None:
        room = WaitingRoom()
        with room.place("a"), room.place("a"):
            with pytest.raises(BusyError, match="2 requests"), room.place("a"):
                pass
            with room.place("b"), pytest.raises(BusyError, match="3 requests"), room.place("c"):
                pass
        with room.place("a"), room.place("a"):
            pass

    anyio.run(fill)


def test_place_when_all_are_taken_then_busy_until_one_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_PLACES", 2)

    async def fill() -> None:
        room = WaitingRoom()
        with ExitStack() as places:
            for _ in range(2):
                places.enter_context(room.place())
            with pytest.raises(BusyError, match="2 requests"):
                places.enter_context(room.place())
        with room.place():
            pass

    anyio.run(fill)
