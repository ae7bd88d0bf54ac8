"""Limits of a key, on a real Redis: requests a minute, uploads at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from stt_cli.local_stack.home import free_port
from stt_core.access import limits as module
from stt_core.access.api_key import ApiKey, Scope
from stt_core.access.limits import Limits
from stt_core.errors import QueueUnavailableError, RateLimitedError, TooManyUploadsError
from stt_core.settings import Settings
from stt_core.stores.redis_server import RedisServer


@pytest.fixture
def server(settings: Settings) -> Iterator[RedisServer]:
    server = RedisServer(settings)
    yield server
    server.close()


@pytest.fixture
def limits(server: RedisServer, settings: Settings) -> Limits:
    return Limits(server, settings.queue_name)


def key(key_id: str = "a", *, rate: int = 60, concurrent: int = 2) -> ApiKey:
    return ApiKey(key_id=key_id, digest="", name=key_id, scopes=[Scope.READ], rate=rate, concurrent=concurrent)


@pytest.mark.parametrize("rate", [1, 7, 60])
def test_count_request_when_a_minutes_worth_came_at_once_then_refused_until_one_more_may(
    limits: Limits, rate: int
) -> None:
    remaining = [limits.count_request(key(rate=rate)).remaining for _ in range(rate)]
    with pytest.raises(RateLimitedError) as refused:
        limits.count_request(key(rate=rate))

    assert remaining[0] == rate - 1
    assert remaining == sorted(remaining, reverse=True)
    assert remaining[-1] == 0
    assert 1 <= refused.value.details["retry_after_seconds"] <= 60 / rate + 1


def test_count_request_when_time_passes_then_requests_may_come_again(
    limits: Limits, wait_until: Callable[..., None]
) -> None:
    quick = key(rate=600)
    for _ in range(600):
        limits.count_request(quick)
    with pytest.raises(RateLimitedError):
        for _ in range(20):  # some come back meanwhile: one each 100 ms
            limits.count_request(quick)

    def may_again() -> bool:
        try:
            limits.count_request(quick)
        except RateLimitedError:
            return False
        return True

    wait_until(may_again, "a request being allowed again", 5)


def test_count_request_when_another_key_asks_then_it_has_its_own(limits: Limits) -> None:
    limits.count_request(key("a", rate=1))

    assert limits.count_request(key("b", rate=1)).remaining == 0


def test_count_request_when_the_clock_of_redis_was_put_back_then_the_key_begins_afresh(
    limits: Limits, server: RedisServer, settings: Settings
) -> None:
    seconds, _ = server.client.time()  # type: ignore[misc]
    server.client.set(f"{settings.queue_name}:limits:requests:a", (seconds + 3600) * 1000)

    assert limits.count_request(key(rate=60)).remaining == 59


def test_count_request_when_redis_is_away_then_said(settings: Settings) -> None:
    away = Limits(RedisServer(settings.model_copy(update={"redis_port": free_port()})), "x")
    with pytest.raises(QueueUnavailableError):
        away.count_request(key())


def test_take_upload_when_all_slots_are_taken_then_refused_until_one_ends(limits: Limits) -> None:
    limits.take_upload(key(), "1")
    limits.take_upload(key(), "2")
    limits.take_upload(key(), "2")  # renewing takes no other slot
    with pytest.raises(TooManyUploadsError):
        limits.take_upload(key(), "3")
    limits.take_upload(key("b"), "3")

    limits.end_upload(key(), "1")
    limits.take_upload(key(), "3")


def test_take_upload_when_a_process_died_during_its_own_then_the_slot_runs_out(
    limits: Limits, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLACE_SECONDS", 1)
    one = key(concurrent=1)
    limits.take_upload(one, "died")

    def is_free() -> bool:
        try:
            limits.take_upload(one, "next")
        except TooManyUploadsError:
            return False
        return True

    assert not is_free()
    wait_until(is_free, "the slot running out", 5)
