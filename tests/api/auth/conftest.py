"""An API that asks for keys, and the keys."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from api import auth
from stt_core.access.api_key import ApiKey, Scope
from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.conftest import Serve, opened, own_settings

MakeKey = Callable[..., tuple[ApiKey, dict[str, str]]]
NO_JOB = f"/api/v1/tasks/{'0' * 32}"


@pytest.fixture(scope="module")
def settings(server_settings: Settings) -> Settings:
    """Of this module alone: a key once made asks everybody for theirs."""
    return own_settings(server_settings)


@pytest.fixture(scope="module", autouse=True)
def _sooner() -> Iterator[None]:
    """Let the API look for keys more often than it does for people."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "FRESH_SECONDS", 0.2)
        yield


@pytest.fixture(scope="module")
def services(settings: Settings) -> Iterator[Services]:
    with opened(settings) as services:
        yield services


@pytest.fixture(scope="module")
def make_key(services: Services) -> MakeKey:
    def make(*scopes: str, **limits: int) -> tuple[ApiKey, dict[str, str]]:
        new = services.keys.create("test", [Scope(scope) for scope in scopes], **limits)
        return new.key, {"Authorization": f"Bearer {new.token.get_secret_value()}"}

    return make


@pytest.fixture(scope="module")
def client(serve: Serve, settings: Settings, make_key: MakeKey) -> Iterator[httpx.Client]:
    """A client without a key of an API that asks for one."""
    make_key("read")
    with serve(settings) as client:
        yield client


def wait_for_entry(client: httpx.Client, headers: dict[str, str]) -> None:
    """Wait until the API knows a key that was just made."""
    deadline = threading.Event()
    for _ in range(100):
        if client.get("/api/v1/entry", headers=headers).status_code != 401:
            return
        deadline.wait(0.05)
    pytest.fail("the API never learnt of the key")
