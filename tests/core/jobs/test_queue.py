from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import redis
from pydantic import SecretStr
from redis.exceptions import ClusterDownError, OutOfMemoryError, ReadOnlyError

from stt_core.errors import QueueFullError, QueueRefusedError, QueueUnavailableError, SttError
from stt_core.jobs.job import Priority
from stt_core.jobs.queue import JobQueue
from stt_core.settings import Settings
from stt_core.stores.redis_server import redis_errors
from tests.conftest import wait_until
from tests.core.jobs.conftest import count_leases

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_peek_when_priorities_differ_gives_high_before_normal_before_low_each_in_order(queue: JobQueue) -> None:
    for index, priority in enumerate([Priority.LOW, Priority.NORMAL, Priority.HIGH] * 2):
        queue.enqueue(f"{priority}{index}:1", priority, _at(index))

    assert queue.peek(9) == ["high2:1", "high5:1", "normal1:1", "normal4:1", "low0:1", "low3:1"]
    assert queue.peek(2) == ["high2:1", "high5:1"]
    assert queue.peek(0) == []


def test_peek_never_removes(queue: JobQueue) -> None:
    queue.enqueue("a:1", Priority.NORMAL, NOON)

    assert [queue.peek(5) for _ in range(3)] == [["a:1"]] * 3
    assert queue.members() == {"a:1"}


def test_peek_when_members_are_leased_looks_past_them(queue: JobQueue) -> None:
    for index in range(300):
        queue.enqueue(f"j{index}:1", Priority.NORMAL, _at(index))
    for index in range(250):
        queue.lease(f"j{index}:1", "me")

    assert queue.peek(3) == ["j250:1", "j251:1", "j252:1"]


def test_peek_when_the_queue_is_empty_gives_nothing(queue: JobQueue) -> None:
    assert queue.peek(10) == []


def test_enqueue_when_the_member_is_there_changes_nothing(queue: JobQueue) -> None:
    assert queue.enqueue("a:1", Priority.NORMAL, _at(0))
    assert queue.enqueue("b:1", Priority.NORMAL, _at(1))
    assert not queue.enqueue("a:1", Priority.NORMAL, _at(5))
    assert not queue.enqueue("a:1", Priority.HIGH, _at(5))

    assert queue.peek(9) == ["a:1", "b:1"]
    assert queue.statistics() == {Priority.HIGH: 0, Priority.NORMAL: 2, Priority.LOW: 0}


def test_enqueue_when_the_queue_is_full_refuses_new_ones_only(settings: Settings) -> None:
    queue = JobQueue(settings.model_copy(update={"queue_max_size": 2}))
    queue.enqueue("a:1", Priority.HIGH, NOON)
    queue.ensure_room()
    queue.enqueue("b:1", Priority.LOW, NOON)

    with pytest.raises(QueueFullError, match="2 jobs"):
        queue.enqueue("c:1", Priority.HIGH, NOON)
    with pytest.raises(QueueFullError):
        queue.ensure_room()
    assert not queue.enqueue("a:1", Priority.HIGH, NOON)  # it is there: accepted long ago
    assert queue.enqueue("d:1", Priority.HIGH, NOON, bounded=False)
    queue.close()


def test_enqueue_when_many_come_at_once_never_exceeds_the_size(settings: Settings) -> None:
    queue = JobQueue(settings.model_copy(update={"queue_max_size": 17}))

    def add(index: int) -> bool:
        try:
            return queue.enqueue(f"j{index}:1", list(Priority)[index % 3], NOON)
        except QueueFullError:
            return False

    with ThreadPoolExecutor(8) as threads:
        accepted = list(threads.map(add, range(60)))

    assert sum(accepted) == 17
    assert sum(queue.statistics().values()) == 17
    queue.close()


def test_lease_when_many_want_it_one_gets_it(queue: JobQueue) -> None:
    queue.enqueue("a:1", Priority.NORMAL, NOON)

    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda index: queue.lease("a:1", f"owner{index}"), range(40)))

    assert sum(got) == 1
    assert queue.peek(5) == []
    assert count_leases(queue) == 1


