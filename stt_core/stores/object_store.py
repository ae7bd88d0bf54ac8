"""The object store: the only place that speaks S3. Any S3 server may stand behind it.

Streams in and out; nothing here holds a recording whole. Keys come from `stt_core.object_keys`.
"""

from __future__ import annotations

import copy
import io
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self, cast
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject
from minio.error import S3Error, ServerError

from stt_core.errors import (
    BucketNotFoundError,
    ConfigurationError,
    ObjectChangedError,
    ObjectNotFoundError,
    StoreUnavailableError,
)
from stt_core.logs import get_logger
from stt_core.settings import Settings
from stt_core.stores.connections import FileBody, patient_connections, probing_connections
from stt_core.stores.s3_errors import store_errors

logger = get_logger(__name__)
#: Part size of uploads, bytes: what one upload holds in memory. S3 allows 10 000 parts: 160 GB.
PART_SIZE = 16 * 1024**2
#: What S3 takes with one request, bytes.
_REQUEST_SIZE = 5 * 1024**3
#: How long the signature of a request holds, which may be made again after a slow upload broke off.
_SIGNATURE_LIFE = timedelta(days=1)
#: Block size of downloads, bytes.
BLOCK_SIZE = 1024**2

#: Characters that XML cannot hold: some servers name the start of a listing in their answer as they were given it.
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass(frozen=True)
class StoredObject:
    """An object as it is at a moment; its ETag changes with its bytes."""

    key: str
    size_bytes: int
    modified_at: datetime
    etag: str


