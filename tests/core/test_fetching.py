"""Fetching from a URL: the connection goes to the address that was checked, whatever the name says a moment later."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from stt_core.errors import FileTooLargeError, ForbiddenAddressError, InvalidInputError, SourceUnavailableError
from stt_core.fetching import fetch
from tests.web import Site


def fetched(url: str, *, seconds: float = 5.0, allow: tuple[str, ...] = ("127.0.0.1",)) -> tuple[str, bytes]:
    """Return the name and the bytes behind a URL."""
    blocks: list[bytes] = []

    async def write(block: bytes) -> None:
        blocks.append(block)

    def too_large(size: int) -> InvalidInputError:
        return FileTooLargeError(f"{size}")

    name = asyncio.run(fetch(url, write, seconds=seconds, max_bytes=1000, too_large=too_large, allow=allow))
    return name, b"".join(blocks)


def resolve(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[str]]) -> None:
    """Have a name server of ours answer for some names, each time the next address; addresses are resolved as ever.

    Several addresses, with blanks between them, are one answer.
    """
    real = socket.getaddrinfo

    def lookup(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        found = answers[name].pop(0).split() if name in answers else [host]
        return [entry for address in found for entry in real(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


def test_fetch_when_the_name_leads_elsewhere_a_moment_later_then_the_checked_address_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = ["127.0.0.1", "127.0.0.2"]
    resolve(monkeypatch, {"rebinding.example": answers})
    with Site() as site:
        site.pages["/a.wav"] = b"RIFF"
        port = site.url.rpartition(":")[2]
        assert fetched(f"http://rebinding.example:{port}/a.wav") == ("a.wav", b"RIFF")
        assert site.hosts == [f"rebinding.example:{port}"]
    assert answers == ["127.0.0.2"]  # asked once


def test_fetch_when_the_first_address_takes_no_connection_then_the_next_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve(monkeypatch, {"two.example": ["127.0.0.2 127.0.0.1", "127.0.0.2 127.0.0.3"]})
    with Site() as site:
        site.pages["/a.wav"] = b"RIFF"
        url = f"http://two.example:{site.url.rpartition(':')[2]}/a.wav"
        assert fetched(url, allow=("127.0.0.0/8",)) == ("a.wav", b"RIFF")
        with pytest.raises(SourceUnavailableError, match="ConnectError"):
            fetched(url, allow=("127.0.0.0/8",))


def test_fetch_when_a_redirect_s_name_leads_inside_then_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"inside.example": ["10.0.0.1"]})
    with Site() as site:
        site.moved["/a.wav"] = "//inside.example/a.wav"
        with pytest.raises(ForbiddenAddressError):
            fetched(f"{site.url}/a.wav")


def test_fetch_when_the_environment_names_a_proxy_then_it_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with Site() as site:
        site.pages["/a.wav"] = b"RIFF"
        assert fetched(f"{site.url}/a.wav")[1] == b"RIFF"


@pytest.mark.parametrize("path", ["/slow", "/slow-headers"])
def test_fetch_when_bytes_drip_then_the_clock_runs_on(path: str) -> None:
    with Site() as site, pytest.raises(SourceUnavailableError, match=r"longer than 0\.5 s"):
        fetched(f"{site.url}{path}", seconds=0.5)


def test_fetch_when_nobody_listens_then_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SourceUnavailableError, match="could not be read"):
            fetched(f"http://127.0.0.1:{taken.getsockname()[1]}/a.wav")
