from __future__ import annotations

import errno
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from stt_cli.local_stack.home import free_port
from stt_core import object_keys
from stt_core.errors import (
    DatabaseUnavailableError,
    EmptyFileError,
    FileTooLargeError,
    InvalidInputError,
    JobFailedError,
    JobNotFoundError,
    ModelNotFoundError,
    ObjectNotFoundError,
    QueueFullError,
    QueueUnavailableError,
    ResultNotReadyError,
    StoreRefusedError,
    StoreUnavailableError,
    UnknownLanguageError,
    UnreadableAudioError,
    UnsupportedFormatError,
)
from stt_core.jobs.claims import describe_error, ensure_claim
from stt_core.jobs.job import JobResult, JobStage, JobStatus, JobView, Priority
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.recovery import cancel_job, restore_queue
from stt_core.services import Services
from stt_core.stores.object_store import ObjectStore
from stt_core.tasks.service import JobService
from stt_core.transcript.document import Segment, Transcript, TranscriptStatistics
from tests.core.wire import Wire

RECORDING = Path(__file__).parents[2] / "data" / "audio" / "sample-01.mp3"


def _upload(tasks: JobService, data: bytes | None = None, **options: object) -> JobView:
    data = RECORDING.read_bytes() if data is None else data
    return tasks.create_task(
        io.BytesIO(data),
        **{"filename": "talk.mp3", "size_bytes": len(data), **options},  # type: ignore[arg-type]
    )


def _is_clean(services: Services) -> bool:
    """Whether there is no job, no object and no queue entry."""
    return not (services.jobs.list_jobs().jobs or services.store.list_keys("") or services.queue.members())


# Creating


def test_create_task_when_all_is_well_stores_the_job_its_bytes_and_its_entry(services: Services) -> None:
    view = _upload(services.tasks, priority=Priority.HIGH)

    job = services.jobs.get_job(view.job_id)
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
    assert services.jobs.get_job(_upload(services.tasks, language=" English ").job_id).options.language == "en"


def test_create_task_when_the_model_is_a_path_of_the_settings_keeps_what_resolves_again(
    services: Services, tmp_path: Path
) -> None:
    bundled = Path("stt_core/whisper/data/ggml-demo.en-q5_1.bin")
    path = tmp_path / "my own.bin"
    path.write_bytes((Path(__file__).parents[3] / bundled).read_bytes())
    settings = services.settings.model_copy(update={"whisper_model": str(path)})
    tasks = JobService(settings, services.jobs, services.queue, services.store)

    assert services.jobs.get_job(_upload(tasks).job_id).options.model == str(path)
    with pytest.raises(ModelNotFoundError):
        _upload(services.tasks, model=str(path))  # a client cannot name files of the server


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
    view = _upload(services.tasks, filename=filename)

    assert view.filename == shown
    assert services.store.list_keys("") == [object_keys.source(view.job_id, "mp3")]


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
        _upload(services.tasks, data, **options)

    assert _is_clean(services)


def test_create_task_when_the_queue_is_full_refuses_it_and_leaves_nothing(
    services: Services,
) -> None:
    settings = services.settings.model_copy(update={"queue_max_size": 1})
    full = JobQueue(settings)
    tasks = JobService(settings, services.jobs, full, services.store)
    _upload(tasks)

    with pytest.raises(QueueFullError):
        _upload(tasks)
    with pytest.raises(QueueFullError):
        tasks.ensure_acceptable(10)

    assert len(services.jobs.list_jobs().jobs) == 1
    full.close()


def test_create_task_when_redis_is_down_refuses_it_and_leaves_nothing(
    services: Services,
) -> None:
    settings = services.settings.model_copy(update={"redis_port": free_port()})
    tasks = JobService(settings, services.jobs, JobQueue(settings), services.store)

    with pytest.raises(QueueUnavailableError):
        _upload(tasks)

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
        tasks = JobService(settings, services.jobs, queue, services.store)

        view = tasks.create_task(_Recording(wire.close), filename="talk.mp3", size_bytes=RECORDING.stat().st_size)

    assert (view.status, view.queue_position) == (JobStatus.QUEUED, None)
    assert restore_queue(services.jobs, services.queue) == 1
    assert services.queue.members() == {f"{view.job_id}:1"}


def test_create_task_when_the_upload_breaks_takes_back_the_job(services: Services) -> None:
    def broken() -> None:
        raise OSError(errno.EIO, "the disk broke")

    with pytest.raises(StoreRefusedError, match="the disk broke"):
        services.tasks.create_task(
            cast("BinaryIO", _Recording(broken)), filename="talk.mp3", size_bytes=RECORDING.stat().st_size
        )

    assert _is_clean(services)


