"""The partitions: one for each recording that a source of backfills has, `bucket/key`."""

from dagster import DynamicPartitionsDefinition

BUCKET_OBJECTS = DynamicPartitionsDefinition(name="bucket_objects")
#: The asset that they are materialised of.
TRANSCRIPTS = "bucket_transcripts"
