"""Sessions of the page: a key is exchanged for a cookie, which does what the key may and ends with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from stt_core.services import Services
from stt_core.stores.documents import utc_now
from tests.api.auth.conftest import NO_JOB, MakeKey, wait_for_entry
from tests.api.conftest import kind_of, upload
from tests.conftest import wait_until

SESSION = "/api/v1/session"


@pytest.fixture
def page(client: httpx.Client) -> Iterator[httpx.Client]:
    """A browser with the page of the API open: it keeps cookies and names its origin."""
    with httpx.Client(base_url=client.base_url, headers={"Origin": str(client.base_url).rstrip("/")}) as page:
        yield page


def sign_in(page: httpx.Client, client: httpx.Client, headers: dict[str, str]) -> httpx.Response:
    wait_for_entry(client, headers)
    return page.post(SESSION, json={"key": headers["Authorization"].removeprefix("Bearer ")})


def test_session_when_a_key_is_shown_then_the_cookie_does_what_the_key_may_and_no_script_reads_it(
    page: httpx.Client, client: httpx.Client, make_key: MakeKey
) -> None:
    key, headers = make_key("read", "write")
    answer = sign_in(page, client, headers)

    assert answer.json()["name"] == key.name
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
    assert headers["Authorization"].removeprefix("Bearer ").lower() not in cookie
    assert page.get(SESSION).json()["scopes"] == ["read", "write"]
    assert upload(page).status_code == 202
    assert len(page.get("/api/v1/tasks").json()["tasks"]) == 1
    assert page.get("/metrics").status_code == 403


def test_session_when_nobody_is_signed_in_then_401(client: httpx.Client) -> None:
    assert client.get(SESSION).status_code == 401


def test_session_when_the_key_is_wrong_then_401_and_no_cookie(page: httpx.Client) -> None:
    answer = page.post(SESSION, json={"key": "stt_wrong"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("origin", ["http://127.0.0.1:1", "https://evil.example", "null", ""])
def test_session_when_a_page_of_another_origin_sends_the_cookie_then_it_changes_nothing(
    page: httpx.Client, client: httpx.Client, make_key: MakeKey, origin: str
) -> None:
    _, headers = make_key("write", "read")
    sign_in(page, client, headers)

    page.headers["Origin"] = origin
    assert kind_of(upload(page)) == "forbidden"
    assert kind_of(page.delete(NO_JOB)) == "forbidden"
    assert kind_of(page.delete(SESSION)) == "forbidden"
    assert kind_of(page.post(SESSION, json={"key": "stt_other"})) == "forbidden"
    assert page.get(SESSION).status_code == 200


def test_session_when_signed_out_then_the_cookie_opens_nothing(
    page: httpx.Client, client: httpx.Client, make_key: MakeKey
) -> None:
    sign_in(page, client, make_key("read")[1])
    cookie = page.cookies["stt_session"]
    assert page.delete(SESSION).status_code == 204

    assert "stt_session" not in page.cookies
    assert client.get(SESSION, headers={"Cookie": f"stt_session={cookie}"}).status_code == 401


def test_session_when_its_key_is_revoked_then_it_is_over(
    page: httpx.Client, client: httpx.Client, make_key: MakeKey, services: Services
) -> None:
    key, headers = make_key("read")
    sign_in(page, client, headers)
    services.keys.revoke(key.key_id)
    wait_until(lambda: page.get(SESSION).status_code == 401, "the session being over")


def test_session_when_its_time_is_over_then_it_opens_nothing_and_is_forgotten(
    page: httpx.Client, client: httpx.Client, make_key: MakeKey, services: Services
) -> None:
    key, headers = make_key("read")
    sign_in(page, client, headers)
    assert page.cookies["stt_session"] not in str(list(services.database.sessions.find()))
    session = services.database.sessions.find_one({"key_id": key.key_id})
    assert session
    over = session | {"expires_at": utc_now() - timedelta(seconds=1)}
    services.database.sessions.replace_one({"_id": session["_id"]}, over)

    assert page.get(SESSION).status_code == 401
    sign_in(page, client, headers)
    assert len(list(services.database.sessions.find({"key_id": key.key_id}))) == 1
