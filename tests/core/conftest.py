"""What the rooms of the core are proved on: the core on this worker's servers, and MongoDB in every implementation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from uuid import uuid4

import mongomock
import pytest

from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.stores.database import Database

#: A MongoDB of the developer's own; the contract tests run there too, in a database that they drop.
_MONGOD_URL = os.environ.get("MONGODB_URL")


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    """The core, on servers that are prepared for it."""
    opened = Services.open(settings)
    opened.prepare()
    yield opened
    opened.close()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    yield database
    database.close()


@pytest.fixture(
    params=[
        "embedded",
        "mongomock",
        pytest.param("mongod", marks=pytest.mark.skipif(not _MONGOD_URL, reason="MONGODB_URL is not set")),
    ]
)
def any_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Each implementation of MongoDB that the repository's contract is proved on."""
    if request.param == "embedded":
        database = Database(request.getfixturevalue("settings"))
    elif request.param == "mongomock":
        # An independent oracle of MongoDB's behaviour, not a stand-in for ours.
        database = Database(Settings.model_validate({}), client_class=mongomock.MongoClient)
    else:
        name = f"stt_test_{uuid4().hex[:12]}"
        database = Database(Settings.model_validate({"MONGODB_URL": _MONGOD_URL, "MONGODB_DATABASE": name}))
    database.ensure_indexes()
    yield database
    if request.param == "mongod":
        database.jobs.database.client.drop_database(database.jobs.database.name)
    database.close()
