"""Fetching a recording from a URL that a caller gave: by checked addresses only, within limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from urllib.parse import unquote

import anyio.to_thread
import httpx

from stt_core.errors import InvalidInputError, SourceUnavailableError
from stt_core.logs import get_logger
from stt_core.net import PinnedUrl, ask_first_reached, pin_url

logger = get_logger(__name__)

_MOST_REDIRECTS = 5
#: How long its server may be silent, seconds, and how long one of its addresses is tried.
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_BLOCK_BYTES = 1024**2

Write = Callable[[bytes], Awaitable[None]]


async def fetch(
    url: str,
    write: Write,
    *,
    seconds: float,
    max_bytes: int,
    too_large: Callable[[int], InvalidInputError],
    allow: Collection[str] = (),
) -> str:
    """Hand the bytes behind a URL to `write`, block by block, and return the last part of its path.

    Each redirect is a new URL, checked as the first. Nothing of the environment (proxies, credentials) is used.

    Args:
        url: `http://` or `https://`.
        write: Takes each block.
        seconds: How long all of it may take.
        max_bytes: The most that is read.
        too_large: Makes the error for a recording of at least so many bytes.
        allow: Hosts, addresses and networks that need not be public.

    Raises:
        ForbiddenAddressError, UnknownHostError: It leads where we do not go.
        SourceUnavailableError: Its server does not answer, not with a recording, or not in time.
    """
    try:
        # The clock runs over everything: each byte of a slow answer starts the limit on silence anew.
        async with asyncio.timeout(seconds), httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT) as client:
            for _ in range(_MOST_REDIRECTS + 1):
                pinned = await anyio.to_thread.run_sync(partial(pin_url, url, allow=allow))  # waits for the resolver
                read = partial(_read, client, url, write=write, max_bytes=max_bytes, too_large=too_large)
                redirect = await ask_first_reached(pinned, read)
                if redirect is None:
                    return unquote(httpx.URL(url).path).rpartition("/")[2]
                logger.info("the source is elsewhere: a redirect")
                url = redirect
    except TimeoutError as error:
        raise SourceUnavailableError(
            f"The source_url took longer than {seconds:g} s.", mend="Upload the recording itself."
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceUnavailableError(
            f"The source_url could not be read: {type(error).__name__}.", mend="Check it, and that its server answers."
        ) from error
    raise SourceUnavailableError(
        f"The source_url is redirected more than {_MOST_REDIRECTS} times.", mend="Give the address it leads to."
    )


async def _read(
    client: httpx.AsyncClient,
    url: str,
    pinned: PinnedUrl,
    *,
    write: Write,
    max_bytes: int,
    too_large: Callable[[int], InvalidInputError],
) -> str | None:
    """Read one URL; return where it is redirected to, if it is."""
    headers = pinned.headers | {"Accept-Encoding": "identity", "User-Agent": "stt"}
    async with client.stream("GET", pinned.url, headers=headers, extensions=pinned.extensions) as response:
        if response.has_redirect_location:
            return str(httpx.URL(url).join(response.headers["location"]))
        if response.status_code != httpx.codes.OK:
            raise SourceUnavailableError(
                f"The server of the source_url answers {response.status_code}.",
                mend="Check that anybody may fetch it.",
                source_status=response.status_code,
            )
        announced = response.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > max_bytes:
            raise too_large(int(announced))
        seen = 0
        async for block in response.aiter_raw(_BLOCK_BYTES):
            seen += len(block)
            if seen > max_bytes:
                raise too_large(seen)
            await write(block)
        logger.info("the source is fetched: {} bytes", seen)
    return None
