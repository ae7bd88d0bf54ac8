"""The discovery sensor on real servers and a Dagster instance: partitions that come, go and become stale."""

from __future__ import annotations

from functools import partial

import pytest
from dagster import DagsterInstance, SkipReason, build_sensor_context
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from stt_core.backfill.discovery import Round, discover_next
from stt_core.backfill.objects import BucketObjects
from stt_core.backfill.partitions import partition_key
from stt_core.errors import StoreUnavailableError
from stt_core.services import Services
from stt_core.sources import BackfillSource
from stt_core.stores.documents import utc_now
from stt_core.stores.object_store import ObjectStore
from tests.conftest import wait_until
from tests.dagster.conftest import DATA, RECORDING, TRANSCRIPTS, Configure, Materialize, raising

#: Legal keys that Dagster's own syntax, JSON, SQL or GraphQL could trip over.
ODD_KEYS = ["a ...b.wav", 'it\'s "q", [ü] | {x}: 50%.wav', "nested/日本/😀.mp3", "tab\tand\nline.wav"]

SHORT = (DATA / "sample-08.ogg").read_bytes()


def tick(instance: DagsterInstance, cursor: str | None = None) -> tuple[str, str]:
    """Evaluate the sensor once it does not rest; returns its message and its cursor."""
    from stt_dagster.backfill_sensors import discovery_sensor

    wait_until(lambda: not Round.model_validate_json(cursor or "{}").rests, "the end of its rest", 60)
    with build_sensor_context(instance=instance, cursor=cursor) as context:
        answer = discovery_sensor(context)
        assert isinstance(answer, SkipReason)
        return answer.skip_message or "", context.cursor or ""


def partitions_of(instance: DagsterInstance) -> list[str]:
    return sorted(instance.get_dynamic_partitions("bucket_objects"))


def staleness(instance: DagsterInstance, partition: str) -> tuple[str, list[str]]:
    """What the page of an asset shows: the partition's state, and the reasons."""
    from stt_dagster.definitions import defs

    graph = defs.get_repository_def().asset_graph
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    causes = resolver.get_stale_root_causes(TRANSCRIPTS, partition)
    reasons = [f"{cause.asset_key.to_user_string()} {cause.reason}" for cause in causes]
    return resolver.get_status(TRANSCRIPTS, partition).value, reasons


def test_sensor_when_objects_come_and_go_then_so_do_their_partitions(
    bucket: ObjectStore, instance: DagsterInstance
) -> None:
    for key in ODD_KEYS:
        bucket.put_bytes(key, b"1")

    message, cursor = tick(instance)

    assert "4 objects listed: 4 new, 0 changed, 0 gone." in message
    assert "The last full round: 4 objects in" in message
    assert partitions_of(instance) == sorted(partition_key(bucket.bucket, key) for key in ODD_KEYS)

    bucket.remove(ODD_KEYS[0])
    bucket.put_bytes("another.wav", b"1")
    message, cursor = tick(instance, cursor)

    assert "1 new, 0 changed, 1 gone." in message
    there = sorted([*ODD_KEYS[1:], "another.wav"])
    assert partitions_of(instance) == sorted(partition_key(bucket.bucket, key) for key in there)
    assert bucket.list_keys("") == there


def test_sensor_when_dagster_lost_its_storage_then_a_round_brings_every_partition_back(
    bucket: ObjectStore, instance: DagsterInstance
) -> None:
    for key in ("a.wav", "b.wav"):
        bucket.put_bytes(key, b"1")
    tick(instance)

    with DagsterInstance.ephemeral() as another:
        message, _ = tick(another)

        assert "0 new" in message
        assert partitions_of(another) == partitions_of(instance) == [f"{bucket.bucket}/a.wav", f"{bucket.bucket}/b.wav"]


