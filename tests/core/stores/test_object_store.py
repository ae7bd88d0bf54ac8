from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import resource
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, cast

import pytest
import urllib3
from minio.error import InvalidResponseError, S3Error, ServerError
from pydantic import SecretStr

from stt_cli.local_stack.home import StackHome
from stt_cli.local_stack.processes import Guard
from stt_cli.local_stack.servers import EmbeddedS3
from stt_core.errors import (
    BucketNotFoundError,
    ConfigurationError,
    DiskFullError,
    ObjectNotFoundError,
    StoreRefusedError,
    StoreUnavailableError,
    SttError,
)
from stt_core.settings import Settings
from stt_core.stores.object_store import PART_SIZE, ObjectStore
from stt_core.stores.s3_errors import store_errors
from tests.conftest import start_server
from tests.core.wire import Wire

MEGABYTE = 1024**2


class _Endless(io.RawIOBase):
    """A stream of `size` bytes that are never in memory together, and the hash of what was read."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._block = random.Random(7).randbytes(MEGABYTE + 1)
        self.hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._block[: min(self._left, len(self._block), size if size >= 0 else self._left)]
        self._left -= len(block)
        self.hash.update(block)
        return block


class _EndlessFile(_Endless):
    """The same, as a file."""

    def seekable(self) -> bool:
        return True

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        assert (position, whence) == (0, io.SEEK_SET)
        self._left, self.hash = self._size, hashlib.sha256()
        return position


@pytest.mark.parametrize("data", [b"", b"x", os.urandom(100_000)], ids=["empty", "one", "many"])
def test_put_bytes_when_read_back_gives_the_same(store: ObjectStore, data: bytes) -> None:
    store.put_bytes("a/b.bin", data)

    assert store.get_bytes("a/b.bin") == data


def test_put_bytes_when_the_key_exists_replaces_the_object(store: ObjectStore) -> None:
    store.put_bytes("a/b", b"first, and longer")
    store.put_bytes("a/b", b"second")

    assert store.get_bytes("a/b") == b"second"


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1), (0, 1000), (500, 300), (999, 1), (990, 50), (0, 2000), (3, 0), (1000, 0)]
)
def test_get_range_gives_what_slicing_gives(store: ObjectStore, offset: int, length: int) -> None:
    data = os.urandom(1000)
    store.put_bytes("a/b", data)

    assert store.get_range("a/b", offset, length) == data[offset : offset + length]


@pytest.mark.parametrize("offset", [1000, 5000])
def test_get_range_when_it_begins_beyond_the_end_is_refused(store: ObjectStore, offset: int) -> None:
    store.put_bytes("a/b", bytes(1000))

    with pytest.raises(StoreRefusedError, match="InvalidRange"):
        store.get_range("a/b", offset, 5)


@pytest.mark.parametrize(
    ("kind", "known", "request_parts"),
    [(_Endless, True, 100), (_Endless, False, 100), (_EndlessFile, True, 100), (_EndlessFile, True, 2)],
    ids=["known-length", "unknown-length", "file", "file-beyond-one-request"],
)
def test_put_stream_when_large_goes_up_and_down_whole_in_bounded_memory(
    store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[_Endless],
    known: bool,
    request_parts: int,
) -> None:
    part = 5 * MEGABYTE  # the least that S3 allows
    monkeypatch.setattr("stt_core.stores.object_store.PART_SIZE", part)
    monkeypatch.setattr("stt_core.stores.object_store._REQUEST_SIZE", request_parts * part)
    size = 9 * part + 12_345  # ten parts
    source = kind(size)
    tracemalloc.start()
    store.put_stream("big", cast("BinaryIO", source), length=size if known else -1)
    assert store.download("big", tmp_path / "big") == size
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 4 * part
    with (tmp_path / "big").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == source.hash.hexdigest()
    assert store.get_range("big", size - 10, 100) == (tmp_path / "big").read_bytes()[-10:]


def test_put_stream_when_a_file_is_large_holds_less_than_a_part_of_it(store: ObjectStore) -> None:
    source = _EndlessFile(3 * PART_SIZE)
    tracemalloc.start()
    store.put_stream("big", cast("BinaryIO", source), length=3 * PART_SIZE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < PART_SIZE / 2
    assert store.version("big").size_bytes == 3 * PART_SIZE


def test_put_stream_when_the_stream_is_shorter_than_announced_writes_nothing(store: ObjectStore) -> None:
    with pytest.raises(StoreRefusedError, match="not enough"):
        store.put_stream("short", io.BytesIO(b"x" * 10), length=20)
    for kind in (_Endless, _EndlessFile):
        with pytest.raises(StoreRefusedError, match="not enough"):
            store.put_stream("short", cast("BinaryIO", kind(PART_SIZE + 10)), length=2 * PART_SIZE)

    assert store.list_keys("") == []


@pytest.mark.parametrize("kind", [_Endless, _EndlessFile], ids=["stream", "file"])
def test_put_stream_when_the_source_breaks_writes_nothing_and_leaves_no_thread(
    store: ObjectStore, kind: type[_Endless]
) -> None:
    class Broken(kind):  # type: ignore[misc,valid-type]
        def read(self, size: int = -1) -> bytes:
            if self._left <= MEGABYTE:
                raise OSError(errno.EIO, "the disk broke")
            return bytes(super().read(size))

    threads = threading.active_count()

    with pytest.raises(StoreRefusedError, match="the disk broke"):
        store.put_stream("broken", cast("BinaryIO", Broken(3 * PART_SIZE)), length=3 * PART_SIZE)

    assert not store.exists("broken")
    assert threading.active_count() <= threads


def test_put_stream_when_the_connection_breaks_off_sends_the_file_again_from_its_beginning(
    store: ObjectStore, settings: Settings
) -> None:
    data = random.Random(1).randbytes(PART_SIZE) + b"the middle" + random.Random(2).randbytes(PART_SIZE)
    with Wire(settings.minio_endpoint) as wire:
        wired = ObjectStore(settings.model_copy(update={"minio_endpoint": wire.address}))
        wire.cut_before(b"the middle")
        wired.put_stream("again", io.BytesIO(data), length=len(data))
        wired.close()

    assert wire.cuts == 1
    assert store.get_bytes("again") == data


def test_open_streams_and_gives_its_connection_back(store: ObjectStore) -> None:
    store.put_bytes("a", os.urandom(3 * MEGABYTE))
    for _ in range(25):  # more than the pool holds
        with store.open("a") as stream:
            assert len(stream.read(100)) == 100
    with store.open("a", offset=3 * MEGABYTE - 5) as stream:
        assert len(stream.read()) == 5


def test_open_when_the_block_raises_passes_it_on_untouched(store: ObjectStore) -> None:
    store.put_bytes("a", b"x")

    with pytest.raises(ValueError, match="mine"), store.open("a"):
        raise ValueError("mine")


def test_missing_object_is_an_error_of_its_own(store: ObjectStore, tmp_path: Path) -> None:
    assert not store.exists("no/such")
    for read in (
        lambda: store.get_bytes("no/such"),
        lambda: store.get_range("no/such", 0, 5),
        lambda: store.download("no/such", tmp_path / "x"),
    ):
        with pytest.raises(ObjectNotFoundError, match="no/such"):
            read()
    assert not (tmp_path / "x").exists()


def test_list_keys_gives_every_key_under_the_prefix_and_no_other(store: ObjectStore) -> None:
    for key in ("a/1/x", "a/1/y/z", "a/10/x", "b"):
        store.put_bytes(key, b"1")

    assert store.list_keys("a/1/") == ["a/1/x", "a/1/y/z"]
    assert store.list_keys("a/") == ["a/1/x", "a/1/y/z", "a/10/x"]
    assert store.list_keys("nothing/") == []


def test_list_and_remove_prefix_when_there_are_over_a_thousand_take_them_all(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda index: store.put_bytes(f"many/{index:04d}", b"x"), range(1050)))
    store.put_bytes("other", b"x")

    assert len(store.list_keys("many/")) == 1050
    assert store.remove_prefix("many/") == 1050
    assert store.list_keys("") == ["other"]
    assert store.remove_prefix("many/") == 0


def test_remove_when_the_object_is_not_there_is_quiet(store: ObjectStore) -> None:
    store.put_bytes("a", b"1")
    store.remove("a")
    store.remove("a")

    assert not store.exists("a")


def test_store_when_eight_threads_use_it_mixes_nothing_up(store: ObjectStore) -> None:
    def round_trip(index: int) -> bool:
        data = random.Random(index).randbytes(50_000)
        store.put_bytes(f"t/{index}", data)
        return store.get_range(f"t/{index}", 100, 1000) == data[100:1100] and store.get_bytes(f"t/{index}") == data

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(round_trip, range(40)))


def test_ensure_bucket_when_called_again_or_by_many_is_quiet(settings: Settings) -> None:
    stores = [ObjectStore(settings) for _ in range(4)]
    with pytest.raises(StoreRefusedError, match=settings.minio_bucket):
        stores[0].ping()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ObjectStore.ensure_bucket, stores))
    stores[0].ensure_bucket()

    assert 0 < stores[0].ping() < 5
    for store in stores:
        store.close()


def test_put_bytes_when_there_is_no_bucket_is_refused_for_good(settings: Settings) -> None:
    store = ObjectStore(settings)

    for size in (1, 2 * PART_SIZE):
        with pytest.raises(BucketNotFoundError, match="no such bucket"):
            store.put_bytes("a", bytes(size))


@pytest.mark.parametrize("wrong", [{"minio_secret_key": SecretStr("x" * 20)}, {"minio_access_key": "nobody"}])
def test_every_operation_when_the_credentials_are_wrong_is_refused_for_good(
    store: ObjectStore, settings: Settings, wrong: dict[str, object], tmp_path: Path
) -> None:
    store.put_bytes("a", b"1")
    intruder = ObjectStore(settings.model_copy(update=wrong))

    for operation in (
        intruder.ping,
        intruder.ensure_bucket,
        lambda: intruder.get_bytes("a"),
        lambda: intruder.exists("a"),
        lambda: intruder.put_bytes("a", b"2"),
        lambda: intruder.put_bytes("a", bytes(2 * PART_SIZE)),
        lambda: intruder.list_keys(""),
        lambda: intruder.remove("a"),
        lambda: intruder.remove_prefix("a"),
        lambda: intruder.download("a", tmp_path / "a"),
    ):
        with pytest.raises(StoreRefusedError, match="MINIO_SECRET_KEY"):
            operation()
    assert store.get_bytes("a") == b"1"


@pytest.mark.parametrize("missing", ["minio_access_key", "minio_secret_key"])
def test_store_when_credentials_are_not_set_names_the_variables(settings: Settings, missing: str) -> None:
    with pytest.raises(ConfigurationError, match="MINIO_ACCESS_KEY and MINIO_SECRET_KEY"):
        ObjectStore(settings.model_copy(update={missing: None}))


def test_put_when_the_server_fails_and_its_disk_is_full_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = StackHome.at(tmp_path)
    server = EmbeddedS3(home)
    with Guard(home):
        process = start_server(server)
        store = ObjectStore(Settings.model_validate({**server.settings_environment(), "STT_HOME": str(tmp_path)}))
        store.ensure_bucket()
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (MEGABYTE, MEGABYTE))  # stands for a disk without room
        with pytest.raises(StoreUnavailableError):  # there is room: something else is wrong
            store.put_bytes("a", bytes(2 * MEGABYTE))
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=MEGABYTE))
        for size in (2 * MEGABYTE, 2 * PART_SIZE):
            with pytest.raises(DiskFullError, match=str(tmp_path)):
                store.put_bytes("a", bytes(size))
        store.put_bytes("b", b"small")
        store.close()
        process.kill()
        process.wait(timeout=10)


def test_download_when_the_disk_is_full_says_so(store: ObjectStore) -> None:
    store.put_bytes("a", b"x" * 100_000)

    with pytest.raises(DiskFullError):
        store.download("a", Path("/dev/full"))


def _s3(code: str) -> S3Error:
    response = urllib3.HTTPResponse(status=500)
    return S3Error(response, code, "why", "/b/k", "1", "2")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_s3("NoSuchKey"), ObjectNotFoundError),
        (_s3("XMinioStorageFull"), DiskFullError),
        (_s3("SlowDown"), StoreUnavailableError),
        (_s3("InternalError"), StoreUnavailableError),
        (_s3("AccessDenied"), StoreRefusedError),
        (_s3("NoSuchBucket"), StoreRefusedError),
        (ServerError("bad gateway", 502), StoreUnavailableError),
        (InvalidResponseError(503, "text/html", "<html>"), StoreUnavailableError),
        (urllib3.exceptions.ProtocolError("BadStatusLine"), StoreUnavailableError),
        (urllib3.exceptions.MaxRetryError(None, "/", None), StoreUnavailableError),  # type: ignore[arg-type]
        (ConnectionResetError(errno.ECONNRESET, "reset"), StoreUnavailableError),
        (OSError(errno.ENOSPC, "no space"), DiskFullError),
        (OSError(errno.EACCES, "not yours"), StoreRefusedError),
        (ValueError("not a name"), StoreRefusedError),
    ],
    ids=lambda value: getattr(value, "code", None) or type(value).__name__,
)
def test_store_errors_tell_what_passes_from_what_does_not(error: Exception, expected: type[SttError]) -> None:
    with pytest.raises(expected) as caught, store_errors("a test"):
        raise error

    assert caught.value.__cause__ is error
    assert "a test" in str(caught.value)
