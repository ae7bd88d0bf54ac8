"""Recordings that clients put into the object store themselves: what becomes of them when they come late, or never."""

from __future__ import annotations

import hashlib
import io
import random
from datetime import timedelta

import httpx
import pytest

from stt_core import object_keys
from stt_core.errors import StoreUnavailableError, TranslationUnsupportedError
from stt_core.jobs import recovery
from stt_core.jobs.job import JobStatus
from stt_core.jobs.recovery import fail_broken_uploads
from stt_core.metrics import Tally
from stt_core.retention import sweep
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.stores.documents import utc_now
from stt_core.stores.object_store import PART_SIZE, ObjectStore
from stt_core.tasks.service import JobService, PresignedUpload
from stt_core.tasks.submission import Submissions
from tests.api.conftest import wav
from tests.core.wire import Wire


def put(services: Services) -> PresignedUpload:
    """Announce a recording and put it."""
    announced = services.tasks.presign_task(filename="talk.wav")
    httpx.put(announced.upload.url, content=wav()).raise_for_status()
    return announced


def source_key(services: Services, job_id: str) -> str:
    source = services.jobs.get_job(job_id).source
    assert source is not None
    return source.key


def test_complete_when_another_process_does_so_too_then_the_first_one_s_copy_is_the_recording(
    services: Services,
) -> None:
    announced = put(services)
    as_seen = services.jobs.get_job(announced.job.job_id)
    first = services.tasks.complete_task(as_seen.job_id)
    httpx.put(announced.upload.url, content=wav(0.5)).raise_for_status()  # what the other one finds
    other = Submissions(services.settings, services.jobs, services.queue, services.store)
    accepted = other.complete(as_seen)

    assert accepted.source == services.jobs.get_job(first.job_id).source
    assert services.store.get_bytes(source_key(services, first.job_id)) == wav()
    assert services.store.list_keys(object_keys.source_prefix(first.job_id)) == [source_key(services, first.job_id)]
    counts, _ = services.tallies.read()
    assert (counts[Tally.UPLOADS], counts[Tally.UPLOAD_BYTES]) == (1, len(wav()))


def test_presigned_upload_when_it_does_not_come_then_the_job_fails_an_hour_after_its_url_expired(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced = put(services)

    def fail_after(hours: float) -> int:
        monkeypatch.setattr(recovery, "utc_now", lambda: utc_now() + timedelta(hours=hours))
        return fail_broken_uploads(services.jobs, services.store)

    assert fail_after(2.9) == 0
    assert fail_after(3.1) == 1
    job = services.jobs.get_job(announced.job.job_id)
    assert job.status is JobStatus.FAILED and job.error is not None and job.error.kind == "upload-broken"
    assert services.store.list_keys(object_keys.source_prefix(job.job_id)) == []


def test_complete_when_the_store_is_down_then_the_job_waits_for_the_next_try(services: Services) -> None:
    announced = put(services)
    away = services.settings.model_copy(update={"minio_endpoint": "127.0.0.1:9"})
    tasks = JobService(services.settings, services.jobs, services.queue, ObjectStore(away))
    with pytest.raises(StoreUnavailableError):
        tasks.complete_task(announced.job.job_id)

    assert services.jobs.get_job(announced.job.job_id).status is JobStatus.PENDING
    assert services.tasks.complete_task(announced.job.job_id).status is JobStatus.QUEUED


def test_submit_task_when_the_store_breaks_off_midway_then_all_of_it_is_sent_again_and_hashed_once(
    services: Services,
) -> None:
    recording = wav() + random.Random(1).randbytes(PART_SIZE) + b"the middle" + random.Random(2).randbytes(PART_SIZE)
    with Wire(services.settings.minio_endpoint) as wire:
        store = ObjectStore(services.settings.model_copy(update={"minio_endpoint": wire.address}))
        tasks = JobService(services.settings, services.jobs, services.queue, store)
        wire.cut_before(b"the middle")
        submission = tasks.submit_task(io.BytesIO(recording), filename="talk.wav", size_bytes=len(recording))
        store.close()

    source = services.jobs.get_job(submission.job.job_id).source
    assert wire.cuts == 1
    assert source is not None and source.sha256 == hashlib.sha256(recording).hexdigest()
    assert services.store.get_bytes(source.key) == recording


def test_sweep_when_something_beside_the_recording_is_left_then_it_is_removed(services: Services) -> None:
    waiting, done = put(services), put(services)
    services.tasks.complete_task(done.job.job_id)
    httpx.put(done.upload.url, content=b"late").raise_for_status()
    services.store.put_bytes(object_keys.taken_over(done.job.job_id, "crashed", "wav"), b"RIFF")  # left by one who died
    sweep(services)

    assert services.store.list_keys("uploads/") == sorted(
        [object_keys.incoming(waiting.job.job_id), source_key(services, done.job.job_id)]
    )


def test_presigned_url_when_clients_reach_the_store_elsewhere_then_leads_there(settings: Settings) -> None:
    public = settings.model_copy(update={"minio_public_endpoint": "https://files.example.org"})
    url = ObjectStore(public).presign_put("uploads/x/incoming", 60)

    assert url.startswith(f"https://files.example.org/{settings.minio_bucket}/uploads/x/incoming?")


def test_create_task_when_the_model_cannot_translate_then_refused(services: Services) -> None:
    with pytest.raises(TranslationUnsupportedError):
        services.tasks.create_task(io.BytesIO(wav()), filename="a.wav", size_bytes=len(wav()), translate=True)
    assert services.jobs.list_jobs().jobs == []
