"""What every answer carries, and that every error is a problem document. No server is needed for that."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from api.application import create_app
from stt_core.errors import DiskFullError
from stt_core.logs import add_sink, get_logger
from stt_core.logs import logger as _unused  # noqa: F401
from tests.api.conftest import kind_of

SECRET = "mongodb://root:hunter2@10.0.0.7"


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """The app with two routes that fail."""
    app = create_app()

    def explode() -> None:
        raise RuntimeError(SECRET)

    def fill() -> None:
        raise DiskFullError("No room left.", mend="Make room.", free_bytes=0)

    app.add_api_route("/explode", explode)
    app.add_api_route("/fill", fill)
    return app


def ask(app: FastAPI, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(send())
