"""What MongoDB knows of the objects: compare-and-set, ranges in the order of S3, states and their pages."""

from __future__ import annotations

from threading import Thread

import pytest

from stt_core.backfill.objects import BucketObject, BucketObjects, ObjectState, ObjectUpdate
from stt_core.backfill.partitions import partition_key
from stt_core.errors import ConflictError, PartitionNotFoundError
from stt_core.jobs.job import JobCreate, JobModel, JobStatus, Lane, Source
from stt_core.options import JobOptions
from stt_core.services import Services
from stt_core.stores.documents import utc_now
from tests.core.backfill.conftest import OpenCore


def make_object(key: str, **fields: object) -> BucketObject:
    return BucketObject.model_validate(
        {"partition": partition_key("calls", key), "bucket": "calls", "key": key, "etag": "e1", "size_bytes": 1}
        | {"last_modified": utc_now(), "source": "calls/"}
        | fields
    )


def make_job(status: JobStatus, **fields: object) -> JobModel:
    return JobModel.model_validate(
        {"filename": "a.wav", "options": JobOptions(model="demo"), "status": status} | fields
    )


@pytest.fixture
def services(open_core: OpenCore) -> Services:
    return open_core()


CURRENT = {"current_job_id": "1" * 32, "current_etag": "e1"}
OUTDATED = {"current_job_id": "1" * 32, "current_etag": "e0"}


@pytest.mark.parametrize(
    ("fields", "latest", "state"),
    [
        ({}, None, ObjectState.MISSING),
        ({}, JobStatus.QUEUED, ObjectState.RUNNING),
        ({}, JobStatus.PROCESSING, ObjectState.RUNNING),
        ({}, JobStatus.FAILED, ObjectState.FAILED),
        ({}, JobStatus.CANCELLED, ObjectState.FAILED),
        (CURRENT, None, ObjectState.DONE),
        (CURRENT, JobStatus.COMPLETED, ObjectState.DONE),
        (CURRENT, JobStatus.FAILED, ObjectState.DONE),
        (CURRENT, JobStatus.PROCESSING, ObjectState.RUNNING),
        (OUTDATED, None, ObjectState.STALE),
        (OUTDATED, JobStatus.COMPLETED, ObjectState.STALE),
        (OUTDATED, JobStatus.FAILED, ObjectState.FAILED),
    ],
)
def test_state_when_asked_then_the_latest_job_and_the_current_version_decide(
    fields: dict[str, str], latest: JobStatus | None, state: ObjectState
) -> None:
    assert make_object("a.wav", **fields).state(make_job(latest) if latest else None) is state


@pytest.mark.parametrize(("fields", "state"), [({}, ObjectState.MISSING), (OUTDATED, ObjectState.STALE)])
def test_state_when_the_bytes_that_failed_are_gone_then_those_of_now_have_not_failed(
    fields: dict[str, str], state: ObjectState
) -> None:
    recording = {"filename": "a", "key": "a", "format": "wav", "content_type": "audio/wav", "size_bytes": 1}
    source = Source.model_validate(recording | {"bucket": "calls", "etag": "e0"})

    assert make_object("a.wav", **fields).state(make_job(JobStatus.FAILED, source=source)) is state
    same = source.model_copy(update={"etag": "e1"})
    assert make_object("a.wav", **fields).state(make_job(JobStatus.FAILED, source=same)) is ObjectState.FAILED


def test_add_many_when_some_are_known_then_these_stay_as_they_are(services: Services) -> None:
    assert BucketObjects.of(services).add_many([make_object("a.wav"), make_object("b.wav")]) == 2
    BucketObjects.of(services).change("calls/a.wav", lambda _: ObjectUpdate(latest_job_id="1" * 32))

    assert BucketObjects.of(services).add_many([make_object("a.wav"), make_object("c.wav"), make_object("b.wav")]) == 1
    assert BucketObjects.of(services).add_many([]) == 0

    assert BucketObjects.of(services).get("calls/a.wav").latest_job_id == "1" * 32
    assert [item.key for item in BucketObjects.of(services).find_range("calls")] == ["a.wav", "b.wav", "c.wav"]