def test_lease_when_it_runs_out_the_member_is_seen_again(settings: Settings) -> None:
    queue = JobQueue(settings.model_copy(update={"queue_lease_seconds": 1}))
    queue.enqueue("a:1", Priority.NORMAL, NOON)
    assert queue.lease("a:1", "me")
    assert queue.peek(1) == []

    wait_until(lambda: queue.peek(1) == ["a:1"], "the lease running out", seconds=5)

    assert queue.lease("a:1", "other")
    queue.close()


def test_remove_takes_the_member_and_its_lease(queue: JobQueue) -> None:
    queue.enqueue("a:1", Priority.LOW, NOON)
    queue.lease("a:1", "me")

    queue.remove("a:1")
    queue.remove("a:1")

    assert queue.members() == set()
    assert count_leases(queue) == 0


def test_remove_says_whether_the_member_was_waiting(queue: JobQueue) -> None:
    queue.enqueue("a:1", Priority.LOW, NOON)
    queue.enqueue("a:2", Priority.LOW, NOON)

    assert queue.remove("a:1")
    assert not queue.remove("a:1")
    assert queue.members() == {"a:2"}


def test_position_counts_every_job_before_it(queue: JobQueue) -> None:
    queue.enqueue("low:1", Priority.LOW, _at(0))
    queue.enqueue("normal:1", Priority.NORMAL, _at(0))
    queue.enqueue("high:1", Priority.HIGH, _at(10))

    assert [queue.position(f"{name}:1") for name in ("high", "normal", "low")] == [1, 2, 3]
    assert queue.position("nobody:1") is None


def test_statistics_count_by_priority(queue: JobQueue) -> None:
    for index, priority in enumerate([Priority.LOW, Priority.HIGH, Priority.LOW]):
        queue.enqueue(f"j{index}:1", priority, NOON)

    assert queue.statistics() == {Priority.HIGH: 1, Priority.NORMAL: 0, Priority.LOW: 2}
    assert count_leases(queue) == 0


def test_two_queues_of_different_names_on_one_redis_see_nothing_of_each_other(settings: Settings) -> None:
    mine, other = JobQueue(settings), JobQueue(settings.model_copy(update={"queue_name": settings.queue_name + "x"}))
    mine.enqueue("a:1", Priority.HIGH, NOON)
    mine.lease("a:1", "me")

    assert other.members() == set()
    assert count_leases(other) == 0
    mine.close()
    other.close()


# The doorbell


def test_doorbell_when_a_job_is_enqueued_wakes_the_waiter_at_once(queue: JobQueue) -> None:
    woken: list[float] = []
    listening = threading.Event()

    def listen() -> None:
        with queue.listen() as doorbell:
            listening.set()
            assert doorbell.wait(20)
            woken.append(time.monotonic())

    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(listen)
        assert listening.wait(5)
        rung = time.monotonic()
        queue.enqueue("a:1", Priority.NORMAL, NOON)
        waiter.result(timeout=20)

    assert woken[0] - rung < 0.5


def test_doorbell_when_a_job_comes_before_the_wait_rings_all_the_same(queue: JobQueue) -> None:
    with queue.listen() as doorbell:
        queue.enqueue("a:1", Priority.NORMAL, NOON)

        assert doorbell.wait(5)


def test_doorbell_when_many_rang_rings_once(queue: JobQueue) -> None:
    with queue.listen() as doorbell:
        for index in range(20):
            queue.enqueue(f"j{index}:1", Priority.NORMAL, NOON)

        assert doorbell.wait(5)
        assert not doorbell.wait(0.05)


def test_doorbell_when_nothing_comes_waits_the_whole_time_even_beyond_the_socket_timeout(settings: Settings) -> None:
    queue = JobQueue(settings.model_copy(update={"redis_timeout_seconds": 0.2}))
    with queue.listen() as doorbell:
        started = time.monotonic()

        assert not doorbell.wait(0.5)
        assert 0.45 < time.monotonic() - started < 3
    queue.close()


