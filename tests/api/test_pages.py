"""The API's own pages, which must work where nothing outside can be reached."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from stt_core.settings import Settings


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_page_when_opened_loads_nothing_from_elsewhere(page: str, settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        html = client.get(page).raise_for_status().text
        sources = re.findall(r'(?:src|href)="([^"]+)"', html)
        assert sources
        for source in sources:
            assert source.startswith("/"), source
            assert client.get(source).status_code == 200


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_page_when_opened_may_run_its_own_scripts_and_be_framed_by_nobody(page: str, settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        policy = client.get(page).headers["content-security-policy"]
    assert "script-src 'self' 'unsafe-inline';" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", ["/health", "/openapi.json", "/nowhere"])
def test_answer_when_no_page_then_nothing_in_it_may_run(path: str, settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none';")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
