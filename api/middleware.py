"""What surrounds every request, as plain ASGI, so that bodies stream through untouched."""

from __future__ import annotations

import re
import sys
import time
from urllib.parse import quote
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import HTTP_SECONDS
from api.problems import CLIENT_CLOSED_REQUEST, unexpected_problem
from stt_core.errors import ConfigurationError
from stt_core.logs import get_logger, log_context, log_exception

logger = get_logger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
#: A caller's own id is taken over when it is one: it appears in logs and headers.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",  # a status is old the moment it is read
    "Referrer-Policy": "no-referrer",  # addresses hold the ids of jobs
    # An answer is no page: should a browser take one for one, nothing in it runs. A recording may be played.
    "Content-Security-Policy": "default-src 'none'; media-src 'self'; frame-ancestors 'none'",
}
#: What the pages of the documentation take: scripts and styles from here, some of them inline, and ReDoc's worker.
_PAGES = frozenset({"/docs", "/docs/oauth2-redirect", "/redoc"})
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src blob:; frame-ancestors 'none'"
)


class RequestScope:
    """Gives a request its id, its log line and, where an exception escaped everything else, its answer.

    The line is at DEBUG for a successful GET (clients poll, probes probe), at INFO for what changes something, at
    WARNING for a refusal and at ERROR for a failure of ours.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the life of the app."""
        if scope["type"] != "http":
            await self._app(scope, receive, _concise(send))
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status: int | None = None

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                if scope["path"] in _PAGES:
                    headers["Content-Security-Policy"] = _PAGE_POLICY
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        with log_context(request_id=request_id):
            try:
                await self._app(scope, receive, send_marked)
            except Exception as error:
                log_exception(logger, _route(scope), error, time.perf_counter() - started)
                if status is not None:  # too late for another answer: the server must break the connection
                    raise
                await unexpected_problem(Request(scope))(scope, receive, send_marked)
            finally:
                seconds = time.perf_counter() - started
                _log_request(scope, status or CLIENT_CLOSED_REQUEST, seconds)
                # By the route's name: a path, which anybody may make up, would be a figure of its own each time.
                operation = getattr(scope.get("route"), "name", "none")
                HTTP_SECONDS.labels(operation, status or CLIENT_CLOSED_REQUEST).observe(seconds)


def _concise(send: Send) -> Send:
    """Say in one line why the app cannot start, where Starlette hands the server a stack trace to print."""

    async def send_concisely(message: Message) -> None:
        error = sys.exception()
        if message["type"] == "lifespan.startup.failed" and isinstance(error, ConfigurationError):
            message = {**message, "message": str(error)}
        await send(message)

    return send_concisely


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex


def _route(scope: Scope) -> str:
    return f"{scope['method']} {quote(scope['path'])[:200]}"


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    if status >= 500 and status not in (503, 504):  # those pass by themselves, and the cause is logged where it was met
        level = "ERROR"
    elif status >= 400:
        level = "WARNING"
    else:
        level = "DEBUG" if scope["method"] in ("GET", "HEAD") else "INFO"
    # Whoever polls or probes says the same again and again; each other request is one of its own, and has its line.
    logger.bind(_counted=scope["method"] in ("GET", "HEAD")).log(
        level, "{} -> {} in {:.1f} ms", _route(scope), status, seconds * 1000
    )
