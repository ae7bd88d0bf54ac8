"""What is counted: nothing is lost that comes at once, counting never gets in the way, and sums over jobs are right."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from stt_cli.local_stack.home import free_port
from stt_core.jobs.job import JobStatus, Source
from stt_core.metrics import BOUNDS, Backlog, Spread, Tallies, Tally, count_by_status, measure_backlog
from stt_core.settings import Settings
from stt_core.stores.database import Database
from tests.core.jobs.conftest import store_job


def test_count_when_many_do_at_once_then_none_is_lost(any_database: Database) -> None:
    tallies = Tallies(any_database)
    before, *_ = tallies.read()
    with ThreadPoolExecutor(8) as threads:
        for _ in range(40):
            threads.submit(tallies.count, {Tally.UPLOADS: 1, Tally.UPLOAD_BYTES: 5_000_000_000})

    counts, *_ = tallies.read()
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


def source(size_bytes: int) -> Source:
    return Source(filename="a", key="k", format="wav", content_type="audio/wav", size_bytes=size_bytes, sha256="")


def test_count_by_status_counts_each(any_database: Database) -> None:
    for status in ("queued", "queued", "failed"):
        store_job(any_database, status=status)

    assert count_by_status(any_database) == {JobStatus.QUEUED: 2, JobStatus.FAILED: 1}


def test_backlog_when_some_were_measured_then_only_the_others_count_by_their_size(any_database: Database) -> None:
    store_job(any_database, status="queued", source=source(1000))
    store_job(any_database, status="queued", source=source(500))
    store_job(any_database, status="queued", source=source(7), duration_seconds=12.5)
    store_job(any_database, status="completed", source=source(9), duration_seconds=100.0)

    assert measure_backlog(any_database) == Backlog(12.5, 1500)
