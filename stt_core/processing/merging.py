"""Step 4: put the chunks' texts together and write the transcript, not yet visible to anybody."""

from __future__ import annotations

from collections.abc import Sequence

from stt_core import object_keys
from stt_core.errors import MissingChunksError
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs.claims import Claim
from stt_core.languages import AUTO
from stt_core.logs import get_logger
from stt_core.processing.handover import BatchResult, MergedTranscript, RecordingPlan
from stt_core.processing.voices import voice_of
from stt_core.services import Services
from stt_core.transcript.document import ChunkTranscript
from stt_core.transcript.merging import merge_chunks
from stt_core.transcript.quality import check_quality

logger = get_logger(__name__)


def merge_recording(
    services: Services, claim: Claim, plan: RecordingPlan, results: Sequence[BatchResult]
) -> MergedTranscript:
    """Merge the results of every batch into `transcript.json` under the attempt's result prefix.

    Raises:
        MissingChunksError: A chunk of the plan has no result, or no chunk has a text.
    """
    outcomes = [outcome for result in results for outcome in result.outcomes]
    transcripts = {
        outcome.index: ChunkTranscript.model_validate_json(services.store.get_bytes(outcome.result_key))
        for outcome in outcomes
        if outcome.result_key
    }
    unpinned = [warning for result in results for warning in result.warnings]
    gaps = {outcome.index: outcome.failure for outcome in outcomes if outcome.failure}
    if gaps and not transcripts:
        raise MissingChunksError(f"Not one of {len(gaps)} chunks could be transcribed: {next(iter(gaps.values()))}")
    transcript = merge_chunks(
        plan.job_id,
        plan.chunks,
        transcripts,
        duration_seconds=plan.audio.duration_seconds,
        model=plan.model_name or plan.model,
        model_digest=plan.model_digest,
        language=None if plan.language == AUTO else plan.language,
        gaps=gaps,
        warnings=[*plan.warnings, *unpinned[:1]],
        voices={track.channel: voice_of(services.store, track) for track in plan.tracks},
    )
    options = claim.job().options
    audio = plan.audio.model_copy(update={"warnings": []})
    task = "translate" if options.translate else transcript.task
    transcript = transcript.model_copy(update={"audio": audio, "task": task})
    searched = (options.strategy or services.settings.chunk_strategy) != "fixed"
    checks = check_quality(transcript, plan.chunks if searched else None, errors=services.settings.quality_errors)
    transcript = transcript.model_copy(update={"checks": checks})
    if not options.word_timestamps:
        transcript = transcript.without_words()
    prefix = object_keys.result_prefix(plan.job_id, claim.attempt)
    services.store.put_bytes(
        object_keys.transcript(prefix, "json"), transcript.model_dump_json().encode(), content_type="application/json"
    )
    failpoint(Failpoint.TRANSCRIPT_MERGED)
    merged = MergedTranscript(
        job_id=plan.job_id,
        prefix=prefix,
        chunks=transcript.statistics.chunks,
        words=transcript.statistics.words,
        segments=len(transcript.segments),
        gaps=len(transcript.gaps),
        engine_seconds=round(plan.engine_seconds + sum(result.engine_seconds for result in results), 3),
        cpu_seconds=round(plan.cpu_seconds + sum(result.cpu_seconds for result in results), 3),
    )
    logger.info("merged: {} words in {} segments, {} gaps", merged.words, merged.segments, merged.gaps)
    return merged
