"""The order of the queue, held against a model of its rule in plain Python."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stt_core.jobs.job import Priority
from stt_core.jobs.queue import JobQueue

START = datetime(2026, 3, 1, tzinfo=UTC)
DELAY = {Priority.HIGH: 0, Priority.NORMAL: 600_000, Priority.LOW: 3_600_000}
#: (priority, milliseconds after START): coarse steps, so that moments and scores meet.
ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from(Priority),
        st.integers(0, 24).map(lambda step: step * 300_000) | st.integers(0, 8_000_000),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals=ARRIVALS)
def test_peek_and_position_follow_the_rule_whatever_comes(
    queue: JobQueue, arrivals: list[tuple[Priority, int]]
) -> None:
    for member in queue.members():
        queue.remove(member)
    score: dict[str, int] = {}
    for index, (priority, milliseconds) in enumerate(arrivals):
        member = f"{index:02d}:1"
        score[member] = milliseconds + DELAY[priority]
        queue.enqueue(member, priority, START + timedelta(milliseconds=milliseconds))

    # Of members that meet, the higher priority goes first, then the smaller id.
    rank = {member: list(Priority).index(arrivals[int(member[:2])][0]) for member in score}
    expected = sorted(score, key=lambda member: (score[member], rank[member], member))
    assert queue.peek(len(arrivals) + 5) == expected
    for member, own in score.items():
        assert queue.position(member) == 1 + sum(other < own for other in score.values())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(waiting=st.sampled_from(Priority), other=st.sampled_from(Priority), waited=st.integers(3_600_001, 10**9))
def test_score_of_any_job_that_waited_an_hour_is_before_every_later_one(
    queue: JobQueue, waiting: Priority, other: Priority, waited: int
) -> None:
    assert queue.score(waiting, START) < queue.score(other, START + timedelta(milliseconds=waited))
