"""A system that has no keys (yet): whom it lets in, and what ends that."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from stt_cli.local_stack.home import free_port
from stt_core.access.api_key import Scope
from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.auth.conftest import NO_JOB
from tests.api.conftest import Serve, kind_of


@pytest.fixture
def keyless(settings: Settings) -> Settings:
    """A system that never had a key."""
    return settings.model_copy(update={"mongodb_database": f"keys{os.urandom(6).hex()}"})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"Authorization": "Bearer anything"}, 404),
        ({"Origin": "http://localhost:8000"}, 404),
        ({"Host": "[::1]:8000"}, 404),
        ({"Host": "stt.example.com"}, 401),
        ({"Origin": "https://evil.example.com"}, 401),
        ({"Origin": "null"}, 401),
        ({"Origin": "http://[::1"}, 401),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 401),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 404),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 404),
        ({"X-Forwarded-For": "203.0.113.9"}, 401),
        ({"X-Real-IP": "203.0.113.9"}, 401),
        ({"Via": "1.1 proxy"}, 401),
    ],
    ids=str,
)
def test_keys_when_there_are_none_then_only_what_is_local_comes_in(
    serve: Serve, keyless: Settings, headers: dict[str, str], status: int
) -> None:
    with serve(keyless) as client:
        assert client.get(NO_JOB, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("update", "status"),
    [
        ({"stt_api_host": "0.0.0.0"}, 401),
        ({"api_keys": "required"}, 401),
        ({"api_keys": "off", "stt_api_host": "0.0.0.0"}, 404),
    ],
    ids=str,
)
def test_keys_when_there_are_none_then_the_settings_decide(
    serve: Serve, keyless: Settings, update: dict[str, str], status: int
) -> None:
    with serve(keyless.model_copy(update=update)) as client:
        assert client.get(NO_JOB).status_code == status
        assert client.get("/health").status_code == 200


def test_keys_when_the_first_is_made_then_it_is_asked_for_and_stays_so_when_revoked(
    serve: Serve, keyless: Settings, wait_until: Callable[..., None]
) -> None:
    services = Services.open(keyless)
    with serve(keyless) as client:
        assert client.get(NO_JOB).status_code == 404
        key = services.keys.create("first", [Scope.READ]).key
        wait_until(lambda: client.get(NO_JOB).status_code == 401, "keys being asked for", 6)
        services.keys.revoke(key.key_id)
    with serve(keyless) as client:
        assert client.get(NO_JOB).status_code == 401
    services.close()


def test_keys_when_mongodb_is_away_then_503(serve: Serve, keyless: Settings) -> None:
    away = keyless.model_copy(
        update={"mongodb_url": f"mongodb://127.0.0.1:{free_port()}", "mongodb_timeout_seconds": 0.5}
    )
    with serve(away) as client:
        response = client.get(NO_JOB, headers={"Authorization": "Bearer stt_x"})
        assert (response.status_code, kind_of(response)) == (503, "database-unavailable")
        assert client.get("/health").status_code == 200
