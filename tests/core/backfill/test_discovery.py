"""Discovery against a real S3 server and MongoDB: what is new, changed and gone, page by page, for any key."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stt_core.backfill.discovery import Round, discover_next, discover_page, record_page
from stt_core.backfill.objects import BucketObjects, ObjectUpdate
from stt_core.backfill.partitions import partition_key
from stt_core.errors import BucketNotFoundError
from stt_core.stores.documents import utc_now
from stt_core.stores.object_store import ObjectStore
from tests.core.backfill.conftest import OpenCore, discover, known_keys

#: Keys that a server, a listing, MongoDB or Dagster could trip over, in the order of S3.
ODD_KEYS = sorted(
    [
        *(" lead.wav", "%2F.wav", "....wav", "50%.wav", "<&>.wav", "A.WAV", "a-b.wav", "a.wav", "a/b/c.wav", "a/d.wav"),
        *(
            "back\\slash.wav",
            "comma,[x]|y.wav",
            "cr\r.wav",
            "ctl\x01.wav",
            "ctl\x01\x02.wav",
            "dots...x.wav",
            "nl\n.wav",
        ),
        *("p+=?#;:@.wav", "q'uo\"te.wav", "tab\t.wav", "u\u0308.wav", "ü.wav", "日本.mp3", "\uffee.wav", "😀.wav"),
        f"{'x' * 200}/{'y' * 200}.ogg",
    ]
)


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_discovery_when_keys_are_odd_then_every_object_is_known_once_and_by_its_own_name(
    open_core: OpenCore, bucket: ObjectStore, limit: int
) -> None:
    for key in ODD_KEYS:
        bucket.put_bytes(key, key.encode())
    services = open_core({})

    pages = discover(services, limit=limit)

    assert known_keys(services, bucket) == ODD_KEYS
    assert [key for page in pages for key in page.present] == [partition_key(bucket.bucket, key) for key in ODD_KEYS]
    for key in ODD_KEYS:
        assert BucketObjects.of(services).get(partition_key(bucket.bucket, key)).etag == bucket.version(key).etag
    again = discover(services, limit=limit)
    assert not any(page.new or page.changed or page.vanished for page in again)
    assert sum(page.listed for page in again) == len(ODD_KEYS)


def test_discovery_when_objects_change_and_go_then_only_that_is_told(open_core: OpenCore, bucket: ObjectStore) -> None:
    for key in ("a.wav", "b.wav", "c.wav", "d.wav"):
        bucket.put_bytes(key, b"1")
    services = open_core({})
    discover(services)
    bucket.put_bytes("b.wav", b"other bytes")
    bucket.remove("c.wav")
    bucket.put_bytes("e.wav", b"1")

    (page,) = discover(services)

    assert [item.key for item in page.new] == ["e.wav"]
    assert [change.known.key for change in page.changed] == ["b.wav"]
    assert page.vanished == [f"{bucket.bucket}/c.wav"]
    assert known_keys(services, bucket) == ["a.wav", "b.wav", "d.wav", "e.wav"]
    changed = BucketObjects.of(services).get(f"{bucket.bucket}/b.wav")
    assert (changed.etag, changed.size_bytes) == (bucket.version("b.wav").etag, len(b"other bytes"))


def test_discovery_when_a_page_is_not_recorded_then_it_is_found_again(open_core: OpenCore, bucket: ObjectStore) -> None:
    bucket.put_bytes("gone.wav", b"1")
    services = open_core({})
    discover(services)
    bucket.remove("gone.wav")
    bucket.put_bytes("new.wav", b"1")

    lost, _ = discover_next(services, Round())
    (found,) = discover(services)

    assert [item.key for item in lost.new] == [item.key for item in found.new] == ["new.wav"]
    assert lost.vanished == found.vanished == [f"{bucket.bucket}/gone.wav"]


def test_discovery_when_very_many_vanish_then_each_page_takes_its_share_and_none_is_forgotten(
    open_core: OpenCore, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_core.backfill.discovery.PAGE_CHANGES", 3)
    keys = [f"{index:02}.wav" for index in range(20)]
    for key in keys:
        bucket.put_bytes(key, b"1")
    services = open_core({})
    discover(services, limit=6)
    for key in keys[:7] + keys[9:]:
        bucket.remove(key)
    bucket.put_bytes("07.wav", b"2")

    pages = discover(services, limit=6)

    assert max(len(page.changed) + len(page.vanished) for page in pages) == 3
    assert sum(len(page.vanished) for page in pages) == 18
    assert known_keys(services, bucket) == ["07.wav", "08.wav"]
    assert BucketObjects.of(services).get(f"{bucket.bucket}/07.wav").etag == bucket.version("07.wav").etag


def test_discovery_when_there_is_more_than_recordings_then_only_these_are_known(
    open_core: OpenCore, bucket: ObjectStore
) -> None:
    for key in ("2026/a.wav", "2026/b.MP3", "2026/readme.txt", "2026/noname", "2025/c.wav", "2026/drafts/d.wav"):
        bucket.put_bytes(key, b"1")
    bucket.put_bytes(f"2026/texts/{bucket.bucket}/2026/a.wav", b"an output, whatever it is called")
    services = open_core({"prefix": "2026/", "output": f"{bucket.bucket}/2026/texts/"})

    discover(services)

    assert known_keys(services, bucket) == ["2026/a.wav", "2026/b.MP3", "2026/drafts/d.wav"]


def test_discovery_when_there_are_several_sources_then_it_takes_them_in_turn(
    open_core: OpenCore, bucket: ObjectStore
) -> None:
    for key in ("a/1.wav", "a/2.wav", "a/3.wav", "b/1.wav", "c/1.wav"):
        bucket.put_bytes(key, b"1")
    services = open_core({"prefix": "a/"}, {"prefix": "c/"})

    page, current = discover_next(services, Round(), limit=2)
    record_page(services, page)
    assert (current.source, current.after, current.is_over) == (f"{bucket.bucket}/a/", "a/2.wav", False)
    pages = discover(services, Round.model_validate_json(current.model_dump_json()), limit=2)

    assert [[item.source for item in page.new] for page in pages] == [[f"{bucket.bucket}/a/"], [f"{bucket.bucket}/c/"]]
    assert known_keys(services, bucket) == ["a/1.wav", "a/2.wav", "a/3.wav", "c/1.wav"]


def test_discovery_when_a_round_is_over_then_it_says_how_long_it_took(open_core: OpenCore, bucket: ObjectStore) -> None:
    for key in ("a.wav", "b.txt"):
        bucket.put_bytes(key, b"1")

    _, current = discover_next(open_core({}), Round())

    assert current.is_over
    assert (current.last_listed, current.sources) == (2, [f"{bucket.bucket}/"])
    assert current.last_seconds is not None


@pytest.mark.parametrize(
    ("ended_seconds_ago", "rests"),
    [(0, True), (50, True), (70, False), (-3600, False)],  # the last: the clock was put back
)
def test_round_when_it_took_a_minute_then_the_next_waits_as_long(ended_seconds_ago: float, rests: bool) -> None:
    ended_at = utc_now() - timedelta(seconds=ended_seconds_ago)

    assert Round(last_seconds=60, last_ended_at=ended_at).rests is rests
    assert not Round(source="calls/", last_seconds=60, last_ended_at=ended_at).rests
    assert not Round().rests


def test_discovery_when_a_source_is_removed_then_its_objects_go_and_the_others_stay(
    open_core: OpenCore, bucket: ObjectStore
) -> None:
    for key in ("a/1.wav", "a/x/2.wav", "b/1.wav"):
        bucket.put_bytes(key, b"1")
    before = open_core({"prefix": "a/"}, {"prefix": "b/"})
    _, middle = discover_next(before, Round())
    discover(before)

    discover(open_core({"prefix": "a/x/"}), middle)

    assert known_keys(before, bucket) == ["a/x/2.wav"]
    assert BucketObjects.of(before).get(f"{bucket.bucket}/a/x/2.wav").source == f"{bucket.bucket}/a/x/"


def test_discovery_when_the_bucket_is_not_there_then_nothing_counts_as_vanished(
    open_core: OpenCore, bucket: ObjectStore
) -> None:
    bucket.put_bytes("a.wav", b"1")
    services = open_core({"bucket": "no-such-bucket"}, {})

    pages = discover(services)

    assert [len(page.new) for page in pages] == [0, 1]
    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        discover_page(services, services.settings.backfill_sources[0], "")


def test_discovery_when_a_run_writes_meanwhile_then_its_write_stays(open_core: OpenCore, bucket: ObjectStore) -> None:
    bucket.put_bytes("a.wav", b"1")
    services = open_core({})
    discover(services)
    bucket.put_bytes("a.wav", b"other bytes")
    page, _ = discover_next(services, Round())
    partition = page.changed[0].known.partition
    BucketObjects.of(services).change(partition, lambda _: ObjectUpdate(latest_job_id="1" * 32))

    record_page(services, page)
    assert BucketObjects.of(services).get(partition).latest_job_id == "1" * 32
    discover(services)

    assert BucketObjects.of(services).get(partition).etag == bucket.version("a.wav").etag
    assert BucketObjects.of(services).get(partition).latest_job_id == "1" * 32


def test_change_when_there_is_a_transcript_concerns_it_be_it_of_those_bytes_or_not(
    open_core: OpenCore, bucket: ObjectStore
) -> None:
    for key in ("never.wav", "of-old.wav", "of-new.wav"):
        bucket.put_bytes(key, b"1")
    services = open_core({})
    discover(services)
    old = {key: bucket.version(key).etag for key in ("of-old.wav", "of-new.wav")}
    for key in ("never.wav", "of-old.wav", "of-new.wav"):
        bucket.put_bytes(key, b"other bytes")
    etags = {"of-old.wav": old["of-old.wav"], "of-new.wav": bucket.version("of-new.wav").etag}
    for key, etag in etags.items():
        update = ObjectUpdate(current_job_id="1" * 32, current_etag=etag)
        BucketObjects.of(services).change(f"{bucket.bucket}/{key}", lambda _, update=update: update)

    page, _ = discover_next(services, Round())

    concerned = {change.known.key: change.concerns_transcript for change in page.changed}
    assert concerned == {"never.wav": False, "of-old.wav": True, "of-new.wav": True}


def test_discovery_when_the_bucket_is_not_there_then_the_page_says_so(open_core: OpenCore) -> None:
    page, _ = discover_next(open_core({"bucket": "no-such-bucket"}), Round())
    assert page.refusal is not None
    assert all(word in page.refusal for word in ("no-such-bucket", "There is no such bucket", "BACKFILL_SOURCES"))
