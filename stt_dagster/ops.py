"""The ops of the transcription graph. Each claims the job, calls one function of the core, and shows what came out."""

from collections.abc import Iterator

from dagster import (
    AssetCheckResult,
    Config,
    DynamicOut,
    DynamicOutput,
    In,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    op,
)
from pydantic import Field

from stt_core.backfill.exporting import release_transcript
from stt_core.backfill.opening import open_object
from stt_core.jobs.job import JobStage
from stt_core.processing.handover import (
    BatchResult,
    ChunkBatch,
    MergedTranscript,
    PreparedAudio,
    RecordingPlan,
)
from stt_core.processing.merging import merge_recording
from stt_core.processing.planning import batches_of, parallel_steps, plan_recording
from stt_core.processing.preparing import prepare_recording
from stt_core.processing.publishing import publish_transcript
from stt_core.processing.transcribing import transcribe_batch
from stt_core.transcript.quality import CHECKS
from stt_dagster.config import PlainText
from stt_dagster.metadata import describe_audio, describe_checks, describe_transcript
from stt_dagster.partitions import TRANSCRIPTS, observe_object
from stt_dagster.resources import SttResource
from stt_dagster.steps import RETRY_POLICY, is_last_try, job_step
from stt_dagster.tags import ATTEMPT, JOB_ID, MODEL


class JobConfig(Config):
    """Which job a run works for."""

    job_id: PlainText = Field(description="The job, as the upload's answer named it.")
    attempt: int | None = Field(default=None, description="The attempt the run is for; empty takes the current one.")


class BatchConfig(Config):
    """How the chunks of a recording are spread over steps."""

    slots: int | None = Field(
        default=None, ge=1, description="Steps that run at once: 1 puts all chunks into one step; empty goes by length."
    )


@op(retry_policy=RETRY_POLICY, tags={"kind": "ffmpeg"})
def prepare_audio(context: OpExecutionContext, config: JobConfig, stt: SttResource) -> PreparedAudio:
    """Download the recording and decode it to 16 kHz mono PCM in the object store."""
    with job_step(context, stt.services, JobStage.PREPARING, config.job_id, config.attempt) as claim:
        prepared = prepare_recording(stt.services, claim)
        context.add_output_metadata(describe_audio(prepared, stt))
        return prepared


@op(
    ins={"recording": In(Nothing)},
    retry_policy=RETRY_POLICY,
    tags={"kind": "ffmpeg"},
)
def prepare_object(context: OpExecutionContext, stt: SttResource) -> PreparedAudio:
    """Open a job for an object of a bucket, or take the one that waits, and decode it as an upload is."""
    # A re-execution carries the tags of the run before, whose job may have ended.
    launched_for = context.run.tags.get(JOB_ID) if context.run.parent_run_id is None else None

    def find_job() -> tuple[str, int | None]:
        job = open_object(
            stt.services,
            context.partition_key,
            context.run_id,
            model=context.run.tags.get(MODEL),
            job_id=launched_for,
        )
        return job.job_id, int(context.run.tags[ATTEMPT]) if job.job_id == launched_for else None

    with job_step(context, stt.services, JobStage.PREPARING, find_job) as claim:
        if (source := claim.job().source) and source.etag:
            context.log_event(observe_object(context.partition_key, source.etag))
        prepared = prepare_recording(stt.services, claim)
        context.add_output_metadata(describe_audio(prepared, stt))
        return prepared


@op(
    out={"plan": Out(RecordingPlan), "batches": DynamicOut(ChunkBatch)},
    retry_policy=RETRY_POLICY,
)
def plan_chunks(
    context: OpExecutionContext, config: BatchConfig, stt: SttResource, prepared: PreparedAudio
) -> Iterator[Output[RecordingPlan] | DynamicOutput[ChunkBatch]]:
    """Find the speech, pack it into chunks of one whisper window, and spread them over steps."""
    with job_step(context, stt.services, JobStage.CHUNKING, prepared.job_id) as claim:
        slots = config.slots or parallel_steps(claim.job(), stt.services.settings)
        plan = plan_recording(stt.services, claim, prepared, parallel=slots)
        batches = batches_of(plan, slots=slots)
    yield Output(
        plan,
        "plan",
        metadata={
            "chunks": len(plan.chunks),
            "batches": len(batches),
            "speech_seconds": round(sum(chunk.speech_seconds for chunk in plan.chunks), 3),
            "model": plan.model_name,
            "language": plan.language,
        },
    )
    for number, batch in enumerate(batches):
        yield DynamicOutput(batch, mapping_key=f"b{number}", output_name="batches")


@op(retry_policy=RETRY_POLICY, tags={"kind": "whisper.cpp"})
def transcribe(context: OpExecutionContext, stt: SttResource, batch: ChunkBatch) -> BatchResult:
    """Transcribe the chunks of one batch, a few by each process of the engine, those already known excepted.

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
def merge(
    context: OpExecutionContext, stt: SttResource, plan: RecordingPlan, results: list[BatchResult]
) -> MergedTranscript:
    """Put the chunks' texts together, their times mapped back to the recording."""
    with job_step(context, stt.services, JobStage.MERGING, plan.job_id) as claim:
        merged = merge_recording(stt.services, claim, plan, results)
        context.add_output_metadata({"words": merged.words, "segments": merged.segments, "gaps": merged.gaps})
        return merged


@op(retry_policy=RETRY_POLICY, tags={"kind": "s3"})
def publish(context: OpExecutionContext, stt: SttResource, merged: MergedTranscript) -> None:
    """Write the transcript in every format, and complete the job."""
    with job_step(context, stt.services, JobStage.UPLOADING, merged.job_id) as claim:
        job = publish_transcript(stt.services, claim, merged)
        context.add_output_metadata(describe_transcript(job, stt) | {"chunks": merged.chunks})


@op(
    out={"result": Out(Nothing)} | {f"{TRANSCRIPTS}_{name}": Out(Nothing) for name in CHECKS},
    retry_policy=RETRY_POLICY,
    tags={"kind": "s3"},
)
def publish_object(
    context: OpExecutionContext, stt: SttResource, merged: MergedTranscript
) -> Iterator[Output[None] | AssetCheckResult]:
    """Do what `publish` does, give the object its transcript, and tell what the checks of that found."""
    with job_step(context, stt.services, JobStage.UPLOADING, merged.job_id) as claim:
        job = publish_transcript(stt.services, claim, merged)
        is_current = release_transcript(stt.services, job)
    shown = describe_transcript(job, stt) | {"chunks": merged.chunks, "current": is_current}
    yield Output(None, "result", metadata=shown)
    yield from describe_checks(job)
