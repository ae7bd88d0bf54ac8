"""Every crash window of a run: its process dies there, the next attempt makes it good, nothing is done twice."""

from __future__ import annotations

from typing import Any

import pytest

from stt_core.failpoints import Failpoint
from stt_core.jobs.job import JobStatus
from stt_core.retention import sweep
from tests.conftest import wait_until
from tests.core.jobs.conftest import count_leases
from tests.crash.conftest import KILLED, System

#: In the order in which a run comes by.
WINDOWS = [
    Failpoint.RUN_STARTED,
    Failpoint.JOB_CLAIMED,
    Failpoint.ENTRY_ACKNOWLEDGED,
    Failpoint.PCM_STORED,
    Failpoint.ENERGIES_STORED,
    Failpoint.AUDIO_PREPARED,
    Failpoint.CHUNKS_PLANNED,
    Failpoint.TEXT_STORED,
    Failpoint.CHUNK_DONE,
    Failpoint.TRANSCRIPT_MERGED,
    Failpoint.FORMAT_STORED,
    Failpoint.RESULTS_STORED,
    Failpoint.JOB_COMPLETED,
]
CHUNKS = {"0.wav", "1.wav", "2.wav"}


def texts_known_at(point: Failpoint) -> set[str]:
    """Return which chunks need no engine any more when a run died there."""
    at = WINDOWS.index(point)
    if at < WINDOWS.index(Failpoint.TEXT_STORED):
        return set()
    return {"0.wav"} if at <= WINDOWS.index(Failpoint.CHUNK_DONE) else CHUNKS


def assert_nothing_else_is_left(system: System, job_id: str, prefix: str) -> None:
    """Fail where more is left, after the sweep of the night, than the recording, its chunks' texts and its results."""

    def swept() -> bool:
        assert system.order("recover") == 0 and system.order("launch") == 0
        return not system.services.queue.members() and not count_leases(system.services.queue)

    wait_until(swept, "the queue being empty of entries and leases")
    sweep(system.services)
    store = system.services.store
    assert store.list_keys("audio/") == [] == store.list_keys("runs/")
    assert {key.rpartition("/")[0] + "/" for key in store.list_keys(f"results/{job_id}/")} == {prefix}
    assert system.services.heartbeats.signs() == {}
    assert list(system.temporary.glob("stt-*")) == []


@pytest.mark.parametrize("wiped", [False, True], ids=["redis-kept", "redis-wiped"])
@pytest.mark.parametrize("point", WINDOWS)
def test_run_when_it_dies_then_its_job_is_completed_once_and_no_text_is_made_twice(
    system: System, undisturbed: dict[str, Any], point: Failpoint, wiped: bool
) -> None:
    system.forget_texts()
    job_id = system.upload()
    system.arm(point)
    assert system.order("launch") == 0
    assert system.work() == [KILLED] and not system.fuse.exists()
    before = system.engine_calls

    job = system.settle(job_id, wiped=wiped)

    assert job.status is JobStatus.COMPLETED and job.result is not None
    survived = point is Failpoint.JOB_COMPLETED
    assert job.attempt == (1 if survived else 2)
    assert job.failures == (0 if survived or point is Failpoint.RUN_STARTED else 1)
    assert system.transcript(job_id) == undisturbed
    assert set().union(*system.engine_calls[len(before) :]) == CHUNKS - texts_known_at(point)
    assert_nothing_else_is_left(system, job_id, job.result.prefix)


@pytest.mark.parametrize("wiped", [False, True], ids=["redis-kept", "redis-wiped"])
def test_daemon_when_it_dies_with_a_lease_then_the_job_is_launched_when_the_lease_is_over(
    system: System, undisturbed: dict[str, Any], wiped: bool
) -> None:
    job_id = system.upload()
    system.arm(Failpoint.JOB_LEASED)
    assert system.order("launch") == KILLED

    job = system.settle(job_id, wiped=wiped)

    assert (job.status, job.attempt, job.failures) == (JobStatus.COMPLETED, 1, 0)
    assert system.transcript(job_id) == undisturbed
    assert job.result is not None
    assert_nothing_else_is_left(system, job_id, job.result.prefix)


@pytest.mark.parametrize("wiped", [False, True], ids=["redis-kept", "redis-wiped"])
@pytest.mark.parametrize("point", [Failpoint.JOB_QUEUED, Failpoint.JOB_ENQUEUED])
def test_daemon_when_it_dies_with_the_next_attempt_then_that_attempt_is_the_only_one(
    system: System, undisturbed: dict[str, Any], point: Failpoint, wiped: bool
) -> None:
    job_id = system.upload()
    system.arm(Failpoint.CHUNKS_PLANNED)
    assert system.order("launch") == 0
    assert system.work() == [KILLED]
    system.arm(point)
    assert system.order("recover") == KILLED

    job = system.settle(job_id, wiped=wiped)

    assert (job.status, job.attempt, job.failures) == (JobStatus.COMPLETED, 2, 1)
    assert system.transcript(job_id) == undisturbed
    assert job.result is not None
    assert_nothing_else_is_left(system, job_id, job.result.prefix)
