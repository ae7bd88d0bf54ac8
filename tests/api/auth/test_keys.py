"""Keys and their scopes: who comes in, and what they see."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from api import auth
from api.app import create_app
from stt_core.services import Services
from tests.api.auth.conftest import NO_JOB, MakeKey, wait_for_entry
from tests.api.conftest import UPLOAD, kind_of, upload, wav
from tests.api.documentation import example, run


def test_request_when_without_a_key_then_401_that_says_how(client: httpx.Client) -> None:
    for response in (client.get(NO_JOB), upload(client), client.get("/nowhere"), client.get("/metrics")):
        assert (response.status_code, kind_of(response)) == (401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"
        assert "stt keys create" in response.json()["mend"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer stt_nonsense"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"X-API-Key": ""},
        {"X-API-Key": "ü".encode().decode("latin-1")},
    ],
)
def test_request_when_the_key_is_not_one_then_401(client: httpx.Client, headers: dict[str, str]) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    assert client.get(NO_JOB, headers=encoded).status_code == 401


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/redoc", "/openapi.json", "/static-offline-docs/"])
def test_path_when_open_to_all_then_no_key_is_asked_for(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code != 401


@pytest.mark.parametrize("path", ["/static-offline-docs/../api/v1/tasks", "/health/", "//health", "/Health", "/docs/x"])
def test_path_when_only_like_an_open_one_then_a_key_is_asked_for_or_nothing_is_there(
    client: httpx.Client, path: str
) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:  # not normalised
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert re.match(rb"HTTP/1.1 (401|404) ", connection.recv(100))


def test_key_when_good_then_lets_in_by_either_header(client: httpx.Client, make_key: MakeKey) -> None:
    _, headers = make_key("read")
    token = headers["Authorization"].removeprefix("Bearer ")

    for way in (headers, {"Authorization": f"bearer {token}"}, {"X-API-Key": token}):
        wait_for_entry(client, way)
        assert client.get(NO_JOB, headers=way).status_code == 404


@pytest.mark.parametrize(
    ("scopes", "reads", "writes", "metrics"),
    [
        (["read"], 404, 403, 403),
        (["write"], 403, 404, 403),
        (["read", "write"], 404, 404, 403),
        (["admin"], 404, 404, 200),
    ],
)
def test_key_when_it_lacks_a_scope_then_403_that_names_it(
    client: httpx.Client, make_key: MakeKey, scopes: list[str], reads: int, writes: int, metrics: int
) -> None:
    _, headers = make_key(*scopes)
    wait_for_entry(client, headers)
    answers = [
        client.get(NO_JOB, headers=headers),
        client.post(f"{NO_JOB}/cancel", headers=headers),
        client.get("/metrics", headers=headers),
    ]
    disguised = client.get("/metrics", headers=headers | {"Host": "localhost/api/v1/tasks?"})
    assert disguised.status_code == metrics

    assert [answer.status_code for answer in answers] == [reads, writes, metrics]
    for answer in answers:
        if answer.status_code == 403:
            assert kind_of(answer) == "forbidden"
            assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
            assert answer.json()["details"]["scope"] in ("read", "write", "admin")


def test_upload_when_the_key_may_not_then_refused_before_a_byte_of_the_body(
    client: httpx.Client, make_key: MakeKey
) -> None:
    _, headers = make_key("read")
    wait_for_entry(client, headers)
    head = (
        f"POST {UPLOAD} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {headers['Authorization']}\r\n"
        "Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: 1000000\r\n\r\n"
    )
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
        connection.settimeout(10)
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 403 ")


def test_job_when_somebody_elses_then_not_found_in_every_way_but_for_an_admin(
    client: httpx.Client, make_key: MakeKey, services: Services
) -> None:
    mine, my_headers = make_key("read", "write")
    _, other = make_key("read", "write")
    _, admin = make_key("admin")
    wait_for_entry(client, admin)
    job_id = client.post(UPLOAD, files={"file": ("a.wav", wav())}, headers=my_headers).json()["job_id"]
    job = f"/api/v1/tasks/{job_id}"

    assert services.jobs.get_job(job_id).owner == mine.key_id
    assert client.get(job, headers=my_headers).status_code == 200
    assert client.get(job, headers=admin).status_code == 200
    ways = [
        (method, path.format(job_id=job_id))
        for path, operations in create_app().openapi()["paths"].items()
        for method in operations
        if "{job_id}" in path
    ]
    assert len(ways) >= 9
    for method, path in ways:
        foreign = client.request(method, path, headers=other)
        missing = client.request(method, path.replace(job_id, "0" * 32), headers=other)
        assert (foreign.status_code, kind_of(foreign)) == (404, "job-not-found")
        assert foreign.json()["detail"].replace(job_id, "") == missing.json()["detail"].replace("0" * 32, "")
    assert client.post(f"{job}/cancel", headers=my_headers).status_code == 200


def test_upload_when_another_key_sent_the_same_then_it_gets_a_job_of_its_own(
    client: httpx.Client, make_key: MakeKey
) -> None:
    one, another = (make_key("write")[1] for _ in range(2))
    wait_for_entry(client, another)
    for way in ({"headers": {"Idempotency-Key": "the-same"}}, {"params": {"deduplicate": "true"}}):
        answers = [
            client.put(UPLOAD, content=wav(0.3), headers=key | way.get("headers", {}), params=way.get("params"))
            for key in (one, another)
        ]
        assert [answer.status_code for answer in answers] == [202, 202]
        assert answers[0].json()["job_id"] != answers[1].json()["job_id"]


def test_key_when_revoked_then_refused_within_seconds(
    client: httpx.Client, make_key: MakeKey, services: Services, wait_until: Callable[..., None]
) -> None:
    key, headers = make_key("read")
    wait_for_entry(client, headers)
    services.keys.revoke(key.key_id)

    wait_until(
        lambda: client.get(NO_JOB, headers=headers).status_code == 401,
        "the key being refused",
        5,
    )


def test_requests_when_many_then_mongodb_is_asked_for_keys_once(
    client: httpx.Client, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, headers = make_key("read", rate=1000)
    wait_for_entry(client, headers)
    asked: list[object] = []
    ring = auth.ApiKeys.ring
    monkeypatch.setattr(auth.ApiKeys, "ring", lambda keys: asked.append(keys) or ring(keys))
    for _ in range(100):
        assert client.get("/nowhere", headers=headers).status_code == 404

    assert len(asked) <= 20  # one each 0.2 s


def test_examples_of_the_documentation_when_executed_then_come_in(
    client: httpx.Client, make_key: MakeKey, tmp_path: Path
) -> None:
    _, headers = make_key("read", "write")
    wait_for_entry(client, headers)
    (tmp_path / "meeting.wav").write_bytes(wav())
    key = headers["Authorization"].removeprefix("Bearer ")

    assert '"status":"queued"' in run(example(client, "Keys, limits and figures", "sh"), tmp_path, STT_API_KEY=key)
