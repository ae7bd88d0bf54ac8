"""API keys: shown once, found by their hash, revoked for good."""

from __future__ import annotations

import pytest

from stt_core.access.api_key import Scope
from stt_core.access.keys import ApiKeys
from stt_core.errors import InvalidInputError, KeyNotFoundError
from stt_core.stores.database import Database


@pytest.fixture
def keys(database: Database) -> ApiKeys:
    return ApiKeys(database)


def test_create_when_read_back_then_the_token_finds_its_key_and_nothing_else_does(keys: ApiKeys) -> None:
    new = keys.create("laptop", [Scope.WRITE, Scope.READ], rate=7, concurrent=2)
    token = new.token.get_secret_value()
    ring = keys.ring()

    found = ring.find(token)
    assert found is not None
    assert (found.key_id, found.name, found.scopes) == (new.key.key_id, "laptop", [Scope.READ, Scope.WRITE])
    assert (found.rate, found.concurrent, found.revoked_at) == (7, 2, None)
    assert ring.find(token[:-1]) is None
    assert ring.find(found.digest) is None
    assert ring.find("") is None


def test_create_when_stored_then_the_token_is_nowhere_in_the_database(keys: ApiKeys, database: Database) -> None:
    token = keys.create("laptop", [Scope.READ]).token.get_secret_value()

    assert len(token) == 47  # 256 bits, and the prefix
    assert token not in str(list(database.api_keys.find()))


def test_create_when_logged_then_the_token_is_not(keys: ApiKeys) -> None:
    new = keys.create("laptop", [Scope.READ])

    assert new.token.get_secret_value() not in repr(new)


@pytest.mark.parametrize("name", ["", " x", "a\nb", "x" * 101, "<b>"])
def test_create_when_the_name_is_not_fit_to_be_shown_then_refused(keys: ApiKeys, name: str) -> None:
    with pytest.raises(InvalidInputError):
        keys.create(name, [Scope.READ])


@pytest.mark.parametrize("limits", [{"rate": 0}, {"concurrent": 0}, {"rate": 10**9}])
def test_create_when_a_limit_makes_no_sense_then_refused(keys: ApiKeys, limits: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError):
        keys.create("laptop", [Scope.READ], **limits)


def test_revoke_when_done_then_the_token_finds_nothing_and_the_key_is_listed_as_revoked(keys: ApiKeys) -> None:
    new, other = keys.create("laptop", [Scope.READ]), keys.create("server", [Scope.READ])
    revoked = keys.revoke(new.key.key_id)

    assert revoked.revoked_at is not None
    assert keys.ring().find(new.token.get_secret_value()) is None
    assert keys.ring().find(other.token.get_secret_value()) is not None
    assert [key.revoked_at for key in keys.list_keys()] == [revoked.revoked_at, None]
    assert keys.revoke(new.key.key_id) == revoked


def test_revoke_when_there_is_no_such_key_then_said(keys: ApiKeys) -> None:
    with pytest.raises(KeyNotFoundError):
        keys.revoke("0" * 12)


def test_ring_when_the_last_key_is_revoked_then_it_is_known_that_there_was_one(keys: ApiKeys) -> None:
    assert keys.ring().was_any is False
    keys.revoke(keys.create("laptop", [Scope.READ]).key.key_id)

    assert keys.ring().was_any is True
    assert keys.ring().keys == {}


def test_ring_when_a_document_is_damaged_then_it_opens_nothing_and_the_others_work(
    keys: ApiKeys, database: Database
) -> None:
    token = keys.create("laptop", [Scope.READ]).token.get_secret_value()
    database.api_keys.insert_one({"_id": "damaged", "scopes": ["everything"]})

    assert len(keys.ring().keys) == 1
    assert keys.ring().find(token) is not None
