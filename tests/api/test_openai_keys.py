"""OpenAI's own client against an API that asks for keys."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from stt_core.access.api_key import Scope
from stt_core.settings import Settings
from tests.api.conftest import Serve, connect, opened, own_settings, wav


@pytest.fixture(scope="module")
def guarded(server_settings: Settings, serve: Serve) -> Iterator[dict[str, OpenAI]]:
    """Clients of an API that asks for keys: by what each may do, once a minute."""
    settings = own_settings(server_settings, api_keys="required", openai_wait_seconds=0.1)
    with opened(settings) as services, serve(settings) as client:
        yield {"no key": connect(client, key="sk-wrong")} | {
            scope.value: connect(client, key=services.keys.create("test", [scope], rate=1).token.get_secret_value())
            for scope in (Scope.READ, Scope.WRITE)
        }


def test_request_when_its_key_is_wrong_then_authentication_error(guarded: dict[str, OpenAI]) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        guarded["no key"].models.list()
    assert (caught.value.code, caught.value.type) == ("invalid_api_key", "authentication_error")


def test_request_when_its_key_may_only_read_then_permission_denied(guarded: dict[str, OpenAI]) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        guarded["read"].audio.transcriptions.create(file=("a.wav", wav()), model="whisper-1")


def test_request_when_its_key_sent_too_many_then_rate_limited(guarded: dict[str, OpenAI]) -> None:
    with pytest.raises(openai.InternalServerError, match="still at work"):
        guarded["write"].audio.transcriptions.create(file=("a.wav", wav()), model="whisper-1")
    with pytest.raises(openai.RateLimitError) as caught:
        guarded["write"].audio.transcriptions.create(file=("a.wav", wav()), model="whisper-1")
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert caught.value.response.headers["retry-after"]
