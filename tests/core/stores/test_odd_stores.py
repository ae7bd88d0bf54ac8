"""The object store where its server is away, hangs, breaks off or is slow."""

from __future__ import annotations

import io
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stt_core.errors import StoreRefusedError, StoreUnavailableError, SttError
from stt_core.settings import Settings
from stt_core.stores.object_store import PART_SIZE, ObjectStore


def test_every_operation_when_the_server_is_down_fails_fast_as_unavailable(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    store = ObjectStore(settings.model_copy(update={"minio_endpoint": f"127.0.0.1:{port}"}))
    started = time.monotonic()

    for operation in (
        store.ping,
        store.ensure_bucket,
        lambda: store.put_bytes("a", b"1"),
        lambda: store.get_bytes("a"),
        lambda: store.exists("a"),
        lambda: store.remove_prefix("a"),
    ):
        with pytest.raises(StoreUnavailableError, match="MINIO_ENDPOINT"):
            operation()

    assert time.monotonic() - started < 15


def test_ping_when_the_server_accepts_and_never_answers_fails_in_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_core.stores.connections._PROBE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = {"minio_endpoint": f"127.0.0.1:{silent.getsockname()[1]}"}
        store = ObjectStore(settings.model_copy(update=address))
        started = time.monotonic()

        with pytest.raises(StoreUnavailableError):
            store.ping()

        assert time.monotonic() - started < 3


Serve = Callable[[Callable[[socket.socket], None]], ObjectStore]


@pytest.fixture
def odd_server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Hand out a store whose server does with each connection as told: named faults, spoken in real HTTP."""
    monkeypatch.setattr("stt_core.stores.connections._SILENCE_SECONDS", 0.5)
    monkeypatch.setattr("stt_core.stores.connections._CONNECT_SECONDS", 0.5)
    with ExitStack() as stack:

        def serve(handle: Callable[[socket.socket], None]) -> ObjectStore:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def accept() -> None:
                while True:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return  # the test is over
                    stack.callback(connection.close)
                    handle(connection)

            threading.Thread(target=accept, daemon=True).start()
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            return ObjectStore(settings.model_copy(update={"minio_endpoint": f"127.0.0.1:{listener.getsockname()[1]}"}))

        yield serve


@pytest.fixture
def half_answering(odd_server: Serve) -> ObjectStore:
    """A store whose server promises 1000 bytes, sends ten and is gone."""

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789")
        connection.close()

    return odd_server(answer)


def test_read_when_the_connection_breaks_midway_is_unavailable_and_never_short(
    half_answering: ObjectStore, tmp_path: Path
) -> None:
    with pytest.raises(StoreUnavailableError):
        half_answering.get_bytes("a")
    with pytest.raises(StoreUnavailableError):
        half_answering.get_range("a", 0, 1000)
    with pytest.raises(StoreUnavailableError):
        half_answering.download("a", tmp_path / "a")
    with pytest.raises(StoreUnavailableError), half_answering.open("a") as stream:
        stream.read()


def test_write_when_the_server_forgot_the_upload_is_an_outage_and_no_refusal(odd_server: Serve) -> None:
    def forget(connection: socket.socket) -> None:
        connection.recv(65536)
        body = b"<Error><Code>NoSuchUpload</Code><Message>The upload does not exist.</Message></Error>"
        head = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: "
        connection.sendall(head + str(len(body)).encode() + b"\r\n\r\n" + body)
        connection.close()

    with pytest.raises(StoreUnavailableError, match="NoSuchUpload"):
        odd_server(forget).put_bytes("a", b"bytes")


def test_operation_when_the_server_hangs_fails_in_time_and_does_not_ask_again(odd_server: Serve) -> None:
    asked: list[bytes] = []
    store = odd_server(lambda connection: asked.append(connection.recv(65536)))
    started = time.monotonic()

    with pytest.raises(StoreUnavailableError, match=r"not reachable \(opening a\): no answer in time"):
        store.get_bytes("a")

    assert time.monotonic() - started < 2
    assert len(asked) == 1


def test_operation_when_the_server_is_busy_asks_again_soon_whatever_the_server_says(odd_server: Serve) -> None:
    asked: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(
            b"HTTP/1.1 503 Slow Down\r\nRetry-After: 600\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        connection.close()

    started = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        odd_server(refuse).get_bytes("a")

    assert len(asked) == 3
    assert time.monotonic() - started < 5


def test_download_when_slow_takes_longer_than_the_server_may_be_silent(odd_server: Serve, tmp_path: Path) -> None:
    def trickle(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for byte in b"slowness":
            threading.Event().wait(0.15)  # the fault itself: 1.2 s in all
            connection.sendall(bytes([byte]))

    assert odd_server(trickle).download("a", tmp_path / "a") == 8
    assert (tmp_path / "a").read_bytes() == b"slowness"


@pytest.mark.parametrize("size", [PART_SIZE - 1, PART_SIZE + 1], ids=["a-part", "a-file"])
def test_upload_when_slow_takes_longer_than_the_server_may_be_silent(
    odd_server: Serve, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    # Enough for a server that other tests slow down to read what the sockets hold, once all was sent.
    monkeypatch.setattr("stt_core.stores.connections._SILENCE_SECONDS", 2.0)
    received = list[int]()

    def sip(connection: socket.socket) -> None:
        started = time.monotonic()
        head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
        arrived = len(body)
        while arrived < length:
            if time.monotonic() - started < 4:
                threading.Event().wait(0.3)  # the fault itself: twice as long as the limit
            arrived += len(connection.recv(1024 * 1024))
        received.append(arrived)
        connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 0\r\n\r\n')

    odd_server(sip).put_bytes("a", bytes(size))

    assert received == [size]


def test_upload_of_a_file_when_the_server_has_it_and_thinks_then_calls_back_meanwhile(odd_server: Serve) -> None:
    size, called_back = PART_SIZE + 1, threading.Event()

    def think(connection: socket.socket) -> None:
        arrived = len(connection.recv(65536).partition(b"\r\n\r\n")[2])
        while arrived < size:
            arrived += len(connection.recv(1024 * 1024))
        status = b"200 OK" if called_back.wait(10) else b"403 Nobody Called Back"
        connection.sendall(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)

    odd_server(think).put_stream("a", io.BytesIO(bytes(size)), length=size, on_sent=called_back.set)


def test_upload_of_a_file_when_the_server_stops_reading_fails_in_time_and_is_not_made_again(odd_server: Serve) -> None:
    asked: list[bytes] = []
    store = odd_server(lambda connection: asked.append(connection.recv(65536)))
    started = time.monotonic()

    with pytest.raises(StoreUnavailableError, match=r"not reachable \(writing a\): no answer in time"):
        store.put_bytes("a", bytes(4 * PART_SIZE))  # more than the sockets hold

    assert time.monotonic() - started < 5
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("status", "content_type", "content", "expected", "requests"),
    [
        (b"503 Slow Down", b"text/plain", b"", StoreUnavailableError, 3),
        (b"413 Too Large", b"text/html", b"<html>", StoreUnavailableError, 1),
        (b"403 Forbidden", b"text/xml", b"<Error><Code>AccessDenied</Code></Error>", StoreRefusedError, 1),
    ],
    ids=["busy", "refused-by-a-proxy", "refused"],
)
def test_upload_of_a_file_when_it_is_not_taken_tells_why(
    odd_server: Serve, status: bytes, content_type: bytes, content: bytes, expected: type[SttError], requests: int
) -> None:
    size, asked = PART_SIZE + 1, list[int]()

    def refuse(connection: socket.socket) -> None:
        arrived = len(connection.recv(65536).partition(b"\r\n\r\n")[2])
        while arrived < size:
            arrived += len(connection.recv(1024 * 1024))
        asked.append(arrived)
        headers = b"Content-Type: %b\r\nContent-Length: %d\r\nConnection: close" % (content_type, len(content))
        connection.sendall(b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (status, headers, content))
        connection.close()

    with pytest.raises(expected):
        odd_server(refuse).put_bytes("a", bytes(size))

    assert asked == [size] * requests
