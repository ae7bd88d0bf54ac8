"""Following a job: long polling and server-sent events, without a thread for each who waits."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.capacity import Places
from stt_core import object_keys
from stt_core.jobs.job import ChunkModel, ChunkStatus, JobStage
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.transcript.document import ChunkSegment, ChunkTranscript
from tests.api.conftest import claim, kind_of, publish, serve_app
from tests.conftest import wait_until

Event = tuple[str, Any]


@pytest.fixture
def app(settings: Settings, services: Services) -> FastAPI:
    """An app whose inside the test looks at."""
    return create_app(settings)


@pytest.fixture
def own_client(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of that app."""
    with serve_app(app) as client:
        yield client


def status_of(job_id: str) -> str:
    return f"/api/v1/tasks/{job_id}"


@contextmanager
def followed(client: httpx.Client, job_id: str) -> Iterator[Iterator[Event]]:
    """Open the events of a job."""
    with client.stream("GET", f"{status_of(job_id)}/events") as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield read_events(response.iter_lines())


def read_events(lines: Iterator[str]) -> Iterator[Event]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def until(events: Iterator[Event], name: str) -> Any:
    """Read on until an event of that name, and return its data."""
    return next(data for found, data in events if found == name)


def finish_chunk(services: Services, job_id: str, text: str) -> None:
    """Let the engine hear the only chunk of a job."""
    key = object_keys.chunk_result(job_id * 2)
    heard = ChunkTranscript(language="de", segments=[ChunkSegment(start=0, end=1, text=text)])
    services.store.put_bytes(key, heard.model_dump_json().encode())
    chunk = ChunkModel(
        chunk_id=f"{job_id}:0", job_id=job_id, index=0, attempt=1, start_seconds=0.5, end_seconds=2.0,
        speech_seconds=1.5, status=ChunkStatus.DONE, result_key=key, language="de", words=2,
    )  # fmt: skip
    services.chunks.replace_chunks(job_id, [chunk])


def test_wait_when_the_job_ends_meanwhile_then_answers_with_its_end(
    client: httpx.Client, services: Services, job_id: str
) -> None:
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(client.get, status_of(job_id), params={"wait": 30})
        started = time.monotonic()
        publish(services, job_id)
        view = answer.result().json()

    assert view["status"] == "completed"
    assert time.monotonic() - started < 10


def test_wait_when_the_job_does_not_end_then_answers_as_it_stands_in_time(client: httpx.Client, job_id: str) -> None:
    started = time.monotonic()
    response = client.get(status_of(job_id), params={"wait": 1})

    assert (response.status_code, response.json()["status"]) == (200, "queued")
    assert 0.9 < time.monotonic() - started < 5


def test_wait_when_the_job_has_ended_then_answers_at_once(
    client: httpx.Client, services: Services, job_id: str
) -> None:
    publish(services, job_id)
    started = time.monotonic()

    assert client.get(status_of(job_id), params={"wait": 30}).json()["status"] == "completed"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("wait", ["-1", "61", "x"])
def test_wait_when_it_is_no_number_of_seconds_then_400(client: httpx.Client, job_id: str, wait: str) -> None:
    assert kind_of(client.get(status_of(job_id), params={"wait": wait})) == "invalid-input"


def test_events_when_a_job_goes_its_way_then_tell_of_each_step_and_end(
    client: httpx.Client, services: Services, job_id: str
) -> None:
    with followed(client, job_id) as events:
        assert until(events, "status")["status"] == "queued"
        assert until(events, "progress")["chunks_total"] == 0
        claim(services, job_id).enter_stage(JobStage.TRANSCRIBING)
        view = until(events, "status")
        if view["stage"] != "transcribing":  # it was looked at between the two
            view = until(events, "status")
        assert (view["status"], view["stage"]) == ("processing", "transcribing")
        finish_chunk(services, job_id, " Guten Morgen.")
        assert until(events, "progress")["chunks_done"] == 1
        assert until(events, "text") == {
            "index": 0, "channel": None, "start_seconds": 0.5, "end_seconds": 2.0, "text": "Guten Morgen.",
        }  # fmt: skip
        services.tasks.cancel_task(job_id)
        rest = list(events)

    assert [name for name, _ in rest] == ["status", "end"]
    assert rest[-1][1]["status"] == "cancelled"


def test_events_when_somebody_comes_late_then_is_told_what_was_heard_before(
    client: httpx.Client, services: Services, job_id: str
) -> None:
    claim(services, job_id).enter_stage(JobStage.TRANSCRIBING)
    finish_chunk(services, job_id, "Guten Morgen.")
    with followed(client, job_id) as first:
        assert until(first, "text")["text"] == "Guten Morgen."
        with followed(client, job_id) as second:
            assert until(second, "text")["text"] == "Guten Morgen."


def test_events_when_the_job_has_ended_then_are_its_end(client: httpx.Client, services: Services, job_id: str) -> None:
    publish(services, job_id)
    with followed(client, job_id) as events:
        assert [(name, data.get("status")) for name, data in events] == [
            ("status", "completed"), ("progress", None), ("end", "completed"),
        ]  # fmt: skip


def test_events_when_the_job_is_deleted_then_end(client: httpx.Client, services: Services, job_id: str) -> None:
    with followed(client, job_id) as events:
        assert until(events, "status")["status"] == "queued"
        services.tasks.delete_task(job_id)
        assert "end" not in [name for name, data in events if data.get("status") not in ("queued", "cancelled")]


def test_events_when_the_job_is_unknown_then_404(client: httpx.Client) -> None:
    response = client.get(f"{status_of('0' * 32)}/events")

    assert (response.status_code, kind_of(response)) == (404, "job-not-found")


def test_events_when_the_client_goes_away_then_nothing_of_it_is_left(
    app: FastAPI, own_client: httpx.Client, job_id: str
) -> None:
    free = app.state.capacity.waiting._free.value
    with followed(own_client, job_id) as events:
        until(events, "status")
        assert len(app.state.snapshots._jobs) == 1
        assert app.state.capacity.waiting._free.value == free - 1

    wait_until(lambda: not app.state.snapshots._jobs, "the job being let go")
    assert app.state.capacity.waiting._free.value == free


def test_followers_when_they_are_many_then_share_their_looks_and_hold_no_threads(
    app: FastAPI, own_client: httpx.Client, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    look = app.state.services.tasks.get_task_status
    many = 60
    with ExitStack() as streams:
        opened = [streams.enter_context(followed(own_client, job_id)) for _ in range(many)]
        for events in opened:
            until(events, "status")
        monkeypatch.setattr(
            app.state.services.tasks,
            "get_task_status",
            lambda *a, **k: (looks.append(time.monotonic()), look(*a, **k))[1],
        )
        wait_until(lambda: len(looks) >= 4, "four looks")
        workers = [thread for thread in threading.enumerate() if "worker" in thread.name.lower()]

        assert own_client.get(status_of(job_id)).status_code == 200
    assert looks[3] - looks[0] > 0.5  # not one for each follower
    assert len(workers) < many


def test_wait_when_every_place_is_taken_then_503_says_when_to_come_back(
    app: FastAPI, own_client: httpx.Client, job_id: str
) -> None:
    app.state.capacity.waiting = Places(1, patience_seconds=0)
    with followed(own_client, job_id) as events:
        until(events, "status")
        for path in ("?wait=5", "/events"):
            refused = own_client.get(status_of(job_id) + path)

            assert (refused.status_code, kind_of(refused)) == (503, "busy")
            assert refused.headers["retry-after"]
        assert own_client.get(status_of(job_id)).status_code == 200
