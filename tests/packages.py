"""Wheels and source archives of the tests' own, and an index of them that the real pip fetches from."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stt_core.packages import PackageFile


def make_wheel(folder: Path, name: str, members: Mapping[str, bytes], version: str = "1.0") -> PackageFile:
    """Write a wheel and return how it is pinned."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    content = {f"{module}/{member}": data for member, data in members.items()} | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, data in content.items():
            wheel.writestr(member, data)
    return pin(path, name, version)


def make_source_archive(folder: Path, name: str, members: Mapping[str, bytes], version: str = "1.0") -> PackageFile:
    """Write a source archive and return how it is pinned."""
    path = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, data in members.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{member}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return pin(path, name, version)


def pin(path: Path, name: str, version: str) -> PackageFile:
    content = path.read_bytes()
    return PackageFile(name, version, path.name, len(content), hashlib.sha256(content).hexdigest())


def point_pip_at(patch: pytest.MonkeyPatch, **variables: str) -> None:
    """Give pip a configuration of these variables alone."""
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        patch.delenv(variable)
    patch.setenv("PIP_CONFIG_FILE", os.devnull)
    for variable, value in variables.items():
        patch.setenv(variable, value)


class IndexServer(ThreadingHTTPServer):
    """An index of the files in a folder; where `stall` is set, half of a file is sent, and then nothing."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.stall = False
        self.stalled = threading.Event()
        self.go_on = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/simple"


class _Handler(BaseHTTPRequestHandler):
    server: IndexServer

    def do_GET(self) -> None:
        if self.path.startswith("/simple/"):
            links = [f'<a href="/files/{path.name}">{path.name}</a>' for path in sorted(self.server.folder.iterdir())]
            self._send("text/html", "".join(links).encode())
            return
        content = (self.server.folder / self.path.rsplit("/", 1)[1]).read_bytes()
        if self.server.stall:
            self._send("application/zip", content[: len(content) // 2], len(content))
            self.wfile.flush()
            self.server.stalled.set()
            self.server.go_on.wait(60)
        else:
            self._send("application/zip", content)

    def _send(self, kind: str, body: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serve_index(folder: Path) -> Iterator[IndexServer]:
    with IndexServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.go_on.set()
            server.shutdown()
            thread.join()
