"""Which version of an object's transcript is the current one, and what lies beside the bucket then."""

from __future__ import annotations

import pytest

from stt_core import object_keys
from stt_core.backfill.exporting import release_transcript
from stt_core.backfill.objects import BucketObjects
from stt_core.backfill.opening import open_object
from stt_core.backfill.partitions import partition_key
from stt_core.jobs.claims import ensure_claim
from stt_core.jobs.job import JobModel, JobResult
from stt_core.services import Services
from stt_core.stores.object_store import ObjectStore
from stt_core.transcript.formats import FORMATS
from tests.core.backfill.conftest import OpenCore

KEY = "2026/a b's.ogg"


@pytest.fixture
def services(open_core: OpenCore, bucket: ObjectStore) -> Services:
    bucket.put_bytes(KEY, b"one")
    return open_core({"prefix": "2026/", "model": "demo", "output": f"{bucket.bucket}-texts/out"})


@pytest.fixture
def output(services: Services, bucket: ObjectStore) -> ObjectStore:
    output = bucket.in_bucket(f"{bucket.bucket}-texts")
    output.ensure_bucket()
    return output


def complete(services: Services, bucket: ObjectStore, text: str, *, model: str | None = None) -> JobModel:
    """Transcribe the object as a run does, but for the engine."""
    job = open_object(services, partition_key(bucket.bucket, KEY), f"run of {text}", model=model)
    claim = ensure_claim(services.jobs, job.job_id, f"run of {text}", attempt=None)
    prefix = object_keys.result_prefix(job.job_id, claim.attempt)
    for extension in ("json", "txt"):
        services.store.put_bytes(object_keys.transcript(prefix, extension), text.encode())
    return claim.complete(
        JobResult(
            prefix=prefix,
            formats=["json", "txt"],
            language="en",
            duration_seconds=1,
            words=1,
            segments=1,
            text_preview=text,
        )
    )


def exported(output: ObjectStore) -> str:
    [key] = [key for key in output.list_keys("out/") if key.endswith(".txt")]
    return output.get_bytes(key).decode()


def test_release_transcript_when_it_is_the_first_exports_every_format_and_leaves_the_bucket_as_it_was(
    services: Services, bucket: ObjectStore, output: ObjectStore
) -> None:
    job = complete(services, bucket, "first")
    assert job.release_due
    for _ in range(2):
        assert release_transcript(services, job)
    assert output.list_keys("") == [f"out/{bucket.bucket}/{KEY}.{extension}" for extension in ("json", "txt")]
    assert bucket.list_keys("") == [KEY]
    item = BucketObjects.of(services).get(job.partition or "")
    assert (item.current_job_id, item.current_etag) == (job.job_id, item.etag)


def test_release_transcript_when_another_model_has_one_keeps_that_until_it_is_promoted(
    services: Services, bucket: ObjectStore, output: ObjectStore
) -> None:
    assert release_transcript(services, complete(services, bucket, "first"))
    assert not release_transcript(services, complete(services, bucket, "other", model="other"))
    assert exported(output) == "first"


def test_release_transcript_when_the_same_model_heard_again_takes_the_later(
    services: Services, bucket: ObjectStore, output: ObjectStore
) -> None:
    first, second = (complete(services, bucket, text) for text in ("first", "second"))
    assert release_transcript(services, second)
    assert not release_transcript(services, first)
    assert exported(output) == "second"


def test_release_transcript_when_the_bytes_changed_takes_any_model_of_the_new_and_none_of_the_old(
    services: Services, bucket: ObjectStore, output: ObjectStore
) -> None:
    assert release_transcript(services, complete(services, bucket, "old"))
    late = complete(services, bucket, "late")
    bucket.put_bytes(KEY, b"changed")
    assert release_transcript(services, complete(services, bucket, "new", model="other"))
    assert not release_transcript(services, late)
    assert exported(output) == "new"


def test_release_transcript_when_the_object_is_forgotten_changes_nothing(
    services: Services, bucket: ObjectStore, output: ObjectStore
) -> None:
    job = complete(services, bucket, "first")
    BucketObjects.of(services).remove_many([job.partition or ""])
    assert not release_transcript(services, job)
    assert output.list_keys("") == []


@pytest.mark.parametrize("key", ["d/" + "ü" * 124 + ".ogg", "/".join(["a" * 100] * 10) + ".ogg"])
def test_exported_when_a_name_leaves_no_room_for_an_ending_is_its_hash_in_every_format(
    output: ObjectStore, key: str
) -> None:
    places = [object_keys.exported("out/", "calls", key, extension) for extension in FORMATS]
    for place in places:
        output.put_bytes(place, b"text")
    assert output.list_keys("out/calls/long-names/") == sorted(places)
    assert object_keys.exported("out/", "calls", f"another{key}", "json") not in places
    assert (
        object_keys.exported("out/", "calls", "d/" + "ü" * 123 + ".ogg", "json")
        == "out/calls/d/" + "ü" * 123 + ".ogg.json"
    )
