"""Downloads against a local server that has ranges, breaks off, lies, or is away."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stt_core.errors import DiskFullError, ModelDownloadError, ModelInvalidError, ModelNotFoundError
from stt_core.settings import Settings
from stt_core.whisper import download as download_module
from stt_core.whisper.catalog import CATALOG
from stt_core.whisper.download import download_model

CONTENT = bytes(range(256)) * 20_000  # 5 MB: several blocks


class ModelServer(ThreadingHTTPServer):
    """Serves CONTENT as `/ggml-tiny.bin`; its attributes say how it misbehaves."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.break_off_after: list[int] = []
        self.has_ranges = True
        self.content = CONTENT
        self.status = 200
        self.ranges_asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/models"


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.ranges_asked.append(asked)
        if self.path != "/models/ggml-tiny.bin" or self.server.status != 200:
            self.send_error(404 if self.server.status == 200 else self.server.status)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.has_ranges else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.break_off_after:
            body = body[: self.server.break_off_after.pop(0)]
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    entry = dataclasses.replace(CATALOG["tiny"], sha1=hashlib.sha1(CONTENT).hexdigest())
    monkeypatch.setitem(CATALOG, "tiny", entry)
    with ModelServer() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def mirror(server: ModelServer, tmp_path: Path) -> Settings:
    return Settings(whisper_models_url=server.url, whisper_models_dir=tmp_path / "models")


def ignore(done: int, total: int) -> None:
    assert 0 <= done <= total


def test_download_then_the_file_is_there_and_progress_was_told(mirror: Settings) -> None:
    told: list[tuple[int, int]] = []
    path = download_model("tiny", mirror, lambda done, total: told.append((done, total)))
    assert path == mirror.whisper_models_dir / "ggml-tiny.bin"
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert (told[0], told[-1]) == ((0, len(CONTENT)), (len(CONTENT), len(CONTENT)))
    assert told == sorted(told)


def test_download_when_the_model_is_there_then_asks_nobody(mirror: Settings, server: ModelServer) -> None:
    for _ in range(2):
        download_model("tiny", mirror, ignore)
    assert download_model("demo", mirror, ignore).name == "ggml-demo.en-q5_1.bin"
    assert len(server.ranges_asked) == 1


def test_download_when_the_connection_breaks_off_then_goes_on_from_there(mirror: Settings, server: ModelServer) -> None:
    server.break_off_after = [2_000_000, 1_000_000]
    assert download_model("tiny", mirror, ignore).read_bytes() == CONTENT
    assert server.ranges_asked == [None, "bytes=2000000-", "bytes=3000000-"]


def test_download_when_it_was_ended_before_then_goes_on_from_there(mirror: Settings, server: ModelServer) -> None:
    mirror.whisper_models_dir.mkdir()
    (mirror.whisper_models_dir / "ggml-tiny.bin.part").write_bytes(CONTENT[:4_000_000])
    told: list[int] = []
    assert download_model("tiny", mirror, lambda done, _: told.append(done)).read_bytes() == CONTENT
    assert server.ranges_asked == ["bytes=4000000-"]
    assert told[0] == 4_000_000


def test_download_when_all_had_arrived_before_then_only_checks(mirror: Settings) -> None:
    mirror.whisper_models_dir.mkdir()
    (mirror.whisper_models_dir / "ggml-tiny.bin.part").write_bytes(CONTENT)
    assert download_model("tiny", mirror, ignore).read_bytes() == CONTENT


def test_download_when_the_server_has_no_ranges_then_begins_again(mirror: Settings, server: ModelServer) -> None:
    server.has_ranges = False
    server.break_off_after = [2_000_000]
    assert download_model("tiny", mirror, ignore).read_bytes() == CONTENT


def test_download_when_it_breaks_off_always_then_keeps_what_came(
    mirror: Settings, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "ATTEMPTS", 2)
    server.break_off_after = [1_000_000] * 2
    with pytest.raises(ModelDownloadError, match="goes on where it ended"):
        download_model("tiny", mirror, ignore)
    assert (mirror.whisper_models_dir / "ggml-tiny.bin.part").stat().st_size == 2_000_000
    assert download_model("tiny", mirror, ignore).read_bytes() == CONTENT


def test_download_when_the_content_is_not_the_published_one_then_is_refused_and_removed(
    mirror: Settings, server: ModelServer
) -> None:
    server.content = b"<html>sign in first</html>"
    with pytest.raises(ModelInvalidError, match="SHA-1"):
        download_model("tiny", mirror, ignore)
    assert list(mirror.whisper_models_dir.iterdir()) == []


def test_download_when_the_server_has_no_such_file_then_says_so(mirror: Settings) -> None:
    with pytest.raises(ModelNotFoundError, match="WHISPER_MODELS_URL"):
        download_model("base", mirror, ignore)


def test_download_when_the_server_fails_then_is_transient(mirror: Settings, server: ModelServer) -> None:
    server.status = 503
    with pytest.raises(ModelDownloadError, match="503"):
        download_model("tiny", mirror, ignore)


def test_download_when_there_is_no_network_then_says_so_at_once(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        settings = Settings(whisper_models_url=address, whisper_models_dir=tmp_path)
        with pytest.raises(ModelDownloadError, match=r"put ggml-tiny\.bin into WHISPER_MODELS_DIR"):
            download_model("tiny", settings, ignore)


@pytest.mark.parametrize("url", ["", "no scheme", "ftp://example.invalid"])
def test_download_when_the_address_is_nonsense_then_says_so(url: str, tmp_path: Path) -> None:
    with pytest.raises(ModelDownloadError, match="WHISPER_MODELS_URL"):
        download_model("tiny", Settings(whisper_models_url=url or "/", whisper_models_dir=tmp_path), ignore)


def test_download_of_an_unknown_name_then_is_refused(mirror: Settings) -> None:
    with pytest.raises(ModelNotFoundError, match="stt models list"):
        download_model("gigantic", mirror, ignore)


def test_download_when_the_disk_has_too_little_room_then_is_refused_before_it_fills(
    mirror: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nearly_full(path: Path) -> object:  # stands for a disk that this test must not fill
        return type("Usage", (), {"free": 1_000})()

    monkeypatch.setattr("stt_core.whisper.download.shutil.disk_usage", nearly_full)
    with pytest.raises(DiskFullError, match="No room left for the model tiny"):
        download_model("tiny", mirror, ignore)


def test_download_when_the_folder_cannot_be_made_then_names_the_setting(tmp_path: Path, server: ModelServer) -> None:
    (tmp_path / "file").touch()
    settings = Settings(whisper_models_url=server.url, whisper_models_dir=tmp_path / "file" / "models")
    with pytest.raises(ModelDownloadError, match="WHISPER_MODELS_DIR"):
        download_model("tiny", settings, ignore)


def test_download_when_another_process_is_at_it_then_says_so(mirror: Settings) -> None:
    mirror.whisper_models_dir.mkdir()
    with (mirror.whisper_models_dir / "ggml-tiny.bin.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ModelDownloadError, match="Another process"):
            download_model("tiny", mirror, ignore)
