"""Looks at a job that requests share."""

from __future__ import annotations

import asyncio
import threading

import pytest

from api.capacity import Places
from api.job_watch import Snapshots
from stt_core.errors import BusyError, JobNotFoundError
from stt_core.jobs.job import JobCreate, JobOptions, JobStatus, JobView
from stt_core.services import Services


@pytest.fixture
def job_id(services: Services) -> str:
    return services.jobs.create_job(JobCreate(filename="a.wav", options=JobOptions(model="demo"))).job_id


class Gate:
    """Looks of the services wait here, once they have seen what they see."""

    def __init__(self, services: Services, patch: pytest.MonkeyPatch) -> None:
        self._look = services.tasks.get_task_status
        self.open = threading.Event()
        self.looks = 0
        patch.setattr(services.tasks, "get_task_status", self._wait)

    def _wait(self, job_id: str, *, owner: str | None = None) -> JobView:
        view = self._look(job_id, owner=owner)
        self.looks += 1
        assert self.open.wait(20)
        return view

    async def passed(self) -> None:
        while not self.looks:
            await asyncio.sleep(0.01)


def test_look_when_many_ask_meanwhile_then_they_share_one_that_began_after_they_came(
    services: Services, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(services, monkeypatch)

    async def ask() -> tuple[JobView, list[JobView]]:
        snapshots = Snapshots(services, Places(4))
        first = asyncio.create_task(snapshots.look(job_id, None))
        await gate.passed()
        services.tasks.cancel_task(job_id)  # which those who ask from now on must be told of
        others = [asyncio.create_task(snapshots.look(job_id, None)) for _ in range(20)]
        await asyncio.sleep(0)
        gate.open.set()
        return await first, list(await asyncio.gather(*others))

    first, others = asyncio.run(ask())

    assert first.status is JobStatus.PENDING
    assert {view.status for view in others} == {JobStatus.CANCELLED}
    assert gate.looks == 2


def test_look_when_another_owner_asks_for_the_same_job_then_it_is_not_theirs(services: Services, job_id: str) -> None:
    async def ask() -> None:
        snapshots = Snapshots(services, Places(4))
        whole = asyncio.create_task(snapshots.look(job_id, None))
        with pytest.raises(JobNotFoundError):
            await snapshots.look(job_id, "somebody")
        assert (await whole).job_id == job_id

    asyncio.run(ask())


def test_look_when_no_slot_becomes_free_then_busy_and_the_next_one_is_answered(
    services: Services, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(services, monkeypatch)

    async def ask() -> JobView:
        snapshots = Snapshots(services, Places(1, patience_seconds=0.1))
        first = asyncio.create_task(snapshots.look(job_id, None))
        await gate.passed()
        for _ in range(2):
            with pytest.raises(BusyError):
                await snapshots.look(job_id, "somebody")
        gate.open.set()
        await first
        return await snapshots.look(job_id, None)

    assert asyncio.run(ask()).job_id == job_id
