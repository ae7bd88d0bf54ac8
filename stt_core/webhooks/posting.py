"""One signed request to a caller's URL, in the form of Standard Webhooks (https://www.standardwebhooks.com).

Three headers let the receiver know who sent it, when, and whether it came before: `webhook-id`, `webhook-timestamp` and
`webhook-signature` (`v1,` and the Base64 of HMAC-SHA256 over `<id>.<timestamp>.<body>`, keyed with `WEBHOOK_SECRET`).
The receiver is not trusted: it must be at a public address or on `WEBHOOK_ALLOW`, its redirects are not followed, of
its answer only the status is read, and it has 5 seconds for all of that.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
import time
from functools import lru_cache

import httpx

from stt_core.errors import SttError
from stt_core.logs import get_logger
from stt_core.net import PinnedUrl, ask_first_reached, pin_url
from stt_core.settings import WEBHOOK_SECRET_PREFIX, Settings
from stt_core.webhooks.deliveries import Try

logger = get_logger(__name__)

#: What a receiver has to take the request and answer, seconds: enough to write it down, and no more, since the stack
#: waits for requests under way when it is stopped.
TIMEOUT_SECONDS = 5.0
#: How long one address of a receiver is tried, seconds.
_CONNECT_SECONDS = 2.0


def sign(message_id: str, timestamp: int, body: bytes, settings: Settings) -> str:
    """Return the value of `webhook-signature`; `timestamp` is Unix time in seconds."""
    assert settings.webhook_secret is not None
    key = base64.b64decode(settings.webhook_secret.get_secret_value().removeprefix(WEBHOOK_SECRET_PREFIX))
    content = b".".join([message_id.encode(), str(timestamp).encode(), body])
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def post(url: str, message_id: str, body: bytes, settings: Settings) -> Try:
    """Send a message and return what came of it; no answer at all is an outcome too, not an exception."""
    outcome, started = Try(), time.perf_counter()
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "stt-dagster",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(message_id, timestamp, body, settings),
    }
    try:
        pinned = pin_url(url, allow=settings.webhook_allow)
        outcome.status_code = asyncio.run(_send(pinned, headers, body))
    except (SttError, httpx.HTTPError, OSError) as error:
        outcome.error = _reason(error)
        logger.info("webhook {}: {}", message_id, outcome.error)
    outcome.seconds = round(time.perf_counter() - started, 3)
    return outcome


def _reason(error: Exception) -> str:
    if isinstance(error, SttError):
        return error.message
    if isinstance(error, TimeoutError):
        return f"No answer within {TIMEOUT_SECONDS:g} s."
    # The text of another error may quote what the receiver sent.
    return str(error)[:200] if isinstance(error, httpx.ConnectError) else type(error).__name__


async def _send(pinned: list[PinnedUrl], headers: dict[str, str], body: bytes) -> int:
    async def send(address: PinnedUrl) -> int:
        own = headers | address.headers
        async with client.stream(
            "POST", address.url, content=body, headers=own, extensions=address.extensions
        ) as response:
            return response.status_code

    # The clock runs over everything: each byte of a slow answer would start the limits of httpx anew.
    timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)
    async with (
        asyncio.timeout(TIMEOUT_SECONDS),
        httpx.AsyncClient(verify=_tls(), trust_env=False, timeout=timeout) as client,
    ):
        return await ask_first_reached(pinned, send)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # 20 ms