def test_doorbell_when_the_member_was_there_already_does_not_ring(queue: JobQueue) -> None:
    queue.enqueue("a:1", Priority.NORMAL, NOON)
    with queue.listen() as doorbell:
        queue.enqueue("a:1", Priority.NORMAL, NOON)

        assert not doorbell.wait(0.05)


def test_listen_when_closed_gives_its_connection_back(queue: JobQueue, settings: Settings) -> None:
    for _ in range(5):
        with queue.listen():
            pass
    clients = queue._redis.client_list()

    assert len([client for client in clients if client["sub"] != "0"]) == 0


# What goes wrong


@pytest.mark.parametrize("password", [SecretStr("wrong"), None], ids=["wrong", "none"])
def test_ping_when_the_password_is_wrong_or_missing_is_refused_for_good(
    settings: Settings, password: SecretStr | None
) -> None:
    queue = JobQueue(settings.model_copy(update={"redis_password": password}))

    with pytest.raises(QueueRefusedError, match="REDIS_PASSWORD"):
        queue.ping()
    with pytest.raises(QueueRefusedError):
        queue.enqueue("a:1", Priority.NORMAL, NOON)
    with pytest.raises(QueueRefusedError), queue.listen():
        pass
    queue.close()


def test_every_operation_when_the_server_is_down_fails_fast_as_unavailable(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    queue = JobQueue(settings.model_copy(update={"redis_port": port}))
    started = time.monotonic()

    for operation in (
        queue.ping,
        queue.ensure_room,
        queue.statistics,
        queue.members,
        lambda: queue.peek(1),
        lambda: queue.position("a:1"),
        lambda: queue.lease("a:1", "me"),
        lambda: queue.remove("a:1"),
        lambda: queue.enqueue("a:1", Priority.NORMAL, NOON),
        lambda: queue.listen().__enter__(),
    ):
        with pytest.raises(QueueUnavailableError, match="REDIS_HOST"):
            operation()

    assert time.monotonic() - started < 3
    queue.close()


def test_ping_when_the_server_accepts_and_never_answers_fails_in_time(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silence = {"redis_port": silent.getsockname()[1], "redis_timeout_seconds": 0.3}
        queue = JobQueue(settings.model_copy(update=silence))
        started = time.monotonic()

        with pytest.raises(QueueUnavailableError):
            queue.ping()

        assert time.monotonic() - started < 3
        queue.close()


def test_enqueue_when_something_else_lies_under_our_key_is_refused(queue: JobQueue, settings: Settings) -> None:
    queue._redis.set(f"{settings.queue_name}:waiting:high", "a string")

    with pytest.raises(QueueRefusedError, match="QUEUE_NAME"):
        queue.enqueue("a:1", Priority.HIGH, NOON)


def test_queue_when_its_connection_was_dropped_connects_again(queue: JobQueue) -> None:
    queue.enqueue("a:1", Priority.HIGH, NOON)
    queue._redis.client_kill_filter(_id=queue._redis.client_id(), skipme=False)

    assert queue.peek(1) == ["a:1"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (redis.ConnectionError("reset"), QueueUnavailableError),
        (redis.TimeoutError("late"), QueueUnavailableError),
        (redis.BusyLoadingError("loading"), QueueUnavailableError),
        (ReadOnlyError("failing over"), QueueUnavailableError),
        (OutOfMemoryError("command not allowed"), QueueUnavailableError),
        (ClusterDownError("down"), QueueUnavailableError),
        (redis.ResponseError("MISCONF Errors writing to the AOF file: No space left"), QueueUnavailableError),
        (redis.ResponseError("Error running script: 8: -MISCONF Errors writing to the AOF"), QueueUnavailableError),
        (redis.ResponseError("WRONGTYPE Operation against a key"), QueueRefusedError),
        (redis.exceptions.NoPermissionError("no zadd"), QueueRefusedError),
        (redis.AuthenticationError("invalid password"), QueueRefusedError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_redis_errors_tell_what_passes_from_what_does_not(error: Exception, expected: type[SttError]) -> None:
    with pytest.raises(expected) as caught, redis_errors("a test"):
        raise error

    assert caught.value.__cause__ is error