class ObjectStore:
    """One bucket of an S3 server. Opening connects to nothing; the first operation does."""

    def __init__(self, settings: Settings) -> None:
        if not settings.minio_access_key or settings.minio_secret_key is None:
            raise ConfigurationError(
                "MINIO_ACCESS_KEY and MINIO_SECRET_KEY are not set.",
                mend="Set both to the credentials of your object store; `stt up` makes its own for the embedded one.",
            )
        self.bucket = settings.minio_bucket
        self._connections = patient_connections(settings.stt_home)
        self._probe_connections = probing_connections(settings.stt_home)
        inside = f"{'https' if settings.minio_secure else 'http'}://{settings.minio_endpoint}"
        self._client, self._probe, self._public = (
            Minio(
                urlsplit(address).netloc,
                access_key=settings.minio_access_key,
                secret_key=settings.minio_secret_key.get_secret_value(),
                secure=address.startswith("https:"),
                region=settings.minio_region,
                http_client=connections,
            )
            for address, connections in (
                (inside, self._connections),
                (inside, self._probe_connections),
                (settings.minio_public_endpoint or inside, self._connections),  # signs, and asks nothing
            )
        )
        logger.info("object store opened: {} bucket={}", settings.minio_endpoint, self.bucket)

    def in_bucket(self, bucket: str | None) -> Self:
        """Return the same store with another bucket (None: this one), over the same connections."""
        other = copy.copy(self)
        other.bucket = bucket or self.bucket
        return other

    def ping(self) -> float:
        """Ask for the bucket and return the latency in seconds.

        Raises:
            StoreUnavailableError: No answer within 3 seconds.
            BucketNotFoundError: The bucket is not there.
            StoreRefusedError: It is not ours.
        """
        started = time.perf_counter()
        with store_errors("looking for the bucket"):
            if not self._probe.bucket_exists(self.bucket):
                raise BucketNotFoundError(
                    f"There is no bucket {self.bucket}.",
                    mend="Create it, or correct its name in MINIO_BUCKET or BACKFILL_SOURCES.",
                )
        return time.perf_counter() - started

    def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        with store_errors("creating the bucket"):
            if self._probe.bucket_exists(self.bucket):
                return
            try:
                self._probe.make_bucket(self.bucket)
            except S3Error as error:
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise
                logger.debug("another process created the bucket first: {}", error.code)
        logger.info("bucket created: {}", self.bucket)

    def put_stream(
        self,
        key: str,
        stream: BinaryIO,
        *,
        length: int = -1,
        content_type: str = "application/octet-stream",
        on_sent: Callable[[], object] = lambda: None,
    ) -> None:
        """Write an object from a readable stream, in parts of `PART_SIZE`.

        A file is sent as it is read, in one request, if its length is known: the client reads a part, hashes it for the
        signature, and then sends it, one after the other.

        Args:
            length: Bytes to take from the stream, from the beginning of a file; -1 takes all there are.
            on_sent: Called when a file was sent in one request, before the server answers: what takes time may be done
                here. It may seek in the file; it is called again if the request is made again.

        Raises:
            StoreRefusedError: The stream has fewer than `length` bytes; nothing was written.
        """
        with store_errors(f"writing {key}"):
            if PART_SIZE < length <= _REQUEST_SIZE and stream.seekable():
                self._put_file(key, FileBody(stream, length, on_sent), content_type)
            else:
                self._client.put_object(
                    self.bucket,
                    key,
                    stream,
                    length,
                    content_type=content_type,
                    part_size=PART_SIZE,
                    num_parallel_uploads=1,  # more hold several parts each, and leave threads behind after an error
                )
        logger.info("object written: {}", key)

    def _put_file(self, key: str, body: FileBody, content_type: str) -> None:
        url = self._client.presigned_put_object(self.bucket, key, expires=_SIGNATURE_LIFE)
        headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
        response = self._connections.urlopen("PUT", url, body=body, headers=headers)
        if response.status != HTTPStatus.OK:
            if "application/xml" not in response.headers.get("content-type", ""):
                raise ServerError(f"the server answers {response.status}", response.status)
            raise S3Error.fromxml(response)

    def put_bytes(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Write a small object."""
        self.put_stream(key, io.BytesIO(data), length=len(data), content_type=content_type)

    def get_bytes(self, key: str) -> bytes:
        """Return a small object whole."""
        with self.open(key) as stream, store_errors(f"reading {key}"):
            return stream.read()

    def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> bytes:
        """Return `length` bytes from `offset`; fewer where the object ends.

        Raises:
            StoreRefusedError: `offset` is not inside the object.
            ObjectChangedError: It has not this ETag any more.
        """
        if length == 0:
            return b""
        with self.open(key, offset=offset, length=length, etag=etag) as stream, store_errors(f"reading {key}"):
            return stream.read()

    @contextmanager
    def open(self, key: str, *, offset: int = 0, length: int = 0, etag: str | None = None) -> Iterator[BinaryIO]:
        """Open an object for streaming, from `offset`, `length` bytes (0: to its end), in that version alone.

        Raises:
            ObjectChangedError: It has not this ETag any more.
            StoreUnavailableError: Also while the block reads: the connection broke, the object came incomplete.
        """
        with store_errors(f"opening {key}"):
            headers: dict[str, str | list[str] | tuple[str]] | None = {"If-Match": f'"{etag}"'} if etag else None
            response = self._client.get_object(self.bucket, key, offset=offset, length=length, request_headers=headers)
        try:
            if etag and (now := response.headers.get("etag", "").strip('"')) != etag:  # some servers do not compare
                raise ObjectChangedError(f"The object was changed (opening {key}): its ETag is {now}, not {etag}.")
            yield cast("BinaryIO", response)
        except urllib3.exceptions.HTTPError:
            with store_errors(f"reading {key}"):
                raise
        finally:
            response.close()
            response.release_conn()

    def download(self, key: str, path: Path, *, etag: str | None = None) -> int:
        """Write an object to a local file, block by block, and return its size in bytes.

        Raises:
            ObjectChangedError: It has not this ETag any more.
        """
        size = 0
        with store_errors(f"downloading {key} to {path}"), self.open(key, etag=etag) as stream, path.open("wb") as file:
            while block := stream.read(BLOCK_SIZE):
                size += file.write(block)
        logger.info("object downloaded: {} ({} bytes)", key, size)
        return size

    def presign_put(self, key: str, seconds: float) -> str:
        """Return a URL under which anybody may write the object, as often as they like, for so many seconds.

        It leads to `MINIO_PUBLIC_ENDPOINT`, and is made without asking the server.
        """
        with store_errors(f"signing for {key}"):
            return self._public.presigned_put_object(self.bucket, key, expires=timedelta(seconds=seconds))

    def version(self, key: str) -> StoredObject:
        """Return what there is of an object now.

        Raises:
            ObjectNotFoundError: It is not there.
        """
        with store_errors(f"looking for {self.bucket}/{key}"):
            found = self._client.stat_object(self.bucket, key)
        return StoredObject(
            key=key,
            size_bytes=found.size or 0,
            modified_at=found.last_modified or datetime.now(UTC),
            etag=(found.etag or "").strip('"'),
        )

    def copy_from(self, source: ObjectStore, source_key: str, key: str) -> None:
        """Write an object as a copy of another, of the same server; the bytes stay there."""
        with store_errors(f"copying {source.bucket}/{source_key} to {self.bucket}/{key}"):
            self._client.copy_object(self.bucket, key, CopySource(source.bucket, source_key))

    def exists(self, key: str) -> bool:
        """Return whether the object is there."""
        try:
            with store_errors(f"looking for {key}"):
                self._client.stat_object(self.bucket, key)
        except ObjectNotFoundError as error:
            logger.debug("{}", error)
            return False
        return True

    def iterate(self, prefix: str, *, after: str = "") -> Iterator[StoredObject]:
        """Yield the objects under a prefix with keys beyond `after`, in order, 1000 with one request, however many."""
        with store_errors(f"listing {self.bucket}/{prefix}"):
            start = _NOT_XML.split(after)[0]
            for item in self._client.list_objects(self.bucket, prefix=prefix, recursive=True, start_after=start):
                if item.object_name and item.last_modified and item.object_name > after:
                    yield StoredObject(item.object_name, item.size or 0, item.last_modified, item.etag or "")

    def list_keys(self, prefix: str) -> list[str]:
        """Return the keys under a prefix, in order."""
        return [found.key for found in self.iterate(prefix)]

    def list_page(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[StoredObject]:
        """Return up to `limit` objects under a prefix with keys beyond `after`, in order."""
        return list(islice(self.iterate(prefix, after=after), limit))

    def remove(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with store_errors(f"removing {key}"):
            self._client.remove_object(self.bucket, key)

    def remove_prefix(self, prefix: str) -> int:
        """Remove everything under a prefix and return how many objects that were."""
        keys = self.list_keys(prefix)
        self.remove_all(keys)
        logger.info("objects removed: {} under {}", len(keys), prefix)
        return len(keys)

    def remove_all(self, keys: Iterable[str]) -> None:
        """Remove objects, 1000 with one request; those that are not there are no error."""
        with store_errors("removing objects"):
            for problem in self._client.remove_objects(self.bucket, (DeleteObject(key) for key in keys)):
                raise StoreUnavailableError(f"{problem.name} could not be removed: {problem.message}.")

    def close(self) -> None:
        """Close the connections."""
        self._connections.clear()
        self._probe_connections.clear()
        logger.info("object store closed: bucket={}", self.bucket)
