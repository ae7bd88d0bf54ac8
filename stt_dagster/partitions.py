"""The partitions: one for each recording that a source of backfills has, `bucket/key`."""

from dagster import DynamicPartitionsDefinition

BUCKET_OBJECTS = DynamicPartitionsDefinition(name="bucket_objects")
#: The pool of the runs for them, of which `MAX_CONCURRENT_BACKFILLS` are at work at once.
BACKFILL_POOL = "backfill"
