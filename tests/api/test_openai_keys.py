"""OpenAI's own client against an API that asks for keys."""

from __future__ import annotations

import os
from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from stt_core.access.api_key import Scope
from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.conftest import Serve, connect, wav


@pytest.fixture(scope="module")
def guarded(server_settings: Settings, serve: Serve) -> Iterator[dict[str, OpenAI]]:
    """Clients of an API that asks for keys: by what each may do, once a minute."""
    own = f"openaikeys{os.urandom(6).hex()}"
    changes = {"mongodb_database": own, "queue_name": own, "minio_bucket": own, "whisper_model": "demo"}
    settings = server_settings.model_copy(update=changes | {"api_keys": "required", "openai_wait_seconds": 0.1})
    services = Services.open(settings)
    services.prepare()
    tokens = {scope.value: services.keys.create("test", [scope], rate=1).token for scope in (Scope.READ, Scope.WRITE)}
    with serve(settings) as client:
        yield {"no key": connect(client, key="sk-wrong")} | {
            scope: connect(client, key=token.get_secret_value()) for scope, token in tokens.items()
        }
    services.close()


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
