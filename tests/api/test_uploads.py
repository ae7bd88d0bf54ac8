"""Uploads: what is accepted, what is refused and when, and that a refusal leaves nothing behind."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import Any

import httpx
import pytest

from stt_core.jobs.job import JobStatus
from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.conftest import UPLOAD, Serve, everything, kind_of, multipart, upload, wav


def test_upload_when_sound_then_queued_with_its_bytes_stored(client: httpx.Client, services: Services) -> None:
    content = wav(0.5)
    response = upload(client, content, "Besprechung.wav", language="en", priority="high", model="demo")

    assert response.status_code == 202
    view = response.json()
    assert (view["status"], view["priority"], view["filename"]) == ("queued", "high", "Besprechung.wav")
    assert (view["language"], view["attempt"]) == ("en", 1)
    assert view["queue_position"] >= 1
    assert response.headers["location"] == f"/api/v1/tasks/{view['job_id']}"
    assert client.get(response.headers["location"]).json()["job_id"] == view["job_id"]
    job = services.jobs.get_job(view["job_id"])
    assert job.source is not None
    assert services.store.get_bytes(job.source.key) == content
    assert job.member in services.queue.members()


def test_upload_when_options_are_given_then_the_job_keeps_them(client: httpx.Client, services: Services) -> None:
    options = {"channels": "split", "strategy": "vad", "allow_partial": "true", "language": "auto-per-chunk"}
    response = upload(client, wav(0.5), "call.wav", model="demo", **options)
    assert response.status_code == 202
    kept = services.jobs.get_job(response.json()["job_id"]).options
    assert (kept.channels, kept.strategy, kept.allow_partial, kept.language) == (
        "split", "vad", True, "auto-per-chunk",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "name", "fields", "status", "kind"),
    [
        (b"", "a.wav", {}, 400, "empty-file"),
        (b"Dear diary, today was fine.\n" * 400, "diary.mp3", {}, 415, "unsupported-format"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "list.wav", {}, 415, "unsupported-format"),
        (b"ID3\x03" + bytes(6), "tag.mp3", {}, 415, "unsupported-format"),
        ((b"ID3\x03" + bytes(6)) * 6000 + b"x" * 100, "tags.mp3", {}, 415, "unsupported-format"),
        (None, "a.wav", {"model": "no-such-model"}, 400, "model-not-found"),
        (None, "a.wav", {"model": "../../../etc/passwd"}, 400, "model-not-found"),
        (None, "a.wav", {"model": "x" * 65}, 400, "invalid-input"),
        (None, "a.wav", {"language": "klingon"}, 400, "unknown-language"),
        (None, "a.wav", {"language": "de"}, 400, "unknown-language"),  # the demo model speaks English
        (None, "a.wav", {"priority": "yesterday"}, 400, "invalid-input"),
        (None, "a.wav", {"channels": "left"}, 400, "invalid-input"),
        (None, "a.wav", {"strategy": "guess"}, 400, "invalid-input"),
        (None, "a.wav", {"langauge": "en"}, 400, "invalid-input"),
        (None, "...///", {}, 400, "invalid-input"),
    ],
)
@pytest.mark.usefixtures("assert_nothing_left")
def test_upload_when_not_usable_then_refused_and_nothing_is_left(
    client: httpx.Client,
    content: bytes | None,
    name: str,
    fields: dict[str, str],
    status: int,
    kind: str,
) -> None:
    response = upload(client, content, name, **fields)

    assert (response.status_code, kind_of(response)) == (status, kind)
    assert response.json()["mend"]


def test_upload_when_a_field_is_wrong_then_the_problem_names_it(client: httpx.Client) -> None:
    problem = upload(client, priority="yesterday", nonsense="1").json()

    assert {field["field"] for field in problem["details"]["fields"]} == {"priority", "nonsense"}
    assert "'high', 'normal' or 'low'" in problem["detail"]


@pytest.mark.parametrize(
    "disposition",
    [b'name="other"; filename="a.wav"', b'name="file"', b'name="file"; filename=""', b'filename="a.wav"'],
    ids=["no file field", "no filename", "empty filename", "no name"],
)
def test_upload_when_the_file_part_is_wrong_then_400(client: httpx.Client, disposition: bytes) -> None:
    headers, body = multipart(b"", disposition=disposition)
    response = client.post(UPLOAD, headers=headers, content=body)

    assert (response.status_code, kind_of(response)) == (400, "invalid-input")


@pytest.mark.parametrize(
    ("content_type", "body", "status", "kind"),
    [
        ("audio/wav", b"no audio at all", 415, "unsupported-format"),
        ("application/json", b"{}", 400, "invalid-input"),
        ("application/x-www-form-urlencoded", b"file=a", 415, "unsupported-format"),
        (None, b"", 400, "empty-file"),
        ("multipart/form-data", b"x", 400, "invalid-input"),
        ("multipart/form-data; boundary=edge", b"no form at all", 400, "invalid-input"),
        ("multipart/form-data; boundary=" + "b" * 300, b"x", 400, "invalid-input"),
    ],
)
def test_upload_when_the_body_is_no_form_then_told_apart(
    client: httpx.Client, content_type: str | None, body: bytes, status: int, kind: str
) -> None:
    response = client.post(UPLOAD, headers={"Content-Type": content_type} if content_type else {}, content=body)

    assert (response.status_code, kind_of(response)) == (status, kind)
    assert response.json()["mend"]


@pytest.mark.usefixtures("assert_nothing_left")
def test_upload_when_two_files_then_400(client: httpx.Client) -> None:
    response = client.post(UPLOAD, files=[("file", ("a.wav", wav())), ("file", ("b.wav", wav()))])

    assert (response.status_code, kind_of(response)) == (400, "invalid-input")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (b'filename="../../etc/passwd"', "passwd"),
        (rb'filename="C:\\Users\\me\\memo.wav"', "memo.wav"),
        (rb'filename="say \"hi\".wav"', 'say "hi".wav'),
        ('filename="Grüße 你好 🎧.wav"'.encode(), "Grüße 你好 🎧.wav"),
        (b"filename=\"a.wav\"; filename*=UTF-8''b%2Fc.wav", "a.wav"),  # forms know no filename* (RFC 7578)
        (b'filename="' + b"n" * 300 + b'.wav"', "n" * 255),
        (b'filename="ta\tb\x01\x7f.wav"', "tab.wav"),
        (b'filename="latin-\xe9.wav"', "latin-é.wav"),
        (b'filename="\'; DROP TABLE jobs; --$(reboot)`id`.wav"', "'; DROP TABLE jobs; --$(reboot)`id`.wav"),
    ],
)
def test_upload_when_the_file_name_is_odd_then_shown_harmlessly_and_never_in_a_key(
    client: httpx.Client, services: Services, given: bytes, shown: str
) -> None:
    headers, body = multipart(wav(), disposition=b'name="file"; ' + given)
    response = client.post(UPLOAD, headers=headers, content=body)

    assert response.status_code == 202, response.text
    assert response.json()["filename"] == shown
    job_id = response.json()["job_id"]
    assert services.store.list_keys(f"uploads/{job_id}") == [f"uploads/{job_id}/source.wav"]


@pytest.fixture
def full_client(serve: Serve, settings: Settings, services: Services) -> Iterator[httpx.Client]:
    """A client of an API whose queue took its last job."""
    room = sum(services.queue.statistics().values()) + 1
    with serve(settings.model_copy(update={"queue_max_size": room})) as client:
        assert upload(client).status_code == 202
        yield client


def test_upload_when_the_queue_is_full_then_503_and_nothing_is_left(
    full_client: httpx.Client, services: Services
) -> None:
    before = everything(services)
    response = upload(full_client)

    assert (response.status_code, kind_of(response)) == (503, "queue-full")
    assert int(response.headers["retry-after"]) > 0
    assert response.json()["details"] == {"max_size": len(before[2])}
    assert everything(services) == before


LIMIT = 200_000


@pytest.fixture(scope="module")
def small_client(serve: Serve, settings: Settings, services: Services) -> Iterator[httpx.Client]:
    with serve(settings.model_copy(update={"max_upload_bytes": LIMIT})) as client:
        yield client


def test_upload_when_exactly_at_the_limit_then_accepted(small_client: httpx.Client) -> None:
    assert upload(small_client, wav(10)[:LIMIT]).status_code == 202


@pytest.mark.usefixtures("assert_nothing_left")
def test_upload_when_one_byte_over_the_limit_then_413(small_client: httpx.Client) -> None:
    response = upload(small_client, wav(10)[: LIMIT + 1])

    assert (response.status_code, kind_of(response)) == (413, "file-too-large")
    assert response.json()["details"]["limit"] == LIMIT


@contextmanager
def raw_upload(client: httpx.Client, *headers: str) -> Iterator[socket.socket]:
    """Send the head of an upload request by hand."""
    address = (client.base_url.host, client.base_url.port)
    lines = [f"POST {UPLOAD} HTTP/1.1", "Host: localhost", "Content-Type: multipart/form-data; boundary=edge", *headers]
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        yield connection


@pytest.mark.parametrize("expect", [[], ["Expect: 100-continue"]], ids=["plain", "expect"])
def test_upload_when_announced_over_the_limit_then_413_before_a_byte_of_the_body(
    small_client: httpx.Client, expect: list[str]
) -> None:
    with raw_upload(small_client, "Content-Length: 10000000000", *expect) as connection:
        answer = connection.recv(65536)  # although no byte of the body was ever sent

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_upload_when_the_queue_is_full_then_503_before_a_byte_of_the_body(full_client: httpx.Client) -> None:
    with raw_upload(full_client, "Content-Length: 1000") as connection:
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 503 ")


@pytest.mark.usefixtures("assert_nothing_left")
def test_upload_when_chunked_and_endless_then_413_midway(small_client: httpx.Client) -> None:
    block = b"4000\r\n" + bytes(0x4000) + b"\r\n"
    head = multipart(b"")[1].partition(b"\r\n--edge--")[0]
    sent = 0
    with raw_upload(small_client, "Transfer-Encoding: chunked") as connection:
        connection.sendall(f"{len(head):x}\r\n".encode() + head + b"\r\n")
        while not select.select([connection], [], [], 0)[0]:
            connection.sendall(block)
            sent += 0x4000
            assert sent < 100 * LIMIT, "the upload is read without end"
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert sent > LIMIT


class FullDisk(SpooledTemporaryFile[bytes]):
    """Stands in for a disk without room."""

    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.usefixtures("assert_nothing_left")
def test_upload_when_the_disk_of_the_api_is_full_then_507(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", FullDisk)
    response = upload(client)

    assert (response.status_code, kind_of(response)) == (507, "disk-full")
    assert "TMPDIR" in response.json()["mend"]


def test_upload_when_chunked_and_within_the_limit_then_accepted(client: httpx.Client, services: Services) -> None:
    headers, body = multipart(wav())
    response = client.post(UPLOAD, headers=headers, content=iter([body[:100], body[100:]]))

    assert response.status_code == 202
    assert services.jobs.get_job(response.json()["job_id"]).status is JobStatus.QUEUED
