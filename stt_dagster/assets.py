"""The assets: the recordings in buckets, which we only read, and the transcript of each."""

from typing import Any

from dagster import AssetCheckSpec, AssetIn, AssetKey, AssetSpec, Nothing, graph_asset

from stt_core.transcript.quality import CHECKS
from stt_dagster.ops import merge, plan_chunks, prepare_object, publish_object, transcribe
from stt_dagster.partitions import BUCKET_OBJECTS, TRANSCRIPTS

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
    name=TRANSCRIPTS,
    check_specs=[
        AssetCheckSpec(name, asset=TRANSCRIPTS, description=description, partitions_def=BUCKET_OBJECTS)
        for name, description in CHECKS.items()
    ],
    description="The transcript of each recording: materialise a partition, a selection, or all that are missing.",
)
def bucket_transcripts(recording: Any) -> Any:
    """The graph of an upload, but for its ends."""
    plan, batches = plan_chunks(prepare_object(recording))
    return publish_object(merge(plan, batches.map(transcribe).collect()))._asdict()