def test_create_task_when_the_job_is_cancelled_meanwhile_says_so_and_removes_the_bytes(services: Services) -> None:
    def cancel() -> None:
        services.tasks.cancel_task(services.jobs.list_jobs().jobs[0].job_id)

    with pytest.raises(JobFailedError, match="was cancelled"):
        services.tasks.create_task(_Recording(cancel), filename="talk.mp3", size_bytes=RECORDING.stat().st_size)

    (job,) = services.jobs.list_jobs().jobs
    assert (job.status, services.store.list_keys(""), services.queue.members()) == (JobStatus.CANCELLED, [], set())


def test_create_task_when_the_store_is_down_leaves_a_job_that_failed_and_says_why(
    services: Services,
) -> None:
    settings = services.settings.model_copy(update={"minio_endpoint": f"127.0.0.1:{free_port()}"})
    tasks = JobService(settings, services.jobs, services.queue, ObjectStore(settings))

    with pytest.raises(StoreUnavailableError):
        _upload(tasks)

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
            _upload(cut_off.tasks)
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

        view = _upload(wired.tasks)
        wired.close()

    assert wire.cuts == 1
    assert [job.job_id for job in services.jobs.list_jobs().jobs] == [view.job_id]
    assert services.queue.members() == {f"{view.job_id}:1"}


# Looking


def test_get_task_status_when_a_run_has_it_shows_its_stage_and_its_run(services: Services) -> None:
    job_id = _upload(services.tasks).job_id
    ensure_claim(services.jobs, job_id, "run-1", attempt=1).enter_stage(JobStage.TRANSCRIBING)

    view = services.tasks.get_task_status(job_id)

    assert (view.status, view.stage, view.attempt) == (JobStatus.PROCESSING, JobStage.TRANSCRIBING, 1)
    assert (view.run_url or "").endswith("/runs/run-1")
    assert view.queue_position is None


def test_get_task_status_when_there_is_no_such_job_says_so(services: Services) -> None:
    with pytest.raises(JobNotFoundError):
        services.tasks.get_task_status("nobody")
    with pytest.raises(JobNotFoundError):
        services.tasks.get_task_result("nobody")


def test_get_task_result_when_the_job_is_not_over_tells_how_far_it_is(services: Services) -> None:
    job_id = _upload(services.tasks).job_id

    with pytest.raises(ResultNotReadyError, match="queued") as caught:
        services.tasks.get_task_result(job_id)

    assert caught.value.details["job_status"] == "queued"
    assert caught.value.details["progress"]["chunks_total"] == 0


def test_get_task_result_when_the_job_failed_says_why(services: Services) -> None:
    job_id = _upload(services.tasks).job_id
    claim = ensure_claim(services.jobs, job_id, "run-1", attempt=1)
    claim.fail(describe_error(UnreadableAudioError("It is damaged.", mend="Send it again.")))

    with pytest.raises(JobFailedError, match="It is damaged") as caught:
        services.tasks.get_task_result(job_id)

    assert (caught.value.mend, caught.value.details["kind"]) == ("Send it again.", "unreadable-audio")


def test_get_task_result_when_the_job_was_cancelled_says_so(services: Services) -> None:
    job_id = _upload(services.tasks).job_id
    cancel_job(services.jobs, job_id)

    with pytest.raises(JobFailedError, match="was cancelled"):
        services.tasks.get_task_result(job_id)


def test_get_task_result_when_the_job_completed_gives_the_transcript_it_names(services: Services) -> None:
    job_id = _upload(services.tasks).job_id
    claim = ensure_claim(services.jobs, job_id, "run-1", attempt=1)
    prefix = object_keys.result_prefix(job_id, 1)
    result = JobResult(
        prefix=prefix, formats=["json"], language="en", duration_seconds=2, words=1, segments=1, text_preview="hello"
    )
    transcript = Transcript(
        job_id=job_id,
        text="hello",
        language="en",
        model="demo",
        duration_seconds=2,
        segments=[Segment.model_validate({"index": 0, "start": 0, "end": 1, "text": "hello"})],
        statistics=TranscriptStatistics(words=1, speech_seconds=1, chunks=1),
    )
    claim.complete(result)

    with pytest.raises(ObjectNotFoundError):
        services.tasks.get_task_result(job_id)
    services.store.put_bytes(object_keys.transcript(prefix, "json"), transcript.model_dump_json().encode())
    assert services.tasks.get_task_result(job_id) == transcript
