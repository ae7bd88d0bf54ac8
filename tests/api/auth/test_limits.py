"""The limits of a key: how many requests and uploads, and how callers are told to wait."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator

import httpx

from stt_cli.local_stack.home import free_port
from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.auth.conftest import NO_JOB, MakeKey, wait_for_entry
from tests.api.conftest import UPLOAD, Serve, kind_of, multipart, wav


def test_rate_when_used_up_then_429_with_when_to_come_back(client: httpx.Client, make_key: MakeKey) -> None:
    _, probe = make_key("read")
    _, headers = make_key("read", rate=3)
    wait_for_entry(client, probe)  # which is younger: the other is known, too
    allowed = [client.get(NO_JOB, headers=headers) for _ in range(3)]
    refused = client.get(NO_JOB, headers=headers)

    assert [answer.status_code for answer in allowed] == [404] * 3
    assert [re.findall(r"r=(\d+)", answer.headers["ratelimit"]) for answer in allowed] == [["2"], ["1"], ["0"]]
    assert allowed[0].headers["ratelimit-policy"] == '"requests";q=3;w=60'
    assert (refused.status_code, kind_of(refused)) == (429, "rate-limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert client.get("/health", headers=headers).status_code == 200


def test_uploads_when_as_many_are_under_way_as_may_be_then_429_before_a_byte_of_the_body(
    client: httpx.Client, make_key: MakeKey, wait_until: Callable[..., None], services: Services
) -> None:
    key, headers = make_key("write", concurrent=1)
    wait_for_entry(client, headers)
    arriving = threading.Event()

    def slowly() -> Iterator[bytes]:
        _, body = multipart(wav())
        yield body[:100]
        arriving.wait(20)
        yield body[100:]

    form, _ = multipart(b"")
    answers: list[httpx.Response] = []
    first = threading.Thread(
        target=lambda: answers.append(client.post(UPLOAD, content=slowly(), headers=form | headers))
    )
    first.start()
    try:
        # Looked at from outside: a second upload that came too early would take the place of the first.
        held = f"*:uploads:{key.key_id}"
        wait_until(lambda: [*services.queue.server.client.scan_iter(held)], "the first upload having its place", 10)
        answer = client.post(UPLOAD, content=b"no form", headers=form | headers)
        assert (answer.status_code, kind_of(answer)) == (429, "too-many-uploads")
        assert int(answer.headers["retry-after"]) >= 1
    finally:
        arriving.set()
        first.join()
    assert answers[0].status_code == 202
    assert client.post(UPLOAD, files={"file": ("a.wav", wav())}, headers=headers).status_code == 202


def test_complete_when_as_many_uploads_are_under_way_as_may_be_then_429(
    client: httpx.Client, make_key: MakeKey, services: Services
) -> None:
    key, headers = make_key("write", concurrent=1)
    wait_for_entry(client, headers)
    presigned = client.post("/api/v1/tasks/presign", json={"filename": "a.wav"}, headers=headers).json()
    httpx.put(presigned["upload"]["url"], content=wav()).raise_for_status()
    complete = f"/api/v1/tasks/{presigned['job']['job_id']}/complete"
    services.limits.take_upload(key, "another")
    refused = client.post(complete, headers=headers)
    services.limits.end_upload(key, "another")

    assert (refused.status_code, kind_of(refused)) == (429, "too-many-uploads")
    assert client.post(complete, headers=headers).status_code == 202


def test_rate_when_redis_is_away_then_requests_are_let_in_uncounted(
    serve: Serve, settings: Settings, make_key: MakeKey
) -> None:
    _, headers = make_key("read", "write", rate=1)
    with serve(settings.model_copy(update={"redis_port": free_port()})) as client:
        answers = [client.get(NO_JOB, headers=headers) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [404] * 3
        assert "ratelimit" not in answers[0].headers
        refused = client.post(UPLOAD, files={"file": ("a.wav", wav())}, headers=headers)
        assert (refused.status_code, kind_of(refused)) == (503, "queue-unavailable")
