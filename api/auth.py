"""Who may come in: every request has a key, unless the API is for this machine alone.

As plain ASGI, before anything else of a request is looked at: FastAPI reads a body before it runs any dependency, and
a route that forgot to ask for a key would be open. So what is open is listed here, and all else is not.

Keys are off where `API_KEYS` says so, and by `auto` as long as none was ever made and the request is local: the API
listens on a loopback address, the request came in by one and names one as its host, it was not handed on by a proxy,
and no web page of another site sent it. Whatever of that is not so takes a key.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.openai.errors import PREFIX as OPENAI_PREFIX
from api.problems import answer_error, problem_responses
from stt_core.access.api_key import ApiKey
from stt_core.access.api_key import Scope as KeyScope
from stt_core.access.keys import ApiKeys, KeyRing
from stt_core.access.limits import WINDOW_SECONDS, Allowance
from stt_core.errors import (
    ForbiddenError,
    QueueRefusedError,
    QueueUnavailableError,
    RateLimitedError,
    SttError,
    TooManyUploadsError,
    UnauthorizedError,
)
from stt_core.logs import get_logger, log_context
from stt_core.services import Services
from stt_core.settings import Settings

logger = get_logger(__name__)

#: Open to everybody: probes, the page for people and its way in, and the pages that describe the API.
SESSION_PATH = "/api/v1/session"
_OPEN_PATHS = frozenset({"/", "/health", "/ready", "/docs", "/redoc", "/openapi.json", SESSION_PATH})
PAGE_FOLDER = "/web"
_OPEN_FOLDERS = ("/static-offline-docs/", f"{PAGE_FOLDER}/")
#: Holds the token of a session.
COOKIE = "stt_session"
METRICS_PATH = "/metrics"
#: What is nobody's own: figures of everybody's jobs, and the objects of buckets.
_ADMIN_PATHS = (METRICS_PATH, "/api/v1/backfill/")
#: What proxies add to the requests that they hand on; some add nothing, which is what `API_KEYS=required` is for.
_OF_PROXIES = ("forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
#: For so long a key that was revoked still opens, seconds; MongoDB is asked as seldom, however many requests come.
FRESH_SECONDS = 3.0

_HOW_TO_COME_IN = "Send one as `Authorization: Bearer …`; `stt keys create NAME`, on the server, makes one."

_REFUSALS = problem_responses(UnauthorizedError, ForbiddenError, RateLimitedError, TooManyUploadsError)
del _REFUSALS["default"]


@dataclass(frozen=True)
class Caller:
    """Who sends a request, and what that may do: everything where keys are off."""

    key: ApiKey | None = None

    @property
    def key_id(self) -> str | None:
        """The id of the key; the owner of what is created. None where keys are off."""
        return self.key.key_id if self.key else None

    @property
    def owner(self) -> str | None:
        """Whose jobs the caller sees; None for everybody's."""
        return None if self.may(KeyScope.ADMIN) else self.key_id

    def may(self, scope: KeyScope) -> bool:
        """Tell whether the caller has that scope; `admin` includes every other."""
        return self.key is None or scope in self.key.scopes or KeyScope.ADMIN in self.key.scopes


class FreshKeys:
    """The keys, at most `FRESH_SECONDS` old. Requests that find them older wait for one reading together."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys
        self._ring = KeyRing({}, was_any=True)
        self._old_at = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def ring(self) -> KeyRing:
        """Return the keys.

        Raises:
            DatabaseUnavailableError: They are old, and MongoDB does not answer.
        """
        if time.monotonic() >= self._old_at:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)
        return self._ring

    async def _read(self) -> None:
        began = time.monotonic()
        try:
            self._ring = await run_in_threadpool(self._keys.ring)
            self._old_at = began + FRESH_SECONDS
        finally:
            self._reading = None


class Protection:
    """Asks for keys, checks their scopes and counts their requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            caller = await authenticate(request)
            _ensure_scope(request, caller)
            allowance = await _count(request, caller)
        except SttError as error:
            logger.debug("not let in: {}", error)  # the answer has a line of its own
            response = await answer_error(request, error)
            await response(scope, receive, send)
            return
        request.state.caller = caller

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start" and allowance:
                MutableHeaders(scope=message).update(_rate_headers(allowance))
            await send(message)

        with log_context(key=caller.key_id) if caller.key else nullcontext():
            await self._app(scope, receive, send_marked)


def warn_of_openness(settings: Settings) -> None:
    """Say at the start who may use the API, where that is more than one might think."""
    if settings.api_keys == "off" and not _is_loopback(settings.stt_api_host):
        logger.warning("whoever reaches {} may use the API: API_KEYS is off", settings.stt_api_host)


