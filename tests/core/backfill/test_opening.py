"""Which job a run for an object gets: one for the same bytes and options, however many runs ask, and whoever died."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from stt_cli.local_stack.home import free_port
from stt_core.backfill.objects import BucketObjects, ObjectUpdate
from stt_core.backfill.opening import is_short_object, open_object
from stt_core.backfill.partitions import partition_key
from stt_core.errors import ObjectNotFoundError, PartitionNotFoundError, SupersededError
from stt_core.jobs.claims import ensure_claim
from stt_core.jobs.job import JobError, JobModel, JobStatus, JobUpdate, Lane, new_job_id
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.stores.object_store import ObjectStore
from tests.core.backfill.conftest import OpenCore

KEY = "2026/Gespräch 'ü'.ogg"


@pytest.fixture
def services(open_core: OpenCore, bucket: ObjectStore) -> Services:
    bucket.put_bytes(KEY, b"one")
    return open_core({"language": "de", "model": "demo"})


@pytest.fixture
def partition(bucket: ObjectStore) -> str:
    return partition_key(bucket.bucket, KEY)


def end(services: Services, job: JobModel, status: JobStatus) -> None:
    """End a job as a run does."""
    ensure_claim(services.jobs, job.job_id, f"run of {job.job_id}", attempt=None)
    services.jobs.modify_job(job.job_id, lambda _: JobUpdate(status=status))


def test_open_object_when_it_is_new_creates_a_job_of_the_backfill_lane(
    services: Services, bucket: ObjectStore, partition: str
) -> None:
    job = open_object(services, partition, "run")
    assert (job.lane, job.status, job.attempt, job.partition) == (Lane.BACKFILL, JobStatus.QUEUED, 1, partition)
    assert (job.options.language, job.options.model, job.filename) == ("de", "demo", "Gespräch 'ü'.ogg")
    assert job.source is not None
    assert (job.source.bucket, job.source.key, job.source.format) == (bucket.bucket, KEY, "ogg")
    assert job.source.etag == bucket.version(KEY).etag
    assert BucketObjects.of(services).get(partition).latest_job_id == job.job_id
    assert services.jobs.get_pending_members() == []
    assert is_short_object(services, partition)


def test_open_object_when_many_runs_ask_at_once_gives_them_one_job(services: Services, partition: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        jobs = list(threads.map(lambda number: open_object(services, partition, f"run-{number}"), range(6)))
    assert len({job.job_id for job in jobs}) == 1
    assert len(services.jobs.find_versions([partition])) == 1


def test_open_object_when_a_run_died_before_it_inserted_its_job_inserts_that(
    services: Services, partition: str
) -> None:
    first = open_object(services, partition, "run")
    promised = new_job_id()
    BucketObjects.of(services).change(partition, lambda _: ObjectUpdate(latest_job_id=promised))
    services.jobs.delete_job(first.job_id)
    assert open_object(services, partition, "run-2").job_id == promised


def test_open_object_when_another_run_inserts_the_promised_job_in_this_moment_takes_that(
    services: Services, partition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, promised = open_object(services, partition, "run"), new_job_id()
    BucketObjects.of(services).change(partition, lambda _: ObjectUpdate(latest_job_id=promised))
    services.jobs.delete_job(first.job_id)
    read = services.jobs.find_versions

    def read_before_the_other_inserts(partitions: Iterable[str]) -> list[JobModel]:
        monkeypatch.setattr(services.jobs, "find_versions", read)
        seen = read(partitions)
        open_object(services, partition, "other run")
        return seen

    monkeypatch.setattr(services.jobs, "find_versions", read_before_the_other_inserts)
    assert open_object(services, partition, "run-2").job_id == promised
    assert [job.job_id for job in services.jobs.find_versions([partition])] == [promised]


@pytest.mark.parametrize(
    ("status", "same"), [(JobStatus.FAILED, True), (JobStatus.CANCELLED, False), (JobStatus.COMPLETED, False)]
)
def test_open_object_when_the_latest_job_ended_takes_it_again_only_if_it_failed(
    services: Services, partition: str, status: JobStatus, same: bool
) -> None:
    before = open_object(services, partition, "run")
    end(services, before, status)
    again = open_object(services, partition, "run-2")
    assert (again.job_id == before.job_id) is same
    if same:
        assert ensure_claim(services.jobs, again.job_id, "run-2", attempt=None).attempt == 2


def test_open_object_when_its_job_was_deleted_creates_another(services: Services, partition: str) -> None:
    before = open_object(services, partition, "run")
    end(services, before, JobStatus.COMPLETED)
    services.tasks.delete_task(before.job_id)
    assert open_object(services, partition, "run-2").job_id != before.job_id


def test_open_object_when_another_model_is_asked_for_creates_another_version(
    services: Services, partition: str
) -> None:
    first = open_object(services, partition, "run")
    other = open_object(services, partition, "run-2", model="other")
    assert other.job_id != first.job_id and other.options.model == "other"
    assert open_object(services, partition, "run-3").job_id == first.job_id


def test_open_object_when_its_bytes_changed_creates_another_and_cancels_the_one_that_waits(
    services: Services, bucket: ObjectStore, partition: str
) -> None:
    before = open_object(services, partition, "run")
    bucket.put_bytes(KEY, b"another")
    after = open_object(services, partition, "run-2", job_id=before.job_id)
    assert after.job_id != before.job_id
    assert services.jobs.get_job(before.job_id).status is JobStatus.CANCELLED
    assert BucketObjects.of(services).get(partition).etag == bucket.version(KEY).etag


def test_open_object_when_a_run_was_launched_for_a_job_that_ended_meanwhile_leaves_it_at_that(
    services: Services, partition: str
) -> None:
    job = open_object(services, partition, "run")
    end(services, job, JobStatus.COMPLETED)
    assert open_object(services, partition, "run-2", job_id=job.job_id).job_id == job.job_id
    with pytest.raises(SupersededError):
        ensure_claim(services.jobs, job.job_id, "run-2", attempt=1)


def test_open_object_when_its_own_run_asks_again_gives_it_its_job(services: Services, partition: str) -> None:
    job = open_object(services, partition, "run")
    claim = ensure_claim(services.jobs, job.job_id, "run", attempt=None)
    claim.fail(JobError(kind="store-unavailable", message="away", transient=True))
    assert open_object(services, partition, "run").job_id == job.job_id


def test_is_short_object_when_mongodb_is_away_or_the_object_is_long(
    services: Services, partition: str, settings: Settings
) -> None:
    open_object(services, partition, "run")
    BucketObjects.of(services).change(partition, lambda _: ObjectUpdate(size_bytes=2**40))
    assert not is_short_object(services, partition)
    away = Services.open(
        settings.model_copy(
            update={"mongodb_url": f"mongodb://127.0.0.1:{free_port()}", "mongodb_timeout_seconds": 0.2}
        )
    )
    assert is_short_object(away, partition)
    away.close()


def test_open_object_when_it_is_gone_or_nobodys_says_so(
    services: Services, bucket: ObjectStore, partition: str
) -> None:
    bucket.remove(KEY)
    with pytest.raises(ObjectNotFoundError, match="not in its bucket"):
        open_object(services, partition, "run")
    with pytest.raises(PartitionNotFoundError, match="no source"):
        open_object(services, "elsewhere/a.wav", "run")
    assert services.jobs.find_versions([partition]) == []
