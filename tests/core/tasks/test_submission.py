"""The way of a recording into the system, whichever it takes: nothing is lost, and what is refused leaves nothing."""

from __future__ import annotations

import errno
import hashlib
import io
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, cast

import httpx
import pytest

from stt_cli.local_stack.home import free_port
from stt_core import object_keys
from stt_core.errors import (
    DatabaseUnavailableError,
    EmptyFileError,
    FileTooLargeError,
    InvalidInputError,
    JobFailedError,
    ModelNotFoundError,
    QueueFullError,
    QueueUnavailableError,
    StoreRefusedError,
    StoreUnavailableError,
    TranslationUnsupportedError,
    UnknownLanguageError,
    UnsupportedFormatError,
)
from stt_core.jobs import recovery
from stt_core.jobs.job import JobModel, JobStatus, Priority
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.recovery import fail_broken_uploads, restore_queue
from stt_core.metrics import Tally
from stt_core.retention import sweep
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.stores.documents import utc_now
from stt_core.stores.object_store import PART_SIZE, ObjectStore
from stt_core.tasks.service import JobService
from stt_core.tasks.submission import Submissions
from tests.api.conftest import wav
from tests.core.tasks.conftest import RECORDING, upload
from tests.core.wire import Wire


def _is_clean(services: Services) -> bool:
    """Whether there is no job, no object and no queue entry."""
    return not (services.jobs.list_jobs().jobs or services.store.list_keys("") or services.queue.members())


def test_create_task_when_all_is_well_stores_the_job_its_bytes_and_its_entry(services: Services) -> None:
    accepted = upload(services.submissions, priority=Priority.HIGH)

    job = services.jobs.get_job(accepted.job_id)
    view = services.tasks.view(accepted)
    assert (job.status, job.attempt, job.priority) == (JobStatus.QUEUED, 1, Priority.HIGH)
    assert (job.options.model, job.options.language) == ("demo", "en")
    assert job.source is not None
    assert job.source.key == object_keys.source(job.job_id, "mp3")
    assert job.source.sha256 == hashlib.sha256(RECORDING.read_bytes()).hexdigest()
    assert job.source.size_bytes == RECORDING.stat().st_size
    assert services.store.get_bytes(job.source.key) == RECORDING.read_bytes()
    assert services.queue.members() == {f"{job.job_id}:1"}
    assert (view.status, view.queue_position, view.model) == (JobStatus.QUEUED, 1, "demo")


def test_create_task_when_the_language_is_given_by_name_keeps_its_code(services: Services) -> None:
    assert services.jobs.get_job(upload(services.submissions, language=" English ").job_id).options.language == "en"


def test_create_task_when_the_model_is_a_path_of_the_settings_keeps_what_resolves_again(
    services: Services, tmp_path: Path
) -> None:
    bundled = Path("stt_core/whisper/data/ggml-demo.en-q5_1.bin")
    path = tmp_path / "my own.bin"
    path.write_bytes((Path(__file__).parents[3] / bundled).read_bytes())
    settings = services.settings.model_copy(update={"whisper_model": str(path)})
    submissions = Submissions(settings, services.jobs, services.queue, services.store)

    assert services.jobs.get_job(upload(submissions).job_id).options.model == str(path)
    with pytest.raises(ModelNotFoundError):
        upload(services.submissions, model=str(path))  # a client cannot name files of the server


@pytest.mark.parametrize(
    ("filename", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Gespräch 日本.mp3", "Gespräch 日本.mp3"),
        ("a\x00b\r\nc\u202e.mp3", "abc.mp3"),
        ("broken\udc80.mp3", "broken.mp3"),
        ("x" * 300, "x" * 255),
    ],
)
def test_create_task_when_the_file_name_is_odd_shows_a_fit_one_and_never_uses_it(
    services: Services, filename: str, shown: str
) -> None:
    job = upload(services.submissions, filename=filename)

    assert job.filename == shown
    assert services.store.list_keys("") == [object_keys.source(job.job_id, "mp3")]


