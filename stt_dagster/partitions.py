"""The partitions: one for each recording that a source of backfills has, `bucket/key`.

Dagster tells stale ones by the version of their object, its ETag. A run observes the version that it transcribes, and
discovery one that is another: the transcript is stale then, with "has a new data version" as the reason, until its
partition is materialised again.
"""

from __future__ import annotations

from dagster import AssetObservation, DynamicPartitionsDefinition

BUCKET_OBJECTS = DynamicPartitionsDefinition(name="bucket_objects")
#: The asset that they are materialised of.
TRANSCRIPTS = "bucket_transcripts"
#: The tag of an observation that Dagster reads as the data version.
DATA_VERSION = "dagster/data_version"


def observe_object(partition: str, etag: str) -> AssetObservation:
    """Return the observation that an object has this version."""
    return AssetObservation("bucket_objects", partition=partition, tags={DATA_VERSION: etag})
