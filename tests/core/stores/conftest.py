from __future__ import annotations

from collections.abc import Iterator

import pytest

from stt_core.settings import Settings
from stt_core.stores.object_store import ObjectStore


@pytest.fixture
def store(settings: Settings) -> Iterator[ObjectStore]:
    """A bucket of the test's own on the embedded S3 server."""
    store = ObjectStore(settings)
    store.ensure_bucket()
    yield store
    store.close()
