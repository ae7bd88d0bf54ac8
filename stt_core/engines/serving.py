"""The life of an engine's program: one request, or a warm one's, until nobody asks any more.

A request is a command line, the same that the program takes by itself; what it loads stays loaded for the next one. To
a warm engine requests come over a socket, one after the other. Lines of JSON go both ways: whoever connects is told the
engine's process and identity, asks with `arguments`, and is told `exit_code` and `cpu_seconds` since the answer before;
what the engine says goes to standard error, a file that holds the words of one request. An engine whose caller is gone
while it works ends at once; one that is told to `quit`, or that nobody has called for `IDLE_SECONDS`, ends too.

Nothing but the standard library is imported: programs that start fast use it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

#: How long an engine stays without a call: longer than a run takes from one batch of chunks to the next.
IDLE_SECONDS = 20.0


class Failure(Exception):
    """What ends a request: the program's exit code and the message for standard error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def run_program(arguments: list[str], answer: Callable[[list[str]], None]) -> int:
    """Answer a request, and return the program's exit code; with `--serve LISTENER IDENTITY` at its end, serve.

    Args:
        arguments: Command line without the program's name. Before `--serve` stands what all requests begin with.
        answer: The program; every failure of it is a `Failure`.
    """
    if arguments[-3:-2] == ["--serve"]:
        *first, _, listener, identity = arguments
        serve(int(listener), identity, lambda request: run_program([*first, *request], answer))
        return 0
    try:
        answer(arguments)
    except Failure as failure:
        sys.stderr.write(f"error: {failure}\n")
        return failure.code
    return 0


def serve(listener: int, identity: str, run: Callable[[list[str]], int], idle_seconds: float = IDLE_SECONDS) -> None:
    """Answer calls until there are none.

    Args:
        listener: File descriptor of a listening Unix socket.
        identity: What this engine is; told to whoever connects.
        run: The program: its arguments without its name to its exit code.
        idle_seconds: How long to wait for the next call.
    """
    with socket.socket(fileno=listener) as server:
        server.settimeout(idle_seconds)
        address = Path(server.getsockname())
        own = address.stat().st_ino
        while True:
            try:
                connection, _ = server.accept()
            except TimeoutError:
                # Before the socket is closed: whoever comes between is refused, and makes a new one of this name. An
                # engine that was passed over, since it hung, must not take away that of its successor.
                if address.exists() and address.stat().st_ino == own:
                    address.unlink()
                return
            with connection:
                connection.settimeout(None)
                if not _serve_caller(connection, identity, run):
                    return


def _serve_caller(connection: socket.socket, identity: str, run: Callable[[list[str]], int]) -> bool:
    """Answer the requests of one caller; return whether to wait for another."""
    at_work = threading.Event()
    with connection.makefile("rwb") as stream:
        try:
            _tell(stream, {"pid": os.getpid(), "identity": identity, "cpu_seconds": time.process_time()})
            for line in stream:
                request = json.loads(line)
                if request.get("quit"):
                    return False
                at_work.set()
                threading.Thread(target=_end_with_caller, args=(connection, at_work), daemon=True).start()
                os.ftruncate(sys.stderr.fileno(), 0)
                code = run(request["arguments"])
                sys.stderr.flush()
                at_work.clear()
                _tell(stream, {"exit_code": code, "cpu_seconds": time.process_time()})
        except (BrokenPipeError, ConnectionResetError) as error:
            sys.stderr.write(f"the caller is gone: {error}\n")
    return True


def _end_with_caller(connection: socket.socket, at_work: threading.Event) -> None:
    """Wait for the caller's next word, or its end; an engine that works for nobody ends."""
    try:
        gone = not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        gone = True
    if gone and at_work.is_set():
        os._exit(1)


def _tell(stream: BinaryIO | Any, message: dict[str, Any]) -> None:
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()
