"""Every crash window of an upload: the API dies there, and is started again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from stt_core.failpoints import Failpoint
from stt_core.jobs.job import JobStatus
from tests.api.conftest import UPLOAD, ApiProcess, api_process
from tests.conftest import wait_until
from tests.crash.conftest import KILLED, RECORDING, System

#: An upload that has come no further for an hour is given up.
_HOUR = 3660


class Host:
    """A host of the API: starts it where it does not run."""

    def __init__(self, system: System, folder: Path, stack: ExitStack) -> None:
        self._system, self._folder, self._stack = system, folder, stack
        self._api: ApiProcess | None = None

    @property
    def api(self) -> ApiProcess:
        if self._api is None or self._api.process.poll() is not None:
            self._api = self._stack.enter_context(api_process(self._system.environment, self._folder))
        return self._api

    def upload(self) -> httpx.Response:
        return httpx.post(
            self.api.url + UPLOAD, files={"file": ("talk.ogg", RECORDING.read_bytes())}, data={"language": "en"}
        )

    def status(self, job_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{self.api.url}/api/v1/tasks/{job_id}").raise_for_status().json()
        return answer


@pytest.fixture(scope="module")
def host(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with ExitStack() as stack:
        yield Host(system, tmp_path_factory.mktemp("api"), stack)


def upload_until_it_dies(system: System, host: Host, point: Failpoint, *, wiped: bool) -> str:
    """Upload to an API that dies at the failpoint before it answers; return the job that it had begun."""
    known = {job.job_id for job in system.services.jobs.list_jobs(limit=1000).jobs}
    dying = host.api
    system.arm(point)
    with pytest.raises(httpx.TransportError):
        host.upload()
    assert dying.process.wait(timeout=10) == KILLED
    if wiped:
        system.wipe_redis()
    [job] = [job for job in system.services.jobs.list_jobs(limit=1000).jobs if job.job_id not in known]
    return job.job_id


@pytest.mark.parametrize("wiped", [False, True], ids=["redis-kept", "redis-wiped"])
@pytest.mark.parametrize("point", [Failpoint.JOB_QUEUED, Failpoint.JOB_ENQUEUED])
def test_api_when_it_dies_after_it_accepted_a_recording_then_that_is_transcribed(
    system: System, undisturbed: dict[str, Any], host: Host, point: Failpoint, wiped: bool
) -> None:
    job_id = upload_until_it_dies(system, host, point, wiped=wiped)

    job = system.settle(job_id)

    assert (job.status, job.attempt, job.failures) == (JobStatus.COMPLETED, 1, 0)
    assert host.status(job_id)["status"] == "completed"
    assert system.transcript(job_id) == undisturbed


@pytest.mark.parametrize("wiped", [False, True], ids=["redis-kept", "redis-wiped"])
@pytest.mark.parametrize("point", [Failpoint.JOB_INSERTED, Failpoint.BYTES_STORED])
def test_api_when_it_dies_before_it_accepted_a_recording_then_the_job_fails_and_no_bytes_are_left(
    system: System, host: Host, point: Failpoint, wiped: bool
) -> None:
    job_id = upload_until_it_dies(system, host, point, wiped=wiped)
    source = f"uploads/{job_id}/"
    assert bool(system.services.store.list_keys(source)) == (point is Failpoint.BYTES_STORED)
    assert system.order("recover") == 0
    assert system.services.jobs.get_job(job_id).status is JobStatus.PENDING  # it could still be under way

    job = system.settle(job_id, daemon_clock=_HOUR)

    assert job.status is JobStatus.FAILED and job.error is not None and job.error.kind == "upload-broken"
    assert host.status(job_id)["error"]["mend"]
    wait_until(lambda: not system.services.store.list_keys(source), "the bytes being swept")


@pytest.mark.parametrize("point", [Failpoint.BYTES_STORED, Failpoint.JOB_QUEUED, Failpoint.JOB_ENQUEUED])
def test_api_when_it_dies_while_it_takes_a_recording_over_then_the_client_says_again_that_it_is_complete(
    system: System, undisturbed: dict[str, Any], host: Host, point: Failpoint
) -> None:
    announced = httpx.post(f"{host.api.url}/api/v1/tasks/presign", json={"filename": "talk.ogg", "language": "en"})
    httpx.put(announced.json()["upload"]["url"], content=RECORDING.read_bytes()).raise_for_status()
    job_id, dying = announced.json()["job"]["job_id"], host.api
    system.arm(point)
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{dying.url}/api/v1/tasks/{job_id}/complete")
    assert dying.process.wait(timeout=10) == KILLED

    httpx.post(f"{host.api.url}/api/v1/tasks/{job_id}/complete").raise_for_status()

    assert system.settle(job_id).status is JobStatus.COMPLETED
    assert system.transcript(job_id) == undisturbed
