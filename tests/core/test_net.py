"""Where a caller's URL may lead. Literal addresses need no resolver; names are resolved by the machine's own."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from stt_core.errors import BusyError, ForbiddenAddressError, UnknownHostError
from stt_core.net import pin_url


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "0x7f.1", "2130706433", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1",
        "169.254.169.254", "224.0.0.1", "255.255.255.255", "192.0.2.1", "localhost", "LOCALHOST",
        "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[ff02::1]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]",
        "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2001:0:53aa:64c:0:7fff:80ff:fffe]",
        "192.0.0.9", "168.63.129.16", "[3fff::1]", "[::ffff:a83f:8110]",
        "[fec0::1]", "[::7f00:1]", "[::ffff:0:7f00:1]", "[64:ff9b:1::7f00:1]", "[5f00::1]",
    ],
)  # fmt: skip
def test_pin_url_when_the_host_is_not_public_then_it_is_refused(host: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        pin_url(f"http://{host}/hook")


@pytest.mark.parametrize("url", ["ftp://8.8.8.8/", "file:///etc/passwd", "//8.8.8.8/", "8.8.8.8", "", "http://"])
def test_pin_url_when_it_is_no_web_address_then_it_is_refused(url: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        pin_url(url)


@pytest.mark.parametrize("host", ["8.8.8.8", "[2606:4700::1111]", "[::ffff:8.8.8.8]"])
def test_pin_url_when_the_address_is_public_then_it_is_kept(host: str) -> None:
    assert [pinned.headers for pinned in pin_url(f"https://{host}:8443/a?b=c")] == [{"Host": f"{host}:8443"}]


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.0/8", "localhost", "Localhost"])
def test_pin_url_when_the_host_is_allowed_then_it_is_bound_to_its_addresses(
    entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _answer("127.0.0.1", "127.0.0.1"))  # some machines resolve it to ::1
    addresses = pin_url("https://localhost:8443/a?b=c", allow=["hooks.internal", entry])
    assert len(addresses) == 2
    for pinned in addresses:
        assert str(pinned.url) == "https://127.0.0.1:8443/a?b=c"
        assert pinned.headers == {"Host": "localhost:8443"}
        assert pinned.extensions == {"sni_hostname": "localhost"}


def test_pin_url_when_one_of_several_addresses_is_not_public_then_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _answer("8.8.8.8", "10.0.0.1"))  # a name server that we do not own
    with pytest.raises(ForbiddenAddressError):
        pin_url("http://rebinding.example/")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "xn--", "a..b", "a" * 300])
def test_pin_url_when_nobody_knows_the_host_then_says_so(host: str) -> None:
    with pytest.raises(UnknownHostError):
        pin_url(f"http://{host}/")


def test_pin_url_when_too_many_hosts_are_looked_up_then_the_next_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def silent(host: str, port: int, **_: object) -> list[object]:
        asked.set()
        assert answer.wait(20)
        raise socket.gaierror("no answer")

    monkeypatch.setattr("stt_core.net._lookups", threading.BoundedSemaphore(1))
    monkeypatch.setattr(socket, "getaddrinfo", silent)  # a name server that we do not own
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(pin_url, "http://silent.example/")
        assert asked.wait(20)
        with pytest.raises(BusyError):
            pin_url("http://silent.example/")
        answer.set()
        assert isinstance(first.exception(20), UnknownHostError)
    with pytest.raises(UnknownHostError):
        pin_url("http://silent.example/")


def _answer(*addresses: str) -> object:
    return lambda host, port, **_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]
