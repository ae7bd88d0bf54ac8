"""The guard between a URL that a caller gave and a connection of ours (server-side request forgery).

The name is resolved here, once, and every address it has must be a public one, unless an allow-list names its host or
network. The connection then goes to the very addresses that were checked, one after the other until one takes it, under
the name's own TLS identity, so that a name which leads elsewhere a moment later changes nothing. Redirects are new
URLs: follow none, or pin each.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeVar

import httpx

from stt_core.errors import BusyError, ForbiddenAddressError, UnknownHostError
from stt_core.logs import get_logger

logger = get_logger(__name__)

T = TypeVar("T")

#: Of the addresses of one host, so many are tried; the resolver names the best ones first.
_MOST_ADDRESSES = 4
#: The addresses that IPv6 gives to the public (RFC 4291, 2.4). Outside of it are site-local ones, and most of those
#: that hide an IPv4 address, which a gateway may lead anywhere; 6to4 and Teredo are inside.
_PUBLIC = IPv6Network("2000::/3")
_TRANSLATED = [IPv6Network(network) for network in ("2002::/16", "2001::/32")]
#: Global by Python's tables, and still nobody's public address: examples of IPv6 (RFC 9637), and Azure's own services,
#: which answer every machine in that cloud.
_UNPUBLIC = [ip_network(network) for network in ("3fff::/20", "168.63.129.16/32", "192.0.0.0/24")]
#: Each lookup holds a thread, a name whose server is silent for half a minute: there are to be threads left for others.
_lookups = threading.BoundedSemaphore(32)


@dataclass(frozen=True)
class PinnedUrl:
    """A URL that leads to a checked address: pass all three to httpx."""

    #: The URL with the address in place of its host.
    url: httpx.URL
    #: The host it was meant for.
    headers: dict[str, str]
    #: The name that its certificate must carry.
    extensions: dict[str, str]


def pin_url(url: str, *, allow: Collection[str] = ()) -> list[PinnedUrl]:
    """Resolve and check a URL, and bind it to each address that was checked; there is one at least.

    Waits for the system's resolver, which has its own limits of time.

    Args:
        url: `http://` or `https://`, any port.
        allow: Host names, addresses and networks (`10.0.0.0/8`) that need not be public.

    Raises:
        ForbiddenAddressError: It is no such URL, or one of its addresses is not public.
        UnknownHostError: Its host has no address, as far as the resolver knows.
        BusyError: As many hosts are being looked up as may be at once.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ForbiddenAddressError(
            f"This is not a URL: {error}.", mend="Give one with http:// or https://."
        ) from error
    host = parsed.raw_host.decode("ascii").lower()  # not `host`, which fails on what is no international name
    if parsed.scheme not in ("http", "https") or not host:
        raise ForbiddenAddressError("Only http:// and https:// with a host are reached.", mend="Give such a URL.")
    addresses = _resolve(host, parsed.port or (443 if parsed.scheme == "https" else 80))
    if host not in map(str.lower, allow):
        for address in addresses:
            if not _is_public(address) and not any(_contains(entry, address) for entry in allow):
                logger.warning("{} leads to {}, which is not public: refused", host, address)
                raise ForbiddenAddressError(
                    f"The host {host} is not at a public address.", mend="Ask the operator to allow it."
                )
    headers, extensions = {"Host": parsed.netloc.decode("ascii")}, {"sni_hostname": host}
    return [PinnedUrl(parsed.copy_with(host=str(address)), headers, extensions) for address in addresses]


async def ask_first_reached(pinned: list[PinnedUrl], ask: Callable[[PinnedUrl], Awaitable[T]]) -> T:
    """Return what `ask` brings from the first address that takes a connection.

    Raises:
        httpx.ConnectError, httpx.ConnectTimeout: None does; what `ask` raises beside these ends it.
    """
    *others, last = pinned[:_MOST_ADDRESSES]
    for one in others:
        try:
            return await ask(one)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            logger.info("{} takes no connection, the next address is tried: {}", one.url.host, type(error).__name__)
    return await ask(last)


def _resolve(host: str, port: int) -> list[IPv4Address | IPv6Address]:
    if not _lookups.acquire(blocking=False):
        raise BusyError("Too many hosts are being looked up at once.", mend="Try again later.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnknownHostError(f"The host {host[:255]} has no address: {error}.", mend="Check its name.") from error
    finally:
        _lookups.release()
    return [ip_address(str(sockaddr[0])) for *_, sockaddr in found]


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_public(address.ipv4_mapped)
        if address not in _PUBLIC or any(address in network for network in _TRANSLATED):
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _UNPUBLIC)


def _contains(entry: str, address: IPv4Address | IPv6Address) -> bool:
    try:
        return address in ip_network(entry, strict=False)
    except ValueError as error:  # a host name
        logger.trace("{} is no network: {}", entry, error)
        return False
