"""What every answer carries, and that every error is a problem document. No server is needed for that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import loguru
import pytest
from fastapi import FastAPI

from api.app import create_app
from stt_core.errors import DiskFullError
from stt_core.settings import Settings
from tests.api.conftest import kind_of

SECRET = "mongodb://root:hunter2@10.0.0.7"


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """The app with two more routes, which fail."""
    app = create_app()
    app.state.services = SimpleNamespace(settings=Settings.model_validate({"API_KEYS": "off"}))  # as if it had started

    def explode() -> None:
        raise RuntimeError(SECRET)

    def fill() -> None:
        raise DiskFullError("No room left.", mend="Make room.", free_bytes=0)

    app.add_api_route("/explode", explode)
    app.add_api_route("/fill", fill)
    return app


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    """The log records of the test."""
    records: list[dict[str, Any]] = []
    sink = loguru.logger.add(lambda line: records.append(json.loads(line)["record"]), level="DEBUG", serialize=True)
    yield records
    loguru.logger.remove(sink)


def ask(app: FastAPI, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(send())


def test_route_when_unknown_then_404_problem(app: FastAPI) -> None:
    response = ask(app, "/api/v2/nowhere")

    assert (response.status_code, kind_of(response)) == (404, "not-found")


def test_method_when_wrong_then_405_problem_that_says_which_are_allowed(app: FastAPI) -> None:
    response = ask(app, "/health", "DELETE")

    assert (response.status_code, kind_of(response)) == (405, "method-not-allowed")
    assert response.headers["allow"] == "GET"


def test_error_when_named_then_its_status_mend_and_details_are_answered(app: FastAPI) -> None:
    response = ask(app, "/fill")

    assert (response.status_code, kind_of(response)) == (507, "disk-full")
    problem = response.json()
    assert (problem["mend"], problem["instance"], problem["details"]) == ("Make room.", "/fill", {"free_bytes": 0})


def test_exception_when_nobody_named_it_then_500_without_its_text_and_logged_with_its_trace(
    app: FastAPI, log: list[dict[str, Any]]
) -> None:
    response = ask(app, "/explode")

    assert (response.status_code, kind_of(response)) == (500, "unexpected")
    assert "hunter2" not in response.text and "RuntimeError" not in response.text
    traced = [record for record in log if record["exception"]]
    assert [record["exception"]["type"] for record in traced] == ["RuntimeError"]
    assert traced[0]["extra"]["request_id"] == response.headers["x-request-id"]
    assert log[-1]["message"].startswith("GET /explode -> 500 in ")
    assert log[-1]["level"]["name"] == "ERROR"


@pytest.mark.parametrize(
    ("path", "method", "level"),
    [("/health", "GET", "DEBUG"), ("/nowhere", "GET", "WARNING"), ("/fill", "GET", "ERROR")],
)
def test_request_when_answered_then_one_line_with_route_status_and_duration(
    app: FastAPI, log: list[dict[str, Any]], path: str, method: str, level: str
) -> None:
    response = ask(app, path, method)
    lines = [record for record in log if " -> " in record["message"] and record["name"] == "api.middleware"]

    assert len(lines) == 1
    assert lines[0]["message"].startswith(f"{method} {path} -> {response.status_code} in ")
    assert lines[0]["level"]["name"] == level
    assert lines[0]["extra"]["request_id"] == response.headers["x-request-id"]


def test_request_id_when_given_then_kept(app: FastAPI) -> None:
    assert ask(app, "/health", **{"X-Request-ID": "trace-42.a_b"}).headers["x-request-id"] == "trace-42.a_b"


@pytest.mark.parametrize("bad", ["", "a b", "x" * 129, "<script>", "{job_id}", "ü".encode().decode("latin-1")])
def test_request_id_when_unfit_for_logs_then_replaced(app: FastAPI, bad: str) -> None:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get("/health", headers=[(b"x-request-id", bad.encode("latin-1"))])

    given = asyncio.run(send()).headers["x-request-id"]
    assert given != bad
    assert len(given) == 32


def test_path_when_hostile_then_neither_log_nor_problem_takes_it_raw(app: FastAPI, log: list[dict[str, Any]]) -> None:
    response = ask(app, "/%0a2026-01-01%20ERROR%20{forged}<b>")

    assert response.status_code == 404
    assert not any("\n" in record["message"] or "<b>" in record["message"] for record in log)
    assert "<b>" not in response.text


def test_answer_when_any_then_not_sniffed_and_not_cached(app: FastAPI) -> None:
    response = ask(app, "/health")

    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
