"""What an attacker would send: an answer of ours to each, and nobody else is worse off for it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api import server
from api.app import create_app
from api.uploads.schemas import METADATA_DEPTH
from tests.api.conftest import UPLOAD, kind_of, upload, wav

PRESIGN = "/api/v1/tasks/presign"
TAKE_JSON = [
    path
    for path, operations in create_app().openapi()["paths"].items()
    if "application/json" in operations.get("post", {}).get("requestBody", {}).get("content", {})
]


def talk(client: httpx.Client, request: bytes) -> httpx.Response:
    """Send bytes as they are, and return the answer to them; the connection stays open for more until it is there."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while block := connection.recv(65536):
            answer += block
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)


@pytest.mark.parametrize(
    "endless",
    [
        (b"GET /", b"a" * 1000),
        (b"GET /health HTTP/1.1\r\nX: ", b"a" * 1000),
        (b"GET /health HTTP/1.1\r\n", b"X: a\r\n" * 200),
        (b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 3 + b"GET /", b"a" * 1000),
        (f"PUT {UPLOAD} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nR\r\n1;".encode(), b"a" * 1000),
        (f"PUT {UPLOAD} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ".encode(), b"a" * 1000),
    ],
    ids=["target", "header", "headers", "later-request", "chunk", "trailer"],
)
def test_connection_when_what_is_before_a_body_never_ends_then_it_is_closed(
    client: httpx.Client, endless: tuple[bytes, bytes]
) -> None:
    begin, block = endless
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20) as connection:
        connection.sendall(begin)
        with pytest.raises(ConnectionError):
            for _ in range(100_000):  # 100 MB, which the API does not read
                connection.sendall(block)


@pytest.mark.parametrize(
    "begin", [b"", b"GET /health HTTP/1.1\r\nX: ", b"GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /"]
)
def test_connection_when_headers_do_not_come_in_time_then_it_is_closed(
    client: httpx.Client, begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20) as connection:
        connection.sendall(begin)
        while connection.recv(65536):
            pass


def test_connection_when_a_body_takes_longer_than_headers_may_then_it_is_read(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 2.0)
    monkeypatch.setattr(server, "HEAD_BYTES", 1000)
    pause = threading.Event()

    def slowly() -> Iterator[bytes]:
        content = wav(0.2)
        for begin in range(0, len(content), 2000):
            pause.wait(0.7)
            yield content[begin : begin + 2000]

    assert client.put(UPLOAD, content=slowly()).status_code == 202


@pytest.mark.parametrize("path", TAKE_JSON)
def test_json_when_it_never_ends_then_refused_once_it_is_long(client: httpx.Client, path: str) -> None:
    block = b'{"filename": "' + b"a" * 100_000
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    answer = talk(client, head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (len(block), block))

    assert (answer.status_code, kind_of(answer)) == (400, "invalid-input")


@pytest.mark.parametrize("charset", ["punycode", "undefined", "idna", "unicode_escape", "zlib", "no-such"])
@pytest.mark.parametrize(
    "part", [b'name="prompt"\r\n\r\n\xff\xff\\u', b'name="file"; filename="\xff\xff\\u"\r\n\r\nRIFF']
)
def test_form_when_its_text_is_not_in_its_charset_then_refused(client: httpx.Client, charset: str, part: bytes) -> None:
    body = b"--edge\r\nContent-Disposition: form-data; " + part + b"\r\n--edge--\r\n"
    content_type = f"multipart/form-data; boundary=edge; charset={charset}"
    response = client.post(UPLOAD, content=body, headers={"Content-Type": content_type})

    assert response.status_code in (400, 415)
    assert kind_of(response) in ("invalid-input", "unsupported-format")


def nested(depth: int) -> dict[str, Any]:
    """Return metadata of so many levels."""
    metadata: dict[str, Any] = {}
    for _ in range(depth - 1):
        metadata = {"a": metadata}
    return metadata


def test_metadata_when_nested_as_deeply_as_may_be_then_every_answer_has_it(client: httpx.Client) -> None:
    metadata = nested(METADATA_DEPTH)
    job = upload(client, wav(), metadata=json.dumps(metadata)).json()

    assert job["metadata"] == metadata
    assert client.get(f"/api/v1/tasks/{job['job_id']}").json()["metadata"] == metadata
    assert client.get("/api/v1/tasks?limit=1").json()["tasks"][0]["metadata"] == metadata


@pytest.mark.usefixtures("assert_nothing_left")
@pytest.mark.parametrize("depth", [METADATA_DEPTH + 1, 300, 900])
def test_metadata_when_nested_deeper_then_refused_whichever_way_it_comes(client: httpx.Client, depth: int) -> None:
    metadata = nested(depth)
    answers = [
        client.post(PRESIGN, json={"filename": "a.wav", "metadata": metadata}),
        client.post(UPLOAD, json={"source_url": "http://127.0.0.1/", "metadata": metadata}),
        upload(client, wav(), metadata=json.dumps(metadata)),
    ]

    assert [(answer.status_code, kind_of(answer)) for answer in answers] == [(400, "invalid-input")] * 3
    assert client.get("/api/v1/tasks").status_code == 200
