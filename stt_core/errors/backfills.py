"""Backfills: the buckets and the objects that they transcribe."""

from __future__ import annotations

from stt_core.errors.requests import InvalidInputError


class BucketNotConfiguredError(InvalidInputError):
    """No source of backfills is in the bucket."""

    kind = "bucket-not-configured"
    status = 404


class BucketMissingError(InvalidInputError):
    """The bucket of a source of backfills is not in the object store."""

    kind = "bucket-missing"
    status = 404


class PartitionNotFoundError(InvalidInputError):
    """No object of a bucket is known under this partition key: discovery has not met it, or it is gone."""

    kind = "partition-not-found"
    status = 404
