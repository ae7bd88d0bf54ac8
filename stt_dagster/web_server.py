"""Dagster's web server, behind a guard that lets in nobody else's pages.

    python -m stt_dagster.web_server --workspace workspace.yaml …     as `dagster-webserver` is called

Dagster's own obeys whoever reaches it: mutations run over GET and whatever the body's type, and neither `Host` nor
`Origin` are looked at, so that any page which somebody opens could launch runs or, by a name that it lets lead to this
machine, read transcripts. `dagster dev` stays as Dagster made it.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from dagster_webserver import cli
from dagster_webserver.app import create_app_from_workspace_process_context
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from stt_core.logs import get_logger
from stt_core.settings import DAGSTER_USER, Settings, load_settings

logger = get_logger(__name__)

_SAFE = ("GET", "HEAD")
#: Tells versions, and that it lives; whoever watches over it has no password.
_PROBE = "/server_info"


class Guard:
    """Refuses what no page of Dagster sends, and whoever lacks the password where there is one.

    Args:
        app: Dagster's application.
        settings: Under which address it is reached, and the password.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._public = urlsplit(settings.stt_dagster_url or "")
        password = settings.stt_dagster_password
        self._login = f"{DAGSTER_USER}:{password.get_secret_value()}".encode() if password else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the life of the application."""
        refusal = self._refusal(HTTPConnection(scope)) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, text, headers = refusal
        logger.warning("{} refused: {}", scope["path"][:100], text)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": text[:100]})
        else:
            await PlainTextResponse(f"{text}\n", status, headers)(scope, receive, send)

    def _refusal(self, asked: HTTPConnection) -> tuple[int, str, Mapping[str, str]] | None:
        """Return the status, the text and the headers that a request is refused with; None lets it in."""
        if not (self._is_here(asked.headers.get("host", "")) and self._is_own(asked)):
            text = "This is not the address of this Dagster. Set STT_DAGSTER_URL to the one it is opened under."
            return 403, text, {}
        path = asked.scope["path"].rstrip("/")
        if self._login and not path.endswith(_PROBE) and not secrets.compare_digest(_login(asked), self._login):
            return 401, f"The user is {DAGSTER_USER}, the password STT_DAGSTER_PASSWORD.", {"WWW-Authenticate": "Basic"}
        if asked.scope["type"] == "websocket":
            return None
        method = asked.scope["method"]
        if method in _SAFE and path.endswith("/graphql"):
            return 405, "GraphQL is asked by POST.", {"Allow": "POST"}
        media_type = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
        if method not in _SAFE and media_type != "application/json":
            return 415, "The body must be application/json.", {}
        return None

    def _is_here(self, host: str) -> bool:
        """Tell whether a `Host` is this machine's, or the one of `STT_DAGSTER_URL`."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError as error:
            logger.debug("not a host: {}", error)
            return False
        return name in ("localhost", self._public.hostname) or _is_loopback(name)

    def _is_own(self, asked: HTTPConnection) -> bool:
        """Tell whether a request is of no other site's page; a link that somebody follows may lead here."""
        origin = asked.headers.get("origin")
        if origin is not None:
            return origin.partition("://")[2] in (asked.headers.get("host"), self._public.netloc or None)
        site, mode = (asked.headers.get(f"sec-fetch-{what}") for what in ("site", "mode"))
        return site != "cross-site" or (mode == "navigate" and asked.scope.get("method") in _SAFE)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError as error:
        logger.debug("not an address: {}", error)
        return False


def _login(asked: HTTPConnection) -> bytes:
    """Return the user and the password of a request, as `user:password`; nothing where it has none."""
    scheme, _, given = asked.headers.get("authorization", "").partition(" ")
    try:
        return base64.b64decode(given, validate=True) if scheme.lower() == "basic" else b""
    except binascii.Error as error:
        logger.debug("not a login: {}", error)
        return b""


def main() -> None:
    """Serve until told to end."""
    settings = load_settings()

    def create_guarded(*args: Any, **options: Any) -> Guard:
        return Guard(create_app_from_workspace_process_context(*args, **options), settings)

    cli.create_app_from_workspace_process_context = create_guarded  # type: ignore[assignment,attr-defined]
    cli.cli()


if __name__ == "__main__":
    main()
