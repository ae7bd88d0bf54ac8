"""A web site on this machine: pages, redirects, and servers that are too slow or never end."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        try:
            self._answer()
        except ConnectionError:
            self.close_connection = True

    def _answer(self) -> None:
        self.site.hosts.append(self.headers["Host"])
        if self.path in self.site.moved:
            self.send_response(302)
            self.send_header("Location", self.site.moved[self.path])
            self.end_headers()
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            while not self.site.over.wait(0.2):
                self.wfile.write(b"R")
        elif self.path == "/slow-headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self.site.over.wait(0.1):
                self.wfile.write(b"x")
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            while not self.site.over.is_set():
                self.wfile.write(b"RIFF" * 1000)
        elif self.path == "/cut-off":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"RIFF")
        elif self.path in self.site.pages:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.site.pages[self.path])))
            self.end_headers()
            self.wfile.write(self.site.pages[self.path])
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Site:
    """Serves while it is entered. `/slow`, `/slow-headers`, `/endless` and `/cut-off` behave so."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.moved: dict[str, str] = {}
        self.hosts: list[str] = []
        self.over = threading.Event()
        handler = type("Handler", (_Handler,), {"site": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
