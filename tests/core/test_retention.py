"""What the nightly sweep removes and what it never touches, on real servers; only its clock is moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from stt_core import object_keys, retention
from stt_core.errors import JobDeletedError, JobNotFoundError
from stt_core.jobs.job import ChunkModel, JobError, JobModel, JobOptions, JobResult, JobStatus, Source
from stt_core.retention import SweepReport, sweep
from stt_core.services import Services
from stt_core.stores.documents import utc_now

FINAL = [status for status in JobStatus if status.is_final]
UNFINISHED = [status for status in JobStatus if not status.is_final]

#: `after(days, **settings)`: sweep as if so many days had gone by.
After = Callable[..., SweepReport]


@pytest.fixture
def after(services: Services, monkeypatch: pytest.MonkeyPatch) -> After:
    def run(days: float, **settings: object) -> SweepReport:
        monkeypatch.setattr(retention, "utc_now", lambda: utc_now() + timedelta(days=days))
        return sweep(replace(services, settings=services.settings.model_copy(update=settings)))

    return run


@pytest.fixture
def store(services: Services) -> Callable[..., JobModel]:
    """Store a job in its second attempt with everything that one can have."""

    def store(status: JobStatus) -> JobModel:
        job = JobModel(
            filename="talk.mp3", options=JobOptions(model="demo"), status=status, attempt=2, write_id=uuid4().hex
        )
        key = object_keys.source(job.job_id, "mp3")
        job.source = Source(filename="talk.mp3", key=key, format="mp3", content_type="x", size_bytes=1, sha256="0")
        if status.is_final:
            job.completed_at = utc_now()
        if status is JobStatus.FAILED:
            job.error = JobError(kind="engine-failed", message="It said: secret")
        if status is JobStatus.COMPLETED:
            job.result = JobResult(
                prefix=object_keys.result_prefix(job.job_id, 2), formats=["json"], language="en", duration_seconds=1,
                words=1, segments=1, text_preview="secret",
            )  # fmt: skip
        services.database.jobs.insert_one(job.to_document())
        services.chunks.replace_chunks(job.job_id, [chunk_of(job)])
        for stored in everything_of(job):
            services.store.put_bytes(stored, b"x")
        return job

    return store


def chunk_of(job: JobModel, result_key: str | None = None) -> ChunkModel:
    return ChunkModel(
        chunk_id=f"{job.job_id}:0", job_id=job.job_id, index=0, attempt=job.attempt, result_key=result_key,
        start_seconds=0, end_seconds=1, speech_seconds=1,
    )  # fmt: skip


def everything_of(job: JobModel) -> set[str]:
    return {source_of(job), published(job)} | left_over(job)


def source_of(job: JobModel) -> str:
    return object_keys.source(job.job_id, "mp3")


def published(job: JobModel) -> str:
    return object_keys.transcript(object_keys.result_prefix(job.job_id, 2), "json")


def left_over(job: JobModel) -> set[str]:
    return {
        object_keys.prepared_pcm(job.job_id, 1),
        object_keys.step_output(job.job_id, uuid_of(job), "transcribe[b0]", "result"),
        object_keys.transcript(object_keys.result_prefix(job.job_id, 1), "json"),
    }


def uuid_of(job: JobModel) -> str:
    return f"{job.job_id[:8]}-0000-4000-8000-000000000000"


def stored(services: Services) -> set[str]:
    return set(services.store.list_keys(""))


def test_sweep_when_the_job_completed_then_keeps_the_recording_and_the_published_results_alone(
    services: Services, store: Callable[..., JobModel], after: After
) -> None:
    job = store(JobStatus.COMPLETED)
    report = after(0)
    assert stored(services) == {source_of(job), published(job)}
    assert report.objects_removed == {"audio": 1, "runs": 1, "results": 1}
    assert report.bytes_removed == 3
    assert after(0) == SweepReport()
    after(9000)  # for ever, by default
    assert stored(services) == {source_of(job), published(job)}


def test_sweep_when_the_job_was_cancelled_then_keeps_the_recording(
    services: Services, store: Callable[..., JobModel], after: After
) -> None:
    job = store(JobStatus.CANCELLED)
    after(0)
    assert stored(services) == {source_of(job)}


def test_sweep_when_the_job_failed_then_keeps_what_its_run_needs_to_go_on_for_a_while(
    services: Services, store: Callable[..., JobModel], after: After
) -> None:
    job = store(JobStatus.FAILED)
    after(1.5, audio_days=2.0)
    after(9000, audio_days=0.0)
    assert stored(services) == everything_of(job)
    after(2.5, audio_days=2.0)
    assert stored(services) == {source_of(job)}


@pytest.mark.parametrize("status", [JobStatus.CANCELLED, JobStatus.FAILED])
def test_sweep_when_the_job_ended_while_its_bytes_arrived_then_removes_them(
    services: Services, store: Callable[..., JobModel], after: After, status: JobStatus
) -> None:
    ended, arriving = store(status), store(JobStatus.PENDING)
    for job in (ended, arriving):
        services.database.jobs.update_one({"_id": job.job_id}, {"$set": {"source": None}})

    after(0)

    assert source_of(ended) not in stored(services)
    assert source_of(arriving) in stored(services)


def test_sweep_when_whoever_deleted_a_job_died_before_its_chunks_were_gone_then_removes_them(
    services: Services, store: Callable[..., JobModel], after: After
) -> None:
    job, kept = store(JobStatus.COMPLETED), store(JobStatus.COMPLETED)
    services.jobs.bury_job(job, utc_now())
    services.chunks.replace_chunks(job.job_id, [chunk_of(job)])

    assert after(366).jobs_forgotten == 1

    assert services.chunks.get_chunks(job.job_id) == []
    assert [chunk.job_id for chunk in services.chunks.get_chunks(kept.job_id)] == [kept.job_id]


@pytest.mark.parametrize("status", UNFINISHED)
def test_sweep_when_the_job_is_not_over_then_touches_nothing_however_old_it_is(
    services: Services, store: Callable[..., JobModel], after: After, status: JobStatus
) -> None:
    job = store(status)
    assert after(9000, result_days=1.0, sweep_orphans=True) == SweepReport()
    assert stored(services) == everything_of(job)
    assert services.jobs.get_job(job.job_id) == job


@pytest.mark.parametrize("status", FINAL)
def test_sweep_when_results_are_kept_for_days_then_deletes_the_job_and_forgets_it_later(
    services: Services, store: Callable[..., JobModel], after: After, status: JobStatus
) -> None:
    job, unfinished = store(status), store(JobStatus.QUEUED)
    assert after(6, result_days=7.0, audio_days=90.0).jobs_deleted == 0

    report = after(8, result_days=7.0, audio_days=90.0)

    assert report.jobs_deleted == 1
    assert stored(services) == everything_of(unfinished)
    assert services.chunks.get_chunks(job.job_id) == []
    with pytest.raises(JobDeletedError):
        services.jobs.get_job(job.job_id)
    assert [left.job_id for left in services.jobs.list_jobs().jobs] == [unfinished.job_id]
    kept = services.database.jobs.find_one({"_id": job.job_id})
    assert kept is not None and kept["status"] == status.value
    assert "secret" not in str(kept) and "talk" not in str(kept)
    assert after(8 + 364, result_days=7.0).jobs_forgotten == 0
    assert after(8 + 366, result_days=7.0).jobs_forgotten == 1
    with pytest.raises(JobNotFoundError) as gone:
        services.jobs.get_job(job.job_id)
    assert not isinstance(gone.value, JobDeletedError)


def test_sweep_when_the_job_is_sent_again_in_that_moment_then_it_is_not_deleted(
    services: Services, store: Callable[..., JobModel], after: After, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = store(JobStatus.FAILED)
    find = services.jobs.find_ended_jobs

    def find_and_lose(before: object) -> Iterator[JobModel]:
        for found in find(before):  # type: ignore[arg-type]
            services.tasks.retry_task(found.job_id)
            yield found

    monkeypatch.setattr(services.jobs, "find_ended_jobs", find_and_lose)
    assert after(8, result_days=7.0).jobs_deleted == 0
    assert services.jobs.get_job(job.job_id).status is JobStatus.QUEUED
    assert stored(services) == everything_of(job)


def test_sweep_when_chunk_texts_are_old_then_removes_them_unless_a_run_relies_on_them(
    services: Services, store: Callable[..., JobModel], after: After
) -> None:
    idle, in_use = object_keys.chunk_result("a1" * 32), object_keys.chunk_result("b2" * 32)
    for key in (idle, in_use, "chunks/readme.txt"):
        services.store.put_bytes(key, b"{}")
    job = store(JobStatus.PROCESSING)
    services.chunks.replace_chunks(job.job_id, [chunk_of(job, in_use)])

    for report in (after(29), after(9000, chunk_cache_days=0.0)):
        assert report == SweepReport()
    assert after(31).objects_removed == {"chunks": 1}
    assert stored(services) == {in_use, "chunks/readme.txt"} | everything_of(job)


def test_sweep_when_nobody_knows_the_job_then_reports_its_objects_and_removes_them_only_if_told(
    services: Services, store: Callable[..., JobModel], after: After, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_PAGE", 2)
    job, gone = store(JobStatus.COMPLETED), store(JobStatus.COMPLETED)
    after(0)
    services.jobs.delete_job(gone.job_id)
    foreign = {"uploads/photo.jpg", "uploads/photos/2026.jpg", "elsewhere/thing", f"elsewhere/{job.job_id}/thing"}
    for key in foreign:
        services.store.put_bytes(key, b"x")

    assert after(0.9, sweep_orphans=True).orphans == 0  # it may be an upload under way
    report = after(1.1)
    assert (report.orphans, report.orphan_bytes, report.objects_removed) == (2, 2, {})
    assert after(1.1, sweep_orphans=True).objects_removed == {"uploads": 1, "results": 1}
    assert stored(services) == foreign | {source_of(job), published(job)}
