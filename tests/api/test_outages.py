"""The API while a server behind it is down, hangs or comes back."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from stt_cli.local_stack.home import StackHome, free_port
from stt_cli.local_stack.processes import Guard
from stt_cli.local_stack.servers import EmbeddedMongo, EmbeddedRedis, EmbeddedS3, EmbeddedServer
from stt_core.jobs.job import JobCreate, JobOptions
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.stores.object_store import ObjectStore
from tests.api.conftest import UPLOAD, Serve, everything, kind_of, publish, upload
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
        asked = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(200)]
        for connection in asked:
            connection.sendall(f"GET {JOB} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        waits: list[float] = []
        while True:
            started = time.perf_counter()
            assert client.get("/health").status_code == 200
            waited = time.perf_counter() - started
            if select.select(asked, [], [], 0)[0]:  # MongoDB was given up: the hang is over
                break
            waits.append(waited)
        assert waits
        assert max(waits) < 1
        started = time.perf_counter()
        assert dependencies(client) == (503, {"mongodb": False, "redis": True, "object_store": True})
        assert time.perf_counter() - started < 5
        assert {connection.recv(65536).split()[1] for connection in asked} == {b"503"}


@contextmanager
def hanging(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let a server accept and never answer while the block runs."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def in_time(seconds: float, ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Return the answer, which must come within so many seconds."""
    started = time.perf_counter()
    response = ask()
    assert time.perf_counter() - started < seconds
    return response


def assert_refused_before_the_body_is_read(client: httpx.Client, kind: str, seconds: float) -> None:
    """Begin an upload, send nothing of its body, and expect the answer."""
    head = (
        f"POST {UPLOAD} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000000\r\n"
        "Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
    )
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=seconds) as connection:
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 503 ")
    assert "retry-after: " in answer.lower()
    assert f"urn:stt:error:{kind}" in answer


def test_redis_when_it_hangs_then_jobs_are_shown_at_once_and_uploads_refused_unread(
    serve: Serve, settings: Settings, services: Services, own_home: StackHome
) -> None:
    server = EmbeddedRedis(own_home)
    process = start_server(server)
    changed = settings_with(settings, server).model_copy(update={"redis_timeout_seconds": 1.0})
    with serve(changed) as client, ThreadPoolExecutor(60) as threads:
        queued = upload(client).json()
        finished = publish(services, upload(client).json()["job_id"])
        with hanging(process):
            first = in_time(3, lambda: client.get(f"/api/v1/tasks/{queued['job_id']}"))
            assert (first.status_code, first.json()["queue_position"]) == (200, None)
            # One of them waits for Redis, the others are told what is known without it.
            started = time.perf_counter()
            asked = list(threads.map(lambda _: client.get(f"/api/v1/tasks/{queued['job_id']}"), range(60)))
            assert {answer.status_code for answer in asked} == {200}
            assert time.perf_counter() - started < 5
            assert client.get(f"/api/v1/tasks/{finished.job_id}/result").status_code == 200
            assert_refused_before_the_body_is_read(client, "queue-unavailable", seconds=3)
            assert in_time(4, lambda: client.get("/ready")).status_code == 503
        wait_until(lambda: upload(client).status_code == 202, "uploads accepted again")
        position = client.get(f"/api/v1/tasks/{queued['job_id']}").json()["queue_position"]
        assert position >= 1


def test_object_store_when_it_hangs_then_what_needs_it_is_refused_in_time_and_the_rest_served(
    serve: Serve, settings: Settings, services: Services, own_home: StackHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_core.stores.connections._SILENCE_SECONDS", 2.0)
    monkeypatch.setattr("stt_core.stores.connections._PROBE_SECONDS", 1.0)
    monkeypatch.setattr("api.capacity._PATIENCE_SECONDS", 1.0)
    server = EmbeddedS3(own_home)
    process = start_server(server)
    store_settings = settings_with(settings, server)
    store = ObjectStore(store_settings)
    with serve(store_settings) as client, ThreadPoolExecutor(80) as threads:
        job = upload(client).json()["job_id"]
        finished = publish(replace(services, store=store), upload(client).json()["job_id"]).job_id
        assert client.get(f"/api/v1/tasks/{finished}/result").status_code == 200
        with hanging(process):
            # More than there are slots, many more than an untroubled API sees.
            asked = [threads.submit(client.get, f"/api/v1/tasks/{finished}/result") for _ in range(80)]
            while not all(one.done() for one in asked):
                assert in_time(1, lambda: client.get("/health")).status_code == 200
                assert in_time(1, lambda: client.get(f"/api/v1/tasks/{job}")).status_code == 200
            answers = [one.result() for one in asked]
            assert {answer.status_code for answer in answers} == {503}
            assert {kind_of(answer) for answer in answers} == {"store-unavailable", "busy"}
            assert all(answer.elapsed.total_seconds() < 5 for answer in answers)
            assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
            assert_refused_before_the_body_is_read(client, "store-unavailable", seconds=3)
            assert in_time(3, lambda: client.get("/ready")).json()["dependencies"]["object_store"]["ok"] is False
        wait_until(lambda: client.get(f"/api/v1/tasks/{finished}/result").status_code == 200, "results served again")
        assert upload(client).status_code == 202
    store.close()


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
