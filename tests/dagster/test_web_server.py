"""The guard before Dagster's web server: its own page gets in, those of others do not."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from stt_core.settings import Settings
from stt_dagster.web_server import Guard

JSON = {"Content-Type": "application/json"}
PUBLIC = "https://dagster.example"
SOCKET = "ws://127.0.0.1:3000/graphql"


def client_of(url: str = "http://127.0.0.1:3000", **settings: Any) -> TestClient:
    """Return a client of the guard before an application that takes everything, in the place of Dagster's."""

    async def answer(_: Request) -> PlainTextResponse:
        return PlainTextResponse("in")

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("in")
        await socket.close()

    routes = [
        WebSocketRoute("/graphql", talk),
        Route("/{path:path}", answer, methods=["GET", "POST", "PUT", "DELETE"]),
    ]
    return TestClient(Guard(Starlette(routes=routes), Settings(**settings)), base_url=url)


@pytest.mark.parametrize(
    ("url", "let_in"),
    [
        ("http://127.0.0.1:3000", True),
        ("http://localhost:3000", True),
        ("http://[::1]:3000", True),
        ("http://127.8.9.10", True),
        (PUBLIC, True),
        ("http://rebound.example:3000", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://10.0.0.7:3000", False),
    ],
)
def test_guard_goes_by_the_name_it_is_reached_under(url: str, let_in: bool) -> None:
    client = client_of(url, stt_dagster_url=PUBLIC)
    answer = client.get("/runs/1")
    assert answer.status_code == (200 if let_in else 403)
    assert let_in or "Set STT_DAGSTER_URL" in answer.text


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:3000"}, True),
        ({"Origin": PUBLIC}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://127.0.0.1:9999"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, False),
    ],
)
def test_guard_goes_by_the_page_that_asks(headers: dict[str, str], let_in: bool) -> None:
    client = client_of(stt_dagster_url=PUBLIC)
    assert client.post("/graphql", json={}, headers=headers).status_code == (200 if let_in else 403)
    assert client.get("/logs/1", headers=headers).status_code == (200 if let_in else 403)
    if let_in:
        with client.websocket_connect(SOCKET, headers=headers) as socket:
            assert socket.receive_text() == "in"
    else:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(SOCKET, headers=headers):
            pass


def test_guard_when_a_link_of_another_site_is_followed_then_the_page_opens_and_nothing_is_sent() -> None:
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    client = client_of()
    assert client.get("/runs/1", headers=followed).status_code == 200
    assert client.post("/runs/1", headers=followed | JSON).status_code == 403
    assert client.get("/graphql?query=mutation{shutdown}", headers=followed).status_code == 405


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/prefix/graphql", "/report_asset_materialization/a"])
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_guard_takes_json_alone(path: str, kind: str) -> None:
    client = client_of()
    assert client.post(path, content="{}", headers={"Content-Type": kind}).status_code == 415
    assert client.post(path, content="{}", headers={"Content-Type": "application/json; charset=utf-8"}).is_success


def test_guard_when_there_is_a_password_then_asks_for_it_everywhere_but_for_probes() -> None:
    client = client_of(stt_dagster_password=SecretStr("s3cret:ü"))
    refused = client.get("/")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Basic"
    wrong = ["Basic", "Basic !", "Bearer s3cret", f"Basic {_encode('stt:other')}"]
    for header in (*wrong, f"Basic {_encode('admin:s3cret:ü')}"):
        assert client.get("/", headers={"Authorization": header}).status_code == 401
    right = {"Authorization": f"Basic {_encode('stt:s3cret:ü')}"}
    assert client.get("/", headers=right).text == "in"
    with client.websocket_connect(SOCKET, headers=right) as socket:
        assert socket.receive_text() == "in"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(SOCKET):
        pass
    assert client.get("/server_info").text == "in"


def _encode(login: str) -> str:
    return base64.b64encode(login.encode()).decode()