def describe_protection(document: dict[str, Any]) -> None:
    """Say in the OpenAPI document where a key is asked for; none is where keys are off, so it is optional there."""
    document["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "A key of `stt keys create NAME`."},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values() if not _is_open(path) else ():
            operation["security"] = [{}, {"key": []}, {"header": []}]
            if not path.startswith(OPENAI_PREFIX):  # whose errors have another form
                operation["responses"] |= {str(status): answer for status, answer in _REFUSALS.items()}


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or path.startswith(_OPEN_FOLDERS)


async def authenticate(request: Request) -> Caller:
    """Return who sends a request: by its key, else by the session of its cookie.

    Raises:
        UnauthorizedError: It has neither, and one is asked for.
        ForbiddenError: It has a cookie, and a page of another site sent it.
        DatabaseUnavailableError: Keys are old, and MongoDB does not answer.
    """
    services: Services = request.app.state.services
    settings = services.settings
    if settings.api_keys == "off":
        return Caller()
    ring: KeyRing = await request.app.state.keys.ring()
    if settings.api_keys == "auto" and not ring.was_any and _is_local(request, settings):
        return Caller()  # also with a key: clients that must have one send any
    if token := _token(request):
        return Caller(await of_key(request, token))
    cookie = request.cookies.get(COOKIE)
    key_id = await run_in_threadpool(services.sessions.key_id, cookie) if cookie else None
    key = ring.of_id(key_id) if key_id else None
    if key is None:
        raise UnauthorizedError(
            "The session is over." if cookie else "The request carries no API key.", mend=_HOW_TO_COME_IN
        )
    if request.method not in ("GET", "HEAD"):
        ensure_own_page(request)
    return Caller(key)


async def of_key(request: Request, token: str) -> ApiKey:
    """Return the key of a token.

    Raises:
        UnauthorizedError: There is none that is in use.
        DatabaseUnavailableError: Keys are old, and MongoDB does not answer.
    """
    ring: KeyRing = await request.app.state.keys.ring()
    key = ring.find(token)
    if key is None:
        raise UnauthorizedError("The API key is not in use (any more).", mend=_HOW_TO_COME_IN)
    return key


def ensure_own_page(request: Request) -> None:
    """Refuse what the page of another site may have sent with the cookie of a session.

    `SameSite=Strict` keeps other sites out; other ports and hosts of the same site are none to it. Browsers name the
    origin of whatever changes something.

    Raises:
        ForbiddenError: It names another.
    """
    origin = request.headers.get("origin", "")
    settings: Settings = request.app.state.services.settings
    ours = [request.headers.get("host"), urlsplit(settings.stt_api_url or "").netloc]
    if origin.partition("://")[2] not in filter(None, ours):
        raise ForbiddenError(
            "A page of another site sent this.", mend="Use the page of this API, or an API key instead of a session."
        )


def _token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key")


def _is_local(request: Request, settings: Settings) -> bool:
    """Tell whether a request can only come from this machine, and from none of its browser's other pages."""
    server, _ = request.scope.get("server") or ("", 0)
    origin = request.headers.get("origin")
    names = [settings.stt_api_host, server, request.url.hostname]
    try:
        names += [urlsplit(origin).hostname] if origin else []
    except ValueError as error:
        logger.debug("not an origin: {}", error)
        return False
    is_handed_on = any(name in request.headers for name in _OF_PROXIES)
    # Pictures, sounds and scripts of a page carry no Origin; a link that somebody follows is no such thing.
    site, mode = (request.headers.get(f"sec-fetch-{what}") for what in ("site", "mode"))
    is_embedded = site == "cross-site" and mode != "navigate"
    return all(_is_loopback(name) for name in names) and not is_handed_on and not is_embedded


def _is_loopback(name: str | None) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name or "").is_loopback
    except ValueError as error:
        logger.debug("not a loopback address: {}", error)
        return False


def _ensure_scope(request: Request, caller: Caller) -> None:
    if request.scope["path"].startswith(_ADMIN_PATHS):  # not of `url`, in which the caller's `Host` has a say
        needed = KeyScope.ADMIN
    else:
        needed = KeyScope.READ if request.method in ("GET", "HEAD") else KeyScope.WRITE
    if not caller.may(needed):
        raise ForbiddenError(
            f"This takes a key of scope {needed}.",
            mend=f"`stt keys create NAME --scopes {needed}` makes one.",
            scope=needed.value,
        )


async def _count(request: Request, caller: Caller) -> Allowance | None:
    """Count a request; while Redis is away none is, since what needs MongoDB alone goes on without it."""
    if caller.key is None:
        return None
    services: Services = request.app.state.services
    try:
        return await run_in_threadpool(services.limits.count_request, caller.key)
    except (QueueUnavailableError, QueueRefusedError) as error:
        logger.warning("a request is not counted: {}", error)
        return None


def _rate_headers(allowance: Allowance) -> dict[str, str]:
    """Return the headers of draft-ietf-httpapi-ratelimit-headers."""
    return {
        "RateLimit-Policy": f'"requests";q={allowance.rate};w={WINDOW_SECONDS}',
        "RateLimit": f'"requests";r={allowance.remaining};t={allowance.reset_seconds}',
    }
