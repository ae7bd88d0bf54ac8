"""The version of an object of a bucket, as Dagster tells stale partitions by it: its ETag.

A run observes the version that it transcribes, and discovery one that is another: the transcript is stale then, with
"has a new data version" as the reason, until its partition is materialised again.
"""

from __future__ import annotations

from dagster import AssetObservation

from stt_core.logs import logged

#: The tag of an observation that Dagster reads as the data version.
DATA_VERSION = "dagster/data_version"


@logged
def observe_object(partition: str, etag: str) -> AssetObservation:
    """Return the observation that an object has this version."""
    return AssetObservation("bucket_objects", partition=partition, tags={DATA_VERSION: etag})
