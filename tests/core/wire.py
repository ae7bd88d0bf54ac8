"""A TCP wire between a client and a server that can be cut at a chosen message: how servers die, seen from outside."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class Wire:
    """Forwards connections to `target` ("host:port") until it is told to cut one."""

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self._cut_at: bytes | None = None
        self._before_forwarding = False
        self._is_dying = False
        #: How many messages were cut off.
        self.cuts = 0

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def cut_after(self, marker: bytes) -> None:
        """Deliver the next message that holds `marker`, swallow the answer and drop its connection."""
        self._before_forwarding, self._cut_at = False, marker

    def cut_before(self, marker: bytes) -> None:
        """Drop the connection of the next message that holds `marker`; the server never sees it."""
        self._before_forwarding, self._cut_at = True, marker

    def die_at(self, marker: bytes) -> None:
        """Drop every connection at the next message that holds `marker`, and take no more."""
        self.cut_before(marker)
        self._is_dying = True

    def close(self) -> None:
        """Drop every connection and take no more."""
        for each in self._sockets:
            _close(each)

    def __enter__(self) -> Wire:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed: the test is over
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        answers = threading.Thread(target=_pump, args=(server, client), daemon=True)
        answers.start()
        with contextlib.suppress(OSError):  # one side closed the connection
            while message := client.recv(1 << 20):
                if self._cut_at is not None and self._cut_at in message:
                    self._cut_at = None
                    self.cuts += 1
                    if self._is_dying:
                        self.close()
                    _close(client)
                    if not self._before_forwarding:
                        server.sendall(message)
                        answers.join(timeout=10)  # ends at the answer, which has nowhere to go: the server has done it
                    break
                server.sendall(message)
        _close(client)
        _close(server)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # one side closed the connection
        while block := source.recv(1 << 20):
            sink.sendall(block)


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        each.shutdown(socket.SHUT_RDWR)
    each.close()
