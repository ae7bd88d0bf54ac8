"""Keys, their scopes and their limits: who comes in, what they see, and how they are told to wait."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from api import protection
from api.application import create_app
from stt_core.access.models import ApiKey, Scope
from stt_core.local_stack.home import free_port
from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.conftest import REPOSITORY, UPLOAD, Serve, kind_of, multipart, upload, wav

MakeKey = Callable[..., tuple[ApiKey, dict[str, str]]]
NO_JOB = f"/api/v1/tasks/{'0' * 32}"


@pytest.fixture(scope="module")
def settings(server_settings: Settings) -> Settings:
    """Of this module alone: a key once made asks everybody for theirs."""
    own = f"keys{os.urandom(6).hex()}"
    return server_settings.model_copy(
        update={"mongodb_database": own, "queue_name": own, "minio_bucket": own, "whisper_model": "demo"}
    )


@pytest.fixture(scope="module", autouse=True)
def _sooner() -> Iterator[None]:
    """Let the API look for keys more often than it does for people."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protection, "FRESH_SECONDS", 0.2)
        yield


@pytest.fixture(scope="module")
def services(settings: Settings) -> Iterator[Services]:
    services = Services.open(settings)
    services.prepare()
    yield services
    services.close()


@pytest.fixture(scope="module")
def make_key(services: Services) -> MakeKey:
    def make(*scopes: str, **limits: int) -> tuple[ApiKey, dict[str, str]]:
        new = services.keys.create("test", [Scope(scope) for scope in scopes], **limits)
        return new.key, {"Authorization": f"Bearer {new.token.get_secret_value()}"}

    return make


@pytest.fixture(scope="module")
def client(serve: Serve, settings: Settings, make_key: MakeKey) -> Iterator[httpx.Client]:
    """A client without a key of an API that asks for one."""
    make_key("read")
    with serve(settings) as client:
        yield client


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


def wait_for_entry(client: httpx.Client, headers: dict[str, str]) -> None:
    """Wait until the API knows a key that was just made."""
    deadline = threading.Event()
    for _ in range(100):
        if client.get("/api/v1/entry", headers=headers).status_code != 401:
            return
        deadline.wait(0.05)
    pytest.fail("the API never learnt of the key")


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
    ring = protection.ApiKeys.ring
    monkeypatch.setattr(protection.ApiKeys, "ring", lambda keys: asked.append(keys) or ring(keys))
    for _ in range(100):
        assert client.get("/nowhere", headers=headers).status_code == 404

    assert len(asked) <= 20  # one each 0.2 s


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
    client: httpx.Client, make_key: MakeKey, wait_until: Callable[..., None]
) -> None:
    _, headers = make_key("write", concurrent=1)
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

        def is_refused() -> bool:
            answer = client.post(UPLOAD, content=b"no form", headers=form | headers)
            if answer.status_code != 429:
                return False
            assert kind_of(answer) == "too-many-uploads"
            assert int(answer.headers["retry-after"]) >= 1
            return True

        wait_until(is_refused, "the second upload being refused", 10)
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


@pytest.fixture
def keyless(settings: Settings) -> Settings:
    """A system that never had a key."""
    return settings.model_copy(update={"mongodb_database": f"keys{os.urandom(6).hex()}"})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"Authorization": "Bearer anything"}, 404),
        ({"Origin": "http://localhost:8000"}, 404),
        ({"Host": "[::1]:8000"}, 404),
        ({"Host": "stt.example.com"}, 401),
        ({"Origin": "https://evil.example.com"}, 401),
        ({"Origin": "null"}, 401),
        ({"Origin": "http://[::1"}, 401),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 401),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 404),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 404),
        ({"X-Forwarded-For": "203.0.113.9"}, 401),
        ({"X-Real-IP": "203.0.113.9"}, 401),
        ({"Via": "1.1 proxy"}, 401),
    ],
    ids=str,
)
def test_keys_when_there_are_none_then_only_what_is_local_comes_in(
    serve: Serve, keyless: Settings, headers: dict[str, str], status: int
) -> None:
    with serve(keyless) as client:
        assert client.get(NO_JOB, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("update", "status"),
    [
        ({"stt_api_host": "0.0.0.0"}, 401),
        ({"api_keys": "required"}, 401),
        ({"api_keys": "off", "stt_api_host": "0.0.0.0"}, 404),
    ],
    ids=str,
)
def test_keys_when_there_are_none_then_the_settings_decide(
    serve: Serve, keyless: Settings, update: dict[str, str], status: int
) -> None:
    with serve(keyless.model_copy(update=update)) as client:
        assert client.get(NO_JOB).status_code == status
        assert client.get("/health").status_code == 200


def test_keys_when_the_first_is_made_then_it_is_asked_for_and_stays_so_when_revoked(
    serve: Serve, keyless: Settings, wait_until: Callable[..., None]
) -> None:
    services = Services.open(keyless)
    with serve(keyless) as client:
        assert client.get(NO_JOB).status_code == 404
        key = services.keys.create("first", [Scope.READ]).key
        wait_until(lambda: client.get(NO_JOB).status_code == 401, "keys being asked for", 6)
        services.keys.revoke(key.key_id)
    with serve(keyless) as client:
        assert client.get(NO_JOB).status_code == 401
    services.close()


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


def test_keys_when_mongodb_is_away_then_503(serve: Serve, keyless: Settings) -> None:
    away = keyless.model_copy(
        update={"mongodb_url": f"mongodb://127.0.0.1:{free_port()}", "mongodb_timeout_seconds": 0.5}
    )
    with serve(away) as client:
        response = client.get(NO_JOB, headers={"Authorization": "Bearer stt_x"})
        assert (response.status_code, kind_of(response)) == (503, "database-unavailable")
        assert client.get("/health").status_code == 200


def test_examples_of_the_documentation_when_executed_then_come_in(
    client: httpx.Client, make_key: MakeKey, tmp_path: Path
) -> None:
    _, headers = make_key("read", "write")
    wait_for_entry(client, headers)
    section = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8").split("## Keys, limits and figures")[1]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found
    (tmp_path / "meeting.wav").write_bytes(wav())
    script = found[1].replace("http://127.0.0.1:8000", str(client.base_url)).replace("curl -s", "curl -sS --fail")
    key = headers["Authorization"].removeprefix("Bearer ")
    environment = os.environ | {"STT_API_KEY": key}
    done = subprocess.run(["bash", "-ec", script], env=environment, cwd=tmp_path, capture_output=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert b'"status":"queued"' in done.stdout