def test_get_when_nothing_is_known_then_the_partition_is_named(services: Services) -> None:
    with pytest.raises(PartitionNotFoundError, match=r"calls/a\.wav"):
        BucketObjects.of(services).get("calls/a.wav")


def test_update_when_it_was_changed_since_then_it_loses(services: Services) -> None:
    BucketObjects.of(services).add_many([make_object("a.wav")])
    read = BucketObjects.of(services).get("calls/a.wav")
    BucketObjects.of(services).update(read, ObjectUpdate(etag="e2"))

    with pytest.raises(ConflictError):
        BucketObjects.of(services).update(read, ObjectUpdate(etag="e3"))

    assert BucketObjects.of(services).get("calls/a.wav").etag == "e2"
    BucketObjects.of(services).remove_many(["calls/a.wav"])
    with pytest.raises(PartitionNotFoundError):
        BucketObjects.of(services).update(read, ObjectUpdate(etag="e3"))


def test_change_when_several_change_at_once_then_no_write_is_lost(services: Services) -> None:
    BucketObjects.of(services).add_many([make_object("a.wav", size_bytes=0)])

    def count() -> None:
        for _ in range(5):
            BucketObjects.of(services).change("calls/a.wav", lambda item: ObjectUpdate(size_bytes=item.size_bytes + 1))

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    stored = BucketObjects.of(services).get("calls/a.wav")
    assert (stored.size_bytes, stored.version) == (20, 20)
    assert BucketObjects.of(services).change("calls/a.wav", lambda _: None).version == 20


def test_find_range_when_limited_then_it_goes_on_after_the_last_in_the_order_of_bytes(services: Services) -> None:
    keys = ["A.wav", "a b.wav", "a-b.wav", "a.wav", "a/1.wav", "a/2.wav", "b.wav", "ü.wav", "\uffee.wav", "😀.wav"]
    BucketObjects.of(services).add_many(make_object(key) for key in reversed(keys))
    BucketObjects.of(services).add_many([make_object("a/1.wav", partition="talks/a/1.wav", bucket="talks")])

    found: list[str] = []
    while page := BucketObjects.of(services).find_range("calls", after=found[-1] if found else "", limit=3):
        found += [item.key for item in page]

    assert found == keys
    assert [item.key for item in BucketObjects.of(services).find_range("calls", "a/")] == ["a/1.wav", "a/2.wav"]
    inside = BucketObjects.of(services).find_range("calls", after="a b.wav", last="a/1.wav")
    assert [item.key for item in inside] == ["a-b.wav", "a.wav", "a/1.wav"]


def test_list_page_when_filtered_by_state_then_pages_hold_these_alone_and_each_once(services: Services) -> None:
    create = JobCreate(filename="a.wav", options=JobOptions(model="demo"), lane=Lane.BACKFILL)
    running = services.jobs.create_job(create).job_id
    states = {
        **{f"{index:02}.wav": {} for index in range(5)},
        **{f"{index:02}.wav": CURRENT for index in range(5, 8)},
        **{f"{index:02}.wav": OUTDATED for index in range(8, 10)},
        "10.wav": {"latest_job_id": running},
    }
    BucketObjects.of(services).add_many(make_object(key, **fields) for key, fields in states.items())

    def keys_of(state: ObjectState | None, prefix: str = "") -> list[str]:
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page, cursor = BucketObjects.of(services).list_page("calls", prefix, state=state, cursor=cursor, limit=2)
            found += [item.key for item in page]
        return found

    assert keys_of(None) == sorted(states)
    assert keys_of(ObjectState.MISSING) == ["00.wav", "01.wav", "02.wav", "03.wav", "04.wav"]
    assert keys_of(ObjectState.DONE) == ["05.wav", "06.wav", "07.wav"]
    assert keys_of(ObjectState.STALE) == ["08.wav", "09.wav"]
    assert keys_of(ObjectState.RUNNING) == ["10.wav"]
    assert keys_of(ObjectState.FAILED) == []
    assert keys_of(None, "1") == ["10.wav"]