@pytest.mark.parametrize(
    ("data", "options", "error"),
    [
        (b"", {}, EmptyFileError),
        (b"just some text, renamed", {}, UnsupportedFormatError),
        (None, {"model": "no-such"}, ModelNotFoundError),
        (None, {"model": "../../etc/passwd"}, ModelNotFoundError),
        (None, {"language": "klingon"}, UnknownLanguageError),
        (None, {"language": "de"}, UnknownLanguageError),  # the demo model speaks English only
        (None, {"filename": ""}, InvalidInputError),
        (None, {"filename": "folder/"}, InvalidInputError),
        (None, {"size_bytes": 3 * 1024**3}, FileTooLargeError),
    ],
)
def test_create_task_when_something_is_wrong_refuses_it_and_leaves_nothing(
    services: Services, data: bytes | None, options: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        upload(services.submissions, data, **options)

    assert _is_clean(services)


def test_create_task_when_the_queue_is_full_refuses_it_and_leaves_nothing(
    services: Services,
) -> None:
    settings = services.settings.model_copy(update={"queue_max_size": 1})
    full = JobQueue(settings)
    submissions = Submissions(settings, services.jobs, full, services.store)
    upload(submissions)

    with pytest.raises(QueueFullError):
        upload(submissions)
    with pytest.raises(QueueFullError):
        submissions.ensure_acceptable(10)

    assert len(services.jobs.list_jobs().jobs) == 1
    full.close()


def test_create_task_when_redis_is_down_refuses_it_and_leaves_nothing(
    services: Services,
) -> None:
    settings = services.settings.model_copy(update={"redis_port": free_port()})
    submissions = Submissions(settings, services.jobs, JobQueue(settings), services.store)

    with pytest.raises(QueueUnavailableError):
        upload(submissions)

    assert _is_clean(services)


class _Recording(io.BytesIO):
    """The recording, with something that happens when its last bytes are read."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__(RECORDING.read_bytes())
        self._happens = happens

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        if self.tell() == len(self.getbuffer()):
            self._happens()
        return block


def test_create_task_when_redis_dies_during_the_upload_keeps_the_job_waiting(
    services: Services,
) -> None:
    with Wire(f"{services.settings.redis_host}:{services.settings.redis_port}") as wire:
        host, port = wire.address.split(":")
        settings = services.settings.model_copy(update={"redis_host": host, "redis_port": int(port)})
        queue = JobQueue(settings)
        submissions = Submissions(settings, services.jobs, queue, services.store)

        job = submissions.create_task(
            _Recording(wire.close), filename="talk.mp3", size_bytes=RECORDING.stat().st_size
        ).job
        view = JobService(settings, services.jobs, queue, services.store).view(job)

    assert (view.status, view.queue_position) == (JobStatus.QUEUED, None)
    assert restore_queue(services.jobs, services.queue) == 1
    assert services.queue.members() == {f"{job.job_id}:1"}


def test_create_task_when_the_upload_breaks_takes_back_the_job(services: Services) -> None:
    def broken() -> None:
        raise OSError(errno.EIO, "the disk broke")

    with pytest.raises(StoreRefusedError, match="the disk broke"):
        services.submissions.create_task(
            cast("BinaryIO", _Recording(broken)), filename="talk.mp3", size_bytes=RECORDING.stat().st_size
        )

    assert _is_clean(services)


def test_create_task_when_the_job_is_cancelled_meanwhile_says_so_and_removes_the_bytes(services: Services) -> None:
    def cancel() -> None:
        services.tasks.cancel_task(services.jobs.list_jobs().jobs[0].job_id)

    with pytest.raises(JobFailedError, match="was cancelled"):
        services.submissions.create_task(_Recording(cancel), filename="talk.mp3", size_bytes=RECORDING.stat().st_size)

    (job,) = services.jobs.list_jobs().jobs
    assert (job.status, services.store.list_keys(""), services.queue.members()) == (JobStatus.CANCELLED, [], set())


def test_create_task_when_the_store_is_down_leaves_a_job_that_failed_and_says_why(
    services: Services,
) -> None:
    settings = services.settings.model_copy(update={"minio_endpoint": f"127.0.0.1:{free_port()}"})
    submissions = Submissions(settings, services.jobs, services.queue, ObjectStore(settings))

    with pytest.raises(StoreUnavailableError):
        upload(submissions)

    # Whether something was stored is not known, so the job stays as its name.
    (job,) = services.jobs.list_jobs().jobs
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.kind == "store-unavailable"
    assert services.queue.members() == set()


def test_create_task_when_mongodb_dies_during_the_upload_takes_back_the_object(
    services: Services,
) -> None:
    with Wire(services.settings.mongodb_url.removeprefix("mongodb://")) as wire:
        address = {"mongodb_url": f"mongodb://{wire.address}", "mongodb_timeout_seconds": 0.3}
        cut_off = Services.open(services.settings.model_copy(update=address))
        wire.die_at(b"update\x00")

        with pytest.raises(DatabaseUnavailableError):
            upload(cut_off.submissions)
        cut_off.close()

    assert services.store.list_keys("") == []
    assert services.queue.members() == set()
    (job,) = services.jobs.list_jobs().jobs  # nobody could reach it any more
    assert (job.status, job.source) == (JobStatus.PENDING, None)


def test_create_task_when_an_answer_of_mongodb_is_lost_creates_one_job(
    services: Services,
) -> None:
    with Wire(services.settings.mongodb_url.removeprefix("mongodb://")) as wire:
        wired = Services.open(services.settings.model_copy(update={"mongodb_url": f"mongodb://{wire.address}"}))
        wire.cut_after(b"update\x00")

        job = upload(wired.submissions)
        wired.close()

    assert wire.cuts == 1
    assert [job.job_id for job in services.jobs.list_jobs().jobs] == [job.job_id]
    assert services.queue.members() == {f"{job.job_id}:1"}


def put(services: Services) -> tuple[JobModel, str]:
    """Announce a recording and put it; returns its job and the URL."""
    announced, url = services.submissions.presign(filename="talk.wav")
    httpx.put(url, content=wav()).raise_for_status()
    return announced.job, url


def source_key(services: Services, job_id: str) -> str:
    source = services.jobs.get_job(job_id).source
    assert source is not None
    return source.key


def test_complete_when_another_process_does_so_too_then_the_first_one_s_copy_is_the_recording(
    services: Services,
) -> None:
    as_seen, url = put(services)
    first = services.submissions.complete(as_seen)
    httpx.put(url, content=wav(0.5)).raise_for_status()  # what the other one finds
    other = Submissions(services.settings, services.jobs, services.queue, services.store)
    accepted = other.complete(as_seen)

    assert accepted.source == services.jobs.get_job(first.job_id).source
    assert services.store.get_bytes(source_key(services, first.job_id)) == wav()
    assert services.store.list_keys(object_keys.source_prefix(first.job_id)) == [source_key(services, first.job_id)]
    counts, *_ = services.tallies.read()
    assert (counts[Tally.UPLOADS], counts[Tally.UPLOAD_BYTES]) == (1, len(wav()))


def test_presigned_upload_when_it_does_not_come_then_the_job_fails_an_hour_after_its_url_expired(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced, _ = put(services)

    def fail_after(hours: float) -> int:
        monkeypatch.setattr(recovery, "utc_now", lambda: utc_now() + timedelta(hours=hours))
        return fail_broken_uploads(services.jobs, services.store)

    assert fail_after(2.9) == 0
    assert fail_after(3.1) == 1
    job = services.jobs.get_job(announced.job_id)
    assert job.status is JobStatus.FAILED and job.error is not None and job.error.kind == "upload-broken"
    assert services.store.list_keys(object_keys.source_prefix(job.job_id)) == []


def test_complete_when_the_store_is_down_then_the_job_waits_for_the_next_try(services: Services) -> None:
    announced, _ = put(services)
    away = services.settings.model_copy(update={"minio_endpoint": "127.0.0.1:9"})
    submissions = Submissions(services.settings, services.jobs, services.queue, ObjectStore(away))
    with pytest.raises(StoreUnavailableError):
        submissions.complete(announced)

    assert services.jobs.get_job(announced.job_id).status is JobStatus.PENDING
    assert services.submissions.complete(announced).status is JobStatus.QUEUED


def test_create_task_when_the_store_breaks_off_midway_then_all_of_it_is_sent_again_and_hashed_once(
    services: Services,
) -> None:
    recording = wav() + random.Random(1).randbytes(PART_SIZE) + b"the middle" + random.Random(2).randbytes(PART_SIZE)
    with Wire(services.settings.minio_endpoint) as wire:
        store = ObjectStore(services.settings.model_copy(update={"minio_endpoint": wire.address}))
        submissions = Submissions(services.settings, services.jobs, services.queue, store)
        wire.cut_before(b"the middle")
        job = upload(submissions, recording)
        store.close()

    source = services.jobs.get_job(job.job_id).source
    assert wire.cuts == 1
    assert source is not None and source.sha256 == hashlib.sha256(recording).hexdigest()
    assert services.store.get_bytes(source.key) == recording


def test_sweep_when_something_beside_the_recording_is_left_then_it_is_removed(services: Services) -> None:
    (waiting, _), (done, url) = put(services), put(services)
    services.submissions.complete(done)
    httpx.put(url, content=b"late").raise_for_status()
    services.store.put_bytes(object_keys.taken_over(done.job_id, "crashed", "wav"), b"RIFF")  # left by one who died
    sweep(services)

    assert services.store.list_keys("uploads/") == sorted(
        [object_keys.incoming(waiting.job_id), source_key(services, done.job_id)]
    )


def test_presigned_url_when_clients_reach_the_store_elsewhere_then_leads_there(settings: Settings) -> None:
    public = settings.model_copy(update={"minio_public_endpoint": "https://files.example.org"})
    url = ObjectStore(public).presign_put("uploads/x/incoming", 60)

    assert url.startswith(f"https://files.example.org/{settings.minio_bucket}/uploads/x/incoming?")


def test_create_task_when_the_model_cannot_translate_then_refused(services: Services) -> None:
    with pytest.raises(TranslationUnsupportedError):
        upload(services.submissions, translate=True)
    assert services.jobs.list_jobs().jobs == []
