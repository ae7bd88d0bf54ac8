"""Objects of other buckets than our own, read in the version that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from stt_core.errors import ObjectChangedError, ObjectNotFoundError
from stt_core.stores.object_store import ObjectStore

KEY = '2026/ä "quoted" it\'s.wav'


@pytest.fixture
def other(store: ObjectStore) -> ObjectStore:
    other = store.in_bucket(f"{store.bucket}-other")
    other.ensure_bucket()
    return other


def test_in_bucket_when_read_and_copied_keeps_the_buckets_apart(store: ObjectStore, other: ObjectStore) -> None:
    other.put_bytes(KEY, b"theirs")
    store.put_bytes("ours", b"ours")

    other.copy_from(store, "ours", f"{KEY}.txt")

    assert other.get_bytes(KEY) == b"theirs" and other.get_bytes(f"{KEY}.txt") == b"ours"
    assert store.list_keys("") == ["ours"]
    assert store.in_bucket(None).bucket == store.bucket


def test_reading_a_version_when_the_object_changed_is_refused(other: ObjectStore, tmp_path: Path) -> None:
    other.put_bytes(KEY, b"first")
    first = other.version(KEY)
    assert first.size_bytes == 5
    assert other.get_range(KEY, 1, 3, etag=first.etag) == b"irs"
    assert other.download(KEY, tmp_path / "copy", etag=first.etag) == 5

    other.put_bytes(KEY, b"second")

    assert other.version(KEY).etag != first.etag
    with pytest.raises(ObjectChangedError):
        other.get_range(KEY, 0, 5, etag=first.etag)
    with pytest.raises(ObjectChangedError):
        other.download(KEY, tmp_path / "copy", etag=first.etag)
    assert other.get_bytes(KEY) == b"second"


def test_version_when_there_is_no_such_object_says_so(other: ObjectStore) -> None:
    with pytest.raises(ObjectNotFoundError):
        other.version("nothing.wav")
