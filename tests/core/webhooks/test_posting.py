"""The signature, what a callback may be, and receivers that do not behave."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks import Webhook

from stt_core.errors import ConfigurationError, ForbiddenAddressError, InvalidInputError, UnknownHostError
from stt_core.settings import Settings, load_settings
from stt_core.tasks.wishes import ensure_callback_allowed
from stt_core.webhooks import posting
from stt_core.webhooks.posting import post, sign
from tests.core.webhooks.conftest import SECRET, Receiver

SETTINGS = Settings(webhook_secret=SecretStr(SECRET), webhook_allow=("127.0.0.1",))


@given(text=st.text(), moment=st.integers(0, 2**32))
def test_sign_when_compared_with_the_receivers_library_then_both_agree(text: str, moment: int) -> None:
    body = json.dumps({"text": text}, ensure_ascii=False)
    expected = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(moment, UTC), body)
    assert sign("msg_1", moment, body.encode(), SETTINGS) == expected


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://10.0.0.1/hook", ForbiddenAddressError),
        ("ftp://8.8.8.8/hook", ForbiddenAddressError),
        ("http://no-such-host.invalid/", UnknownHostError),
    ],
)
def test_callback_when_it_could_never_be_called_then_it_is_refused(url: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        ensure_callback_allowed(url, SETTINGS)


def test_callback_when_there_is_nothing_to_sign_with_then_it_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="Webhooks are off"):
        ensure_callback_allowed("http://8.8.8.8/hook", Settings())


@pytest.mark.parametrize("secret", ["secret", "whsec_", "whsec_c2hvcnQ=", "whsec_?", SECRET.removeprefix("whsec_")])
def test_secret_when_it_is_no_key_then_the_process_says_so_without_it(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    with pytest.raises(ConfigurationError, match=r"WEBHOOK_SECRET: must be whsec_.*got \*\*\*"):
        load_settings()


def test_allow_list_when_given_with_commas_then_each_entry_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_ALLOW", "hooks.internal, 10.0.0.0/8,")
    assert load_settings().webhook_allow == ("hooks.internal", "10.0.0.0/8")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 ", b"not HTTP at all\r\n\r\n", b""])
def test_post_when_the_answer_is_slow_or_none_then_the_time_is_bounded(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "TIMEOUT_SECONDS", 0.5)
    with dribbling(answer) as url:
        started = time.monotonic()
        outcome = post(url, "msg_1", b"{}", SETTINGS)
    assert time.monotonic() - started < 2
    assert outcome.status_code is None
    assert outcome.error in ("No answer within 0.5 s.", "RemoteProtocolError")


def test_post_when_the_first_address_takes_no_connection_then_the_next_is_told(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in ("127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: addresses)  # a name server that we do not own
    settings = SETTINGS.model_copy(update={"webhook_allow": ("hooks.example",)})

    assert post(receiver.url.replace("127.0.0.1", "hooks.example"), "msg_1", b"{}", settings).status_code == 204
    assert receiver.ids == ["msg_1"]


@contextmanager
def dribbling(answer: bytes) -> Iterator[str]:
    """Serve one connection that gets these bytes, then one more each tenth of a second until the client leaves."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.sendall(answer)
                while not left.wait(0.1):
                    connection.sendall(b"2")
            except OSError:
                return

    left = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        left.set()
        thread.join(timeout=10)
