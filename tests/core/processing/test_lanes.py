"""Backfills step aside: what counts as an upload at work, and how long is waited for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from stt_core.jobs.job import JobCreate, JobModel, JobStatus, JobUpdate, Lane
from stt_core.jobs.recovery import cancel_job
from stt_core.jobs.repository import JobRepository
from stt_core.options import JobOptions
from stt_core.processing.lanes import let_uploads_pass
from stt_core.settings import Settings
from stt_core.stores.database import Database
from stt_core.stores.documents import utc_now


@pytest.fixture
def jobs(settings: Settings) -> Iterator[JobRepository]:
    database = Database(settings)
    database.ensure_indexes()
    yield JobRepository(database)
    database.close()


def queued(jobs: JobRepository, lane: Lane = Lane.UPLOAD, backoff_seconds: float | None = None) -> JobModel:
    job = jobs.create_job(JobCreate(filename="talk.mp3", options=JobOptions(model="demo"), lane=lane))
    not_before = utc_now() + timedelta(seconds=backoff_seconds) if backoff_seconds else None
    return jobs.update_job(job, JobUpdate(status=JobStatus.QUEUED, not_before=not_before))


def test_has_upload_at_work_when_one_waits_or_has_a_run_says_so_and_of_no_other(jobs: JobRepository) -> None:
    backfill = queued(jobs, Lane.BACKFILL, backoff_seconds=-60)
    jobs.update_status(queued(jobs, Lane.BACKFILL), JobStatus.PROCESSING)
    jobs.update_status(backfill, JobStatus.PROCESSING)
    queued(jobs, backoff_seconds=600)
    cancel_job(jobs, queued(jobs).job_id)
    assert not jobs.has_upload_at_work()

    due = queued(jobs, backoff_seconds=-1)
    assert jobs.has_upload_at_work()
    processing = jobs.update_status(due, JobStatus.PROCESSING)
    assert jobs.has_upload_at_work()
    jobs.update_status(processing, JobStatus.COMPLETED)
    assert not jobs.has_upload_at_work()


def test_let_uploads_pass_when_one_waits_returns_once_it_is_gone(jobs: JobRepository) -> None:
    assert let_uploads_pass(jobs) < 1
    job = queued(jobs)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(let_uploads_pass, jobs)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.3)
        cancel_job(jobs, job.job_id)
        assert waiting.result(timeout=30) > 0.3


def test_lower_priority_when_called_then_later_processes_have_it_too() -> None:
    code = (
        "import os, subprocess, sys; from stt_core.processing.lanes import lower_priority; lower_priority();"
        "subprocess.run([sys.executable, '-c', 'import os; print(os.getpriority(os.PRIO_PROCESS, 0))'], check=True)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(shown) == max(10, os.getpriority(os.PRIO_PROCESS, 0))
