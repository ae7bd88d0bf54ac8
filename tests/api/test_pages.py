"""The API's own pages, which must work where nothing outside can be reached."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from api.application import create_app
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
