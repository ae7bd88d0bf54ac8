"""The API while a server behind it is down, hangs or comes back."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from stt_core.jobs.models import JobCreate, JobOptions
from stt_core.local_stack.home import StackHome, free_port
from stt_core.local_stack.processes import Guard
from stt_core.local_stack.servers import EmbeddedMongo, EmbeddedS3, EmbeddedServer
from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.conftest import Serve, everything, kind_of, upload
from tests.conftest import start_server, wait_until

JOB = f"/api/v1/tasks/{'0' * 32}"


@pytest.fixture
def own_home(tmp_path: Path) -> Iterator[StackHome]:
    """A home for servers that a test ends as it likes."""
    home = StackHome.at(tmp_path / "own")
    with Guard(home):
        yield home


def settings_with(settings: Settings, server: EmbeddedServer) -> Settings:
    """Return settings that lead to `server` instead of the shared one, and give up soon."""
    changed = {name: getattr(settings, name) for name in settings.model_fields_set} | {
        name.lower(): value for name, value in server.settings_environment().items()
    }
    return Settings.model_validate(changed | {"mongodb_timeout_seconds": 1.0, "whisper_model": "demo"})


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(timeout=10)


def dependencies(client: httpx.Client) -> tuple[int, dict[str, bool]]:
    """Return the status of `/ready` and which servers it finds up."""
    response = client.get("/ready")
    return response.status_code, {name: one["ok"] for name, one in response.json()["dependencies"].items()}


def test_ready_when_every_server_answers_then_200_with_latencies(client: httpx.Client) -> None:
    response = client.get("/ready")

    assert (response.status_code, response.json()["status"]) == (200, "ready")
    assert set(response.json()["dependencies"]) == {"mongodb", "redis", "object_store"}
    assert all(one["ok"] and one["latency_ms"] > 0 for one in response.json()["dependencies"].values())


def test_mongodb_when_down_at_the_first_start_then_nothing_else_is_called_down(
    serve: Serve, settings: Settings
) -> None:
    fresh = {"mongodb_url": f"mongodb://127.0.0.1:{free_port()}", "mongodb_timeout_seconds": 0.2}
    with serve(settings.model_copy(update=fresh | {"minio_bucket": f"fresh{os.urandom(6).hex()}"})) as client:
        assert dependencies(client) == (503, {"mongodb": False, "redis": True, "object_store": True})


@pytest.mark.usefixtures("assert_nothing_left")
def test_mongodb_when_down_then_503_and_alive_but_not_ready(serve: Serve, settings: Settings) -> None:
    down = settings.model_copy(
        update={"mongodb_url": f"mongodb://127.0.0.1:{free_port()}", "mongodb_timeout_seconds": 0.3}
    )
    with serve(down) as client:
        assert client.get("/health").json() == {"status": "alive"}
        assert dependencies(client) == (503, {"mongodb": False, "redis": True, "object_store": True})
        for response in (client.get(JOB), client.get(f"{JOB}/result"), upload(client)):
            assert (response.status_code, kind_of(response)) == (503, "database-unavailable")
            assert int(response.headers["retry-after"]) > 0


def test_mongodb_when_it_dies_under_an_upload_then_503_and_no_object_is_left(
    serve: Serve, settings: Settings, services: Services, own_home: StackHome
) -> None:
    mongo = EmbeddedMongo(own_home)
    process = start_server(mongo)
    with serve(settings_with(settings, mongo)) as client:
        assert upload(client).status_code == 202
        before = services.store.list_keys("")
        end(process)
        response = upload(client)
        assert (response.status_code, kind_of(response)) == (503, "database-unavailable")
        assert services.store.list_keys("") == before

        start_server(mongo)
        wait_until(lambda: upload(client).status_code == 202, "uploads accepted again")


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


def test_mongodb_when_it_hangs_then_health_answers_at_once(
    serve: Serve, settings: Settings, silent_server: int
) -> None:
    hanging = settings.model_copy(
        update={"mongodb_url": f"mongodb://127.0.0.1:{silent_server}", "mongodb_timeout_seconds": 1.5}
    )
    with serve(hanging) as client, ExitStack() as stack:
        address = (client.base_url.host, client.base_url.port)
        # More than there are worker threads.
        asked = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(45)]
        for connection in asked:
            connection.sendall(f"GET {JOB} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        waits: list[float] = []
        while True:
            started = time.perf_counter()
            assert client.get("/health").status_code == 200
            waited = time.perf_counter() - started
            if select.select(asked, [], [], 0)[0]:  # MongoDB was given up: the hang is over
                break
            waits.append(waited)
        assert waits
        assert max(waits) < 0.5
        assert {connection.recv(65536).split()[1] for connection in asked} == {b"503"}


def test_redis_when_down_then_uploads_are_refused_and_jobs_still_shown(
    serve: Serve, settings: Settings, services: Services
) -> None:
    job = services.jobs.create_job(JobCreate(filename="a.wav", options=JobOptions(model="demo")))
    before = everything(services)
    with serve(settings.model_copy(update={"redis_port": free_port()})) as client:
        assert dependencies(client) == (503, {"mongodb": True, "redis": False, "object_store": True})
        response = upload(client)
        assert (response.status_code, kind_of(response)) == (503, "queue-unavailable")
        assert client.get(f"/api/v1/tasks/{job.job_id}").status_code == 200
    assert everything(services) == before


def test_object_store_when_down_at_the_start_then_ready_as_soon_as_it_is_back(
    serve: Serve, settings: Settings, services: Services, own_home: StackHome
) -> None:
    store = EmbeddedS3(own_home)
    before = everything(services)
    with serve(settings_with(settings, store)) as client:
        assert dependencies(client) == (503, {"mongodb": True, "redis": True, "object_store": False})
        response = upload(client)
        assert (response.status_code, kind_of(response)) == (503, "store-unavailable")
        assert everything(services) == before

        start_server(store)
        assert upload(client).status_code == 202
        assert client.get("/ready").status_code == 200


def test_object_store_when_it_dies_under_an_upload_then_no_job_waits_for_ever(
    serve: Serve, settings: Settings, services: Services, own_home: StackHome
) -> None:
    jobs_before, _, queued_before = everything(services)
    store = EmbeddedS3(own_home)
    process = start_server(store)
    with serve(settings_with(settings, store)) as client:
        wait_until(lambda: client.get("/ready").status_code == 200, "the API ready")
        end(process)
        response = upload(client)
        assert (response.status_code, kind_of(response)) == (503, "store-unavailable")
    jobs, _, queued = everything(services)
    assert all(services.jobs.get_job(job_id).status.is_final for job_id in jobs - jobs_before)
    assert queued == queued_before
