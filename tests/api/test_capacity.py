"""Places: how many may be taken at once, by whom, and how long they are waited for."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio
import pytest

from api.capacity import Places
from stt_core.errors import BusyError


async def take(places: Places, key_id: str | None = None) -> None:
    """Take a place, and give it back."""
    async with places.taken(key_id):
        pass


def test_place_when_a_key_has_its_share_then_it_is_busy_and_others_are_not() -> None:
    async def fill() -> None:
        places = Places(3, patience_seconds=0, of_a_key=2, told="requests wait.")
        async with places.taken("a"), places.taken("a"):
            with pytest.raises(BusyError, match="2 requests wait"):
                await take(places, "a")
            async with places.taken("b"):
                with pytest.raises(BusyError, match="3 requests wait"):
                    await take(places, "c")
        async with places.taken("a"), places.taken("a"):
            assert places._free.value == 1

    anyio.run(fill)


def test_place_when_all_are_taken_then_busy_until_one_is_left() -> None:
    async def fill() -> None:
        places = Places(2, patience_seconds=0)
        async with AsyncExitStack() as taken:
            for _ in range(2):
                await taken.enter_async_context(places.taken())
            with pytest.raises(BusyError, match="2 such requests"):
                await take(places)
        await take(places)
        assert places._free.value == 2

    anyio.run(fill)


@pytest.mark.parametrize("patience_seconds", [5.0, None])
def test_place_when_one_is_left_in_time_then_it_is_had(patience_seconds: float | None) -> None:
    async def fill() -> None:
        places = Places(1, patience_seconds)
        async with anyio.create_task_group() as tasks, places.taken():
            tasks.start_soon(take, places)
            await anyio.sleep(0.05)
        assert places._free.value == 1

    anyio.run(fill)
