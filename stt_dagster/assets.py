"""The assets: the recordings in buckets, which we only read, and the transcript of each."""

from typing import Any

from dagster import AssetIn, AssetKey, AssetSpec, Nothing, graph_asset

from stt_dagster.ops import merge, plan_chunks, prepare_object, publish, transcribe
from stt_dagster.partitions import BUCKET_OBJECTS

GROUP = "backfills"

bucket_objects = AssetSpec(
    "bucket_objects",
    description="Recordings in the buckets of BACKFILL_SOURCES, found by the discovery sensor.",
    group_name=GROUP,
    kinds={"s3"},
    partitions_def=BUCKET_OBJECTS,
)


@graph_asset(
    ins={"recording": AssetIn(AssetKey("bucket_objects"), dagster_type=Nothing)},
    partitions_def=BUCKET_OBJECTS,
    group_name=GROUP,
    kinds={"ffmpeg", "whisper.cpp", "s3"},
    description="The transcript of each recording: materialise a partition, a selection, or all that are missing.",
)
def bucket_transcripts(recording: Any) -> Any:
    """The graph of an upload, but for its first op."""
    plan, batches = plan_chunks(prepare_object(recording))
    return publish(merge(plan, batches.map(transcribe).collect()))
