"""Lists of jobs, page by page, and jobs that are deleted."""

from __future__ import annotations

import httpx
import pytest

from stt_core import object_keys
from stt_core.errors import JobDeletedError
from stt_core.jobs.job import ChunkModel, JobCreate, JobOptions, JobStatus, JobUpdate
from stt_core.services import Services
from tests.api.conftest import claim, kind_of, publish, upload

TASKS = "/api/v1/tasks"


@pytest.fixture
def job_ids(services: Services) -> list[str]:
    """Five fresh jobs, newest first; the second and the fourth were cancelled."""
    jobs = [
        services.jobs.create_job(JobCreate(filename=f"{i}.wav", options=JobOptions(model="demo"), owner="ann"))
        for i in range(5)
    ]
    for job in (jobs[1], jobs[3]):
        services.jobs.update_job(job, JobUpdate(status=JobStatus.CANCELLED))
    return sorted((job.job_id for job in jobs), reverse=True)


def ids(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [task["job_id"] for task in response.json()["tasks"]]


def test_list_when_read_page_by_page_then_is_every_job_once_newest_first(
    client: httpx.Client, job_ids: list[str]
) -> None:
    first = client.get(TASKS, params={"limit": 2})
    second = client.get(TASKS, params={"limit": 3, "cursor": first.json()["next_cursor"]})

    assert ids(first) + ids(second) == job_ids
    assert first.json()["tasks"][0]["filename"].endswith(".wav")


def test_list_when_a_job_comes_between_two_pages_then_none_is_seen_twice(
    client: httpx.Client, services: Services, job_ids: list[str]
) -> None:
    first = client.get(TASKS, params={"limit": 2})
    services.jobs.create_job(JobCreate(filename="new.wav", options=JobOptions(model="demo")))

    assert ids(client.get(TASKS, params={"limit": 3, "cursor": first.json()["next_cursor"]})) == job_ids[2:]


def test_list_when_a_status_is_asked_for_then_has_only_those(client: httpx.Client, job_ids: list[str]) -> None:
    found = client.get(TASKS, params={"status": "cancelled", "limit": 2})

    assert len(ids(found)) == 2
    assert set(ids(found)) < set(job_ids)
    assert {task["status"] for task in found.json()["tasks"]} == {"cancelled"}


def test_list_when_it_ends_then_there_is_no_cursor(
    client: httpx.Client, services: Services, job_ids: list[str]
) -> None:
    page = services.tasks.list_tasks(owner="ann", limit=200)

    assert [task.job_id for task in page.tasks][:5] == job_ids
    assert page.next_cursor is None
    assert services.tasks.list_tasks(owner="bob").tasks == []


@pytest.mark.parametrize(
    "params", [{"status": "done"}, {"limit": "0"}, {"limit": "201"}, {"cursor": "x"}, {"page": "2"}]
)
def test_list_when_a_parameter_is_wrong_then_400(client: httpx.Client, params: dict[str, str]) -> None:
    response = client.get(TASKS, params=params)

    assert (response.status_code, kind_of(response)) == (400, "invalid-input")


def objects_of(services: Services, job_id: str) -> list[str]:
    return [key for key in services.store.list_keys("") if job_id in key]


def test_delete_when_completed_then_everything_goes_but_the_memory_of_it(
    client: httpx.Client, services: Services
) -> None:
    job_id = upload(client, name="secret plans.wav").json()["job_id"]
    publish(services, job_id)
    services.store.put_bytes(object_keys.prepared_pcm(job_id, 1), b"pcm")
    chunk = ChunkModel(
        chunk_id=f"{job_id}:0", job_id=job_id, index=0, attempt=1, start_seconds=0, end_seconds=1, speech_seconds=1
    )
    services.chunks.replace_chunks(job_id, [chunk])
    assert len(objects_of(services, job_id)) == 3

    response = client.delete(f"{TASKS}/{job_id}")

    assert (response.status_code, response.content) == (204, b"")
    assert objects_of(services, job_id) == []
    assert services.chunks.get_chunks(job_id) == []
    left = services.database.jobs.find_one({"_id": job_id})
    assert left is not None
    assert (left["status"], left["source"], left["result"], left["attempts"]) == ("completed", None, None, [])
    assert "secret" not in str(left)


@pytest.mark.parametrize("state", ["queued", "processing"])
def test_delete_when_it_has_not_ended_then_it_is_cancelled_first(
    client: httpx.Client, services: Services, state: str
) -> None:
    job_id = upload(client).json()["job_id"]
    run = claim(services, job_id) if state == "processing" else None

    assert client.delete(f"{TASKS}/{job_id}").status_code == 204
    assert f"{job_id}:1" not in services.queue.members()
    assert run is None or run.is_lost()
    left = services.database.jobs.find_one({"_id": job_id})
    assert left is not None
    assert left["status"] == "cancelled"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/result"), ("GET", "/chunks"), ("GET", "/audio"), ("GET", "/events"), ("DELETE", ""),
     ("POST", "/cancel"), ("POST", "/retry")],
)  # fmt: skip
def test_job_when_deleted_then_410_everywhere(client: httpx.Client, services: Services, method: str, path: str) -> None:
    job_id = upload(client).json()["job_id"]
    client.delete(f"{TASKS}/{job_id}")
    response = client.request(method, f"{TASKS}/{job_id}{path}")

    assert (response.status_code, kind_of(response)) == (410, "job-deleted")
    assert job_id not in ids(client.get(TASKS))


def test_delete_when_it_is_somebody_elses_then_404_before_and_after(services: Services, client: httpx.Client) -> None:
    job = services.jobs.create_job(JobCreate(filename="a.wav", options=JobOptions(model="demo"), owner="ann"))
    with pytest.raises(Exception, match="There is no job") as refused:
        services.tasks.delete_task(job.job_id, owner="bob")
    assert not isinstance(refused.value, JobDeletedError)
    services.tasks.delete_task(job.job_id, owner="ann")
    with pytest.raises(Exception, match="There is no job") as refused:
        services.tasks.get_task_status(job.job_id, owner="bob")
    assert not isinstance(refused.value, JobDeletedError)
    with pytest.raises(JobDeletedError):
        services.tasks.get_task_status(job.job_id, owner="ann")
