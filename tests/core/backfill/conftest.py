"""The core on this worker's servers, with sources of backfills, and their buckets to put objects into."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from stt_core.backfill.discovery import DiscoveredPage, Round, discover_next, record_page
from stt_core.backfill.objects import BucketObjects
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.stores.object_store import ObjectStore

OpenCore = Callable[..., Services]


@pytest.fixture
def bucket(settings: Settings) -> Iterator[ObjectStore]:
    """A bucket of somebody else's recordings."""
    store = ObjectStore(settings).in_bucket(f"{settings.minio_bucket}-calls")
    store.ensure_bucket()
    yield store
    store.close()


@pytest.fixture
def open_core(settings: Settings, bucket: ObjectStore) -> Iterator[OpenCore]:
    """Open the core with sources: `open_core({"prefix": "2026/"})`; in that bucket unless they name another."""
    opened = []

    def open_core(*sources: dict[str, object]) -> Services:
        values = settings.model_dump() | {
            "backfill_sources": json.dumps([{"bucket": bucket.bucket, **it} for it in sources])
        }
        services = Services.open(Settings.model_validate(values))
        services.prepare()
        opened.append(services)
        return services

    yield open_core
    for services in opened:
        services.close()


def discover(services: Services, current: Round | None = None, *, limit: int = 1000) -> list[DiscoveredPage]:
    """Go once through the sources as the sensor does, and return the pages."""
    pages = []
    current = current or Round()
    while True:
        page, current = discover_next(services, current, limit)
        record_page(services, page)
        pages.append(page)
        if current.is_over:
            return pages


def known_keys(services: Services, bucket: ObjectStore) -> list[str]:
    return [item.key for item in BucketObjects.of(services).find_range(bucket.bucket)]
