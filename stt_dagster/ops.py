"""The ops of the transcription graph. Each claims the job, calls one function of the core, and shows what came out."""

from collections.abc import Iterator

from dagster import Config, DynamicOut, DynamicOutput, MetadataValue, OpExecutionContext, Out, Output, op
from pydantic import Field

from stt_core.jobs.models import JobStage
from stt_core.logs import logged
from stt_core.processing.merging import merge_recording
from stt_core.processing.models import (
    BatchResult,
    ChunkBatch,
    MergedTranscript,
    PreparedAudio,
    RecordingPlan,
)
from stt_core.processing.planning import batches_of, plan_recording
from stt_core.processing.preparing import prepare_recording
from stt_core.processing.publishing import publish_transcript
from stt_core.processing.transcribing import transcribe_batch
from stt_dagster.resources import SttResource
from stt_dagster.steps import RETRY_POLICY, is_last_try, job_step


class JobConfig(Config):
    """Which job a run works for."""

    job_id: str = Field(description="The job, as the upload's answer named it.")
    attempt: int | None = Field(default=None, description="The attempt the run is for; empty takes the current one.")


class BatchConfig(Config):
    """How the chunks of a recording are spread over steps."""

    slots: int = Field(default=1, ge=1, description="Steps that run at once: 1 puts all chunks into one step.")


@op(retry_policy=RETRY_POLICY, tags={"kind": "ffmpeg"})
@logged
def prepare_audio(context: OpExecutionContext, config: JobConfig, stt: SttResource) -> PreparedAudio:
    """Download the recording and decode it to 16 kHz mono PCM in the object store."""
    with job_step(context, stt.services, JobStage.PREPARING, config.job_id, config.attempt) as claim:
        prepared = prepare_recording(stt.services, claim)
        context.add_output_metadata(
            {
                "job": MetadataValue.url(stt.task_url(config.job_id)),
                "duration_seconds": round(prepared.audio.duration_seconds, 3),
                "codec": prepared.audio.codec,
                "channels": prepared.audio.channels,
                "damaged_or_cut_off": prepared.audio.truncated,
            }
        )
        return prepared


@op(
    out={"plan": Out(RecordingPlan), "batches": DynamicOut(ChunkBatch)},
    retry_policy=RETRY_POLICY,
)
@logged
def plan_chunks(
    context: OpExecutionContext, config: BatchConfig, stt: SttResource, prepared: PreparedAudio
) -> Iterator[Output[RecordingPlan] | DynamicOutput[ChunkBatch]]:
    """Find the speech, pack it into chunks of one whisper window, and spread them over steps."""
    with job_step(context, stt.services, JobStage.CHUNKING, prepared.job_id) as claim:
        plan = plan_recording(stt.services, claim, prepared)
        batches = batches_of(plan, slots=config.slots)
    yield Output(
        plan,
        "plan",
        metadata={
            "chunks": len(plan.chunks),
            "batches": len(batches),
            "speech_seconds": round(sum(chunk.speech_seconds for chunk in plan.chunks), 3),
            "model": plan.model,
            "language": plan.language,
        },
    )
    for number, batch in enumerate(batches):
        yield DynamicOutput(batch, mapping_key=f"b{number}", output_name="batches")


@op(retry_policy=RETRY_POLICY, tags={"kind": "whisper.cpp"})
@logged
def transcribe(context: OpExecutionContext, stt: SttResource, batch: ChunkBatch) -> BatchResult:
    """Transcribe the chunks of one batch with one whisper.cpp process, those already known excepted.

    Where the job accepts gaps, a chunk that still fails in the step's last try becomes one.
    """
    with job_step(context, stt.services, JobStage.TRANSCRIBING, batch.job_id) as claim:
        result = transcribe_batch(stt.services, claim, batch, is_last_try=is_last_try(context))
        context.add_output_metadata(
            {
                "chunks": len(result.outcomes),
                "cached": sum(outcome.cached for outcome in result.outcomes),
                "gaps": sum(outcome.failure is not None for outcome in result.outcomes),
                "audio_seconds": round(result.audio_seconds, 3),
                "engine_seconds": result.engine_seconds,
            }
        )
        return result


@op(retry_policy=RETRY_POLICY)
@logged
def merge(
    context: OpExecutionContext, stt: SttResource, plan: RecordingPlan, results: list[BatchResult]
) -> MergedTranscript:
    """Put the chunks' texts together, their times mapped back to the recording."""
    with job_step(context, stt.services, JobStage.MERGING, plan.job_id) as claim:
        merged = merge_recording(stt.services, claim, plan, results)
        context.add_output_metadata({"words": merged.words, "segments": merged.segments, "gaps": merged.gaps})
        return merged


@op(retry_policy=RETRY_POLICY, tags={"kind": "s3"})
@logged
def publish(context: OpExecutionContext, stt: SttResource, merged: MergedTranscript) -> None:
    """Write the transcript in every format and complete the job.

    The real-time factor is the seconds from the claim of the job to its end, divided by those of the recording.
    """
    with job_step(context, stt.services, JobStage.UPLOADING, merged.job_id) as claim:
        job = publish_transcript(stt.services, claim, merged)
        if result := job.result:
            seconds = result.duration_seconds
            context.add_output_metadata(
                {
                    # As text: it is what somebody said, and Markdown would be rendered.
                    "preview": MetadataValue.text(result.text_preview),
                    "transcript": MetadataValue.url(f"{stt.task_url(job.job_id)}/result"),
                    "job": MetadataValue.url(stt.task_url(job.job_id)),
                    "duration_seconds": round(seconds, 3),
                    "real_time_factor": round(job.processing_seconds / seconds, 3) if seconds else None,
                    "language": result.language,
                    "words": result.words,
                    "chunks": merged.chunks,
                    "gaps": result.gaps,
                    "warnings": MetadataValue.text("\n".join(result.warnings) or "none"),
                }
            )