def test_sensor_when_it_dies_between_dagster_and_mongodb_then_the_next_tick_finds_the_page_again(
    services: Services, bucket: ObjectStore, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_bytes("a.wav", b"1")
    with monkeypatch.context() as death:  # the fault itself: nothing after this line runs
        death.setattr("stt_dagster.backfill_sensors.record_page", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            tick(instance)
    assert partitions_of(instance) == [f"{bucket.bucket}/a.wav"]
    assert BucketObjects.of(services).find_range(bucket.bucket) == []

    tick(instance)

    assert partitions_of(instance) == [f"{bucket.bucket}/a.wav"]
    assert [item.key for item in BucketObjects.of(services).find_range(bucket.bucket)] == ["a.wav"]


def test_sensor_when_time_is_up_then_the_next_tick_goes_on_where_it_stood(
    bucket: ObjectStore, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_dagster.backfill_sensors.TICK_SECONDS", 0.0)
    monkeypatch.setattr("stt_dagster.backfill_sensors.discover_next", partial(discover_next, limit=2))
    for index in range(5):
        bucket.put_bytes(f"{index}.wav", b"1")

    message, cursor = tick(instance)
    assert "2 objects listed" in message and "The first round is under way." in message
    assert Round.model_validate_json(cursor).after == "1.wav"
    for _ in range(2):
        message, cursor = tick(instance, cursor)

    assert Round.model_validate_json(cursor).is_over
    assert "The last full round: 5 objects in" in message
    assert len(partitions_of(instance)) == 5


def test_sensor_when_a_round_took_long_then_it_rests_before_the_next(
    bucket: ObjectStore, instance: DagsterInstance
) -> None:
    from stt_dagster.backfill_sensors import discovery_sensor

    bucket.put_bytes("a.wav", b"1")
    cursor = Round(last_seconds=3600, last_listed=7, last_ended_at=utc_now()).model_dump_json()

    with build_sensor_context(instance=instance, cursor=cursor) as context:
        answer = discovery_sensor(context)

    assert isinstance(answer, SkipReason)
    assert answer.skip_message == "The last full round: 7 objects in 3600 s. The next begins after a rest as long."
    assert partitions_of(instance) == []


def test_sensor_when_the_store_is_away_then_it_says_so_and_keeps_its_place(
    bucket: ObjectStore, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_bytes("a.wav", b"1")
    _, cursor = tick(instance)
    monkeypatch.setattr(ObjectStore, "list_page", raising(StoreUnavailableError("The object store is not reachable.")))
    message, after = tick(instance, cursor)

    assert message.startswith("The object store is not reachable.")
    assert after == cursor
    assert partitions_of(instance) == [f"{bucket.bucket}/a.wav"]


def test_partition_when_its_object_changes_then_it_is_stale_until_it_is_transcribed_again(
    bucket: ObjectStore, instance: DagsterInstance, materialize: Materialize
) -> None:
    bucket.put_bytes("a ü.ogg", SHORT)
    partition = f"{bucket.bucket}/a ü.ogg"
    _, cursor = tick(instance)
    assert staleness(instance, partition) == ("MISSING", [])
    assert materialize(partition).success
    _, cursor = tick(instance, cursor)
    assert staleness(instance, partition) == ("FRESH", [])

    bucket.put_bytes("a ü.ogg", RECORDING)
    message, cursor = tick(instance, cursor)

    assert "0 new, 1 changed, 0 gone." in message
    assert staleness(instance, partition) == ("STALE", ["bucket_objects has a new data version"])
    bucket.put_bytes("a ü.ogg", SHORT)  # as it was
    _, cursor = tick(instance, cursor)
    assert staleness(instance, partition) == ("FRESH", [])

    bucket.put_bytes("a ü.ogg", RECORDING)
    _, cursor = tick(instance, cursor)
    assert staleness(instance, partition) == ("STALE", ["bucket_objects has a new data version"])
    assert materialize(partition).success
    assert staleness(instance, partition) == ("FRESH", [])
    assert "0 changed" in tick(instance, cursor)[0]
    assert staleness(instance, partition) == ("FRESH", [])


def test_sensor_when_the_bucket_of_a_source_is_not_there_then_its_tick_says_so(
    bucket: ObjectStore, configure: Configure, instance: DagsterInstance
) -> None:
    configure(backfill_sources=(BackfillSource(bucket="no-such-bucket"), BackfillSource(bucket=bucket.bucket)))
    bucket.put_bytes("a.wav", b"1")
    message, _ = tick(instance)
    assert "There is no such bucket" in message and "no-such-bucket" in message and "BACKFILL_SOURCES" in message
    assert "1 new" in message
