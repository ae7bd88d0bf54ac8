"""What an S3 server and its client say when something fails, as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import urllib3
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from stt_core.disk import disk_errors
from stt_core.errors import (
    BucketNotFoundError,
    DiskFullError,
    ObjectChangedError,
    ObjectNotFoundError,
    StoreRefusedError,
    StoreUnavailableError,
)
from stt_core.stores.connections import is_silence

_NOT_FOUND = {"NoSuchKey", "NoSuchObject", "ResourceNotFound"}
_FULL = {"XMinioStorageFull", "StorageFull", "QuotaExceeded", "InsufficientStorage"}
#: The last two of a server that was restarted in the middle of an upload, and forgot the parts that it had.
_TRY_AGAIN = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "SlowDownRead", "SlowDownWrite"}
_TRY_AGAIN |= {"NoSuchUpload", "InvalidPart"}


@contextmanager
def store_errors(operation: str) -> Iterator[None]:
    """Turn the client's errors inside the block into ours, naming the operation.

    Raises:
        StoreUnavailableError: No connection, no answer in time, or a server error.
        ObjectNotFoundError: The key does not exist.
        ObjectChangedError: The object is another version than the one that was asked for.
        DiskFullError: The server, or the disk of a download, has no room left.
        StoreRefusedError: The server refused (credentials, names, rights), or the local file or stream did.
    """
    try:
        with disk_errors(f"on the disk of this machine ({operation})", mend="Free space."):
            yield
    except S3Error as error:
        if error.code in _NOT_FOUND:
            raise ObjectNotFoundError(
                f"There is no such object ({operation}).",
                mend="It was removed from the object store: put it back from a backup, or send the recording again.",
            ) from error
        if error.code == "NoSuchBucket":
            raise BucketNotFoundError(
                f"There is no such bucket ({operation}).",
                mend="Create it, or correct its name in MINIO_BUCKET or BACKFILL_SOURCES.",
            ) from error
        if error.code == "PreconditionFailed":
            raise ObjectChangedError(f"The object was changed ({operation}).") from error
        if error.code in _FULL:
            raise DiskFullError(
                f"The object store is full ({operation}).", mend="Free space or raise its quota."
            ) from error
        if error.code in _TRY_AGAIN:
            raise StoreUnavailableError(f"The object store could not do it ({operation}): {error.code}.") from error
        raise StoreRefusedError(
            f"The object store refused {operation}: {error.code}: {error.message}.",
            mend="Check MINIO_ACCESS_KEY, MINIO_SECRET_KEY, MINIO_BUCKET and the rights of that key.",
        ) from error
    except (urllib3.exceptions.HTTPError, ServerError, InvalidResponseError, ConnectionError) as error:
        raise StoreUnavailableError(
            f"The object store is not reachable ({operation}): {_reason(error)}.",
            mend="Check that it runs and that MINIO_ENDPOINT is right; `stt doctor` tests it.",
        ) from error
    except OSError as error:
        raise StoreRefusedError(f"The local side of {operation} failed: {error}.") from error
    except (MinioException, ValueError) as error:
        raise StoreRefusedError(f"The object store client refused {operation}: {error}.") from error


def _reason(error: Exception) -> str:
    """Return in plain words why the store did not answer; urllib3 tells of its pools and puts causes into causes."""
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason:
        error = error.reason
    if is_silence(error):
        return "no answer in time"
    return str(error).rpartition(": ")[2]
