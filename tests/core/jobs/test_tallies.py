"""Counts in MongoDB: nothing that was counted at once is lost, and counting never gets in the way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from stt_cli.local_stack.home import free_port
from stt_core.metrics import BOUNDS, Spread, Tallies, Tally
from stt_core.settings import Settings
from stt_core.stores.database import Database


def test_count_when_many_do_at_once_then_none_is_lost(any_database: Database) -> None:
    tallies = Tallies(any_database)
    before, _ = tallies.read()
    with ThreadPoolExecutor(8) as threads:
        for _ in range(40):
            threads.submit(tallies.count, {Tally.UPLOADS: 1, Tally.UPLOAD_BYTES: 5_000_000_000})

    counts, _ = tallies.read()
    assert counts[Tally.UPLOADS] - before[Tally.UPLOADS] == 40
    assert counts[Tally.UPLOAD_BYTES] - before[Tally.UPLOAD_BYTES] == 200_000_000_000
    assert counts[Tally.ENGINE_RESTARTS] == before[Tally.ENGINE_RESTARTS]


@pytest.mark.parametrize(("value", "place"), [(0.0, 0), (1.0, 0), (1.001, 1), (14_400.0, 10), (1e6, 11)])
def test_observe_when_read_then_each_value_lies_under_its_bound(database: Database, value: float, place: int) -> None:
    tallies = Tallies(database)
    tallies.observe({Spread.PROCESSING_SECONDS: value})

    observed = tallies.read()[1][Spread.PROCESSING_SECONDS]
    assert observed.counts == [int(place == here) for here in range(len(BOUNDS[Spread.PROCESSING_SECONDS]) + 1)]
    assert observed.total == value


def test_count_when_mongodb_is_away_then_nothing_fails() -> None:
    away = Settings.model_validate(
        {"MONGODB_URL": f"mongodb://127.0.0.1:{free_port()}", "MONGODB_TIMEOUT_SECONDS": "0.2"}
    )
    database = Database(away)
    Tallies(database).count({Tally.UPLOADS: 1})
    database.close()
