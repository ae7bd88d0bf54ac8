"""Sums over jobs: how many there are of each status, and how much audio waits."""

from __future__ import annotations

from stt_core.jobs.job import JobStatus, Source
from stt_core.metrics import Backlog, count_by_status, measure_backlog
from stt_core.stores.database import Database
from tests.core.jobs.conftest import store_job


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
