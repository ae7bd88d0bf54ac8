"""The order of the queue, held against a model of its rule in plain Python."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stt_core.jobs.job import Priority
from stt_core.jobs.queue import FAIR_SHARE, JobQueue

START = datetime(2026, 3, 1, tzinfo=UTC)
#: (priority, milliseconds after START): coarse steps, so that moments meet.
ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from(Priority),
        st.integers(0, 24).map(lambda step: step * 300_000) | st.integers(0, 8_000_000),
    ),
    max_size=25,
)


def fill(queue: JobQueue, arrivals: list[tuple[Priority, int]]) -> None:
    for index, (priority, milliseconds) in enumerate(arrivals):
        queue.enqueue(f"{index:02d}:1", priority, START + timedelta(milliseconds=milliseconds))


def start_all(queue: JobQueue, one_look: bool = False) -> list[str]:
    """Start every job, looking once or before each; return them in the order of their starts."""
    started = []
    while members := queue.peek(100 if one_look else 1):
        for member in members:
            assert queue.lease(member, "sensor")
            started.append(member)
    for member in started:
        queue.remove(member)
    return started


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals=ARRIVALS, before=st.integers(0, 9))
def test_starts_follow_the_rule_whatever_comes(
    queue: JobQueue, arrivals: list[tuple[Priority, int]], before: int
) -> None:
    queue.server.client.set(f"{queue.name}:starts", before)
    fill(queue, arrivals)
    rank = list(Priority).index
    waiting = sorted((rank(priority), at, f"{n:02d}:1") for n, (priority, at) in enumerate(arrivals))
    places = {member: place for place, (_, _, member) in enumerate(waiting, 1)}
    assert {member: queue.position(member) for member in places} == places

    expected = []
    for start in range(before + 1, before + len(arrivals) + 1):
        lower = [entry for entry in waiting if entry[0] > waiting[0][0]]
        is_theirs = lower and start % FAIR_SHARE == 0
        chosen = min(lower, key=lambda entry: (entry[1], entry[0])) if is_theirs else waiting[0]
        waiting.remove(chosen)
        expected.append(chosen[2])
    assert queue.peek(100) == expected
    assert start_all(queue) == expected


def test_high_jobs_when_many_older_ones_wait_are_next(queue: JobQueue) -> None:
    fill(queue, [(Priority.NORMAL, n) for n in range(35)] + [(Priority.HIGH, 3_600_000 + n) for n in range(3)])

    assert queue.peek(3) == ["35:1", "36:1", "37:1"]


def test_low_job_when_high_ones_never_end_starts_within_five(queue: JobQueue) -> None:
    fill(queue, [(Priority.LOW, 0), *((Priority.HIGH, n) for n in range(20))])

    assert start_all(queue).index("00:1") < FAIR_SHARE


def test_starts_when_looked_at_once_or_one_by_one_are_the_same(queue: JobQueue) -> None:
    arrivals = [(priority, n) for n in range(6) for priority in Priority]
    fill(queue, arrivals)
    one_by_one = start_all(queue)
    queue.server.client.delete(f"{queue.name}:starts")
    fill(queue, arrivals)

    assert start_all(queue, one_look=True) == one_by_one


def test_former_entries_when_dropped_are_gone_and_no_other_is(queue: JobQueue) -> None:
    queue.server.client.zadd(f"{queue.name}:normal", {"old:1": 1})
    fill(queue, [(Priority.NORMAL, 0)])
    queue.drop_former()

    assert not queue.server.client.exists(f"{queue.name}:normal")
    assert queue.members() == {"00:1"}
