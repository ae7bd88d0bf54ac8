"""Step 5: write the transcript in every format and complete the job, which makes it visible."""

from __future__ import annotations

from stt_core import object_keys
from stt_core.errors import SttError
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs.claims import Claim
from stt_core.jobs.job import JobModel, JobResult
from stt_core.logs import get_logger
from stt_core.metrics import Spread
from stt_core.processing.handover import MergedTranscript
from stt_core.services import Services
from stt_core.transcript.document import Transcript
from stt_core.transcript.formats import CONTENT_TYPES, FORMATS, render

logger = get_logger(__name__)

_PREVIEW_CHARACTERS = 200


def publish_transcript(services: Services, claim: Claim, merged: MergedTranscript) -> JobModel:
    """Write txt, srt, vtt and tsv beside the JSON, then complete the job with one compare-and-set; return the job.

    Raises:
        SupersededError: The job is no longer this run's; what was written is never seen, and swept.
    """
    transcript = Transcript.model_validate_json(services.store.get_bytes(object_keys.transcript(merged.prefix, "json")))
    for name in FORMATS:
        if name != "json":  # the merge wrote it
            services.store.put_bytes(
                object_keys.transcript(merged.prefix, name),
                render(transcript, name).encode(),
                content_type=CONTENT_TYPES[name],
            )
            failpoint(Failpoint.FORMAT_STORED)
    result = JobResult(
        prefix=merged.prefix,
        formats=list(FORMATS),
        language=transcript.language,
        duration_seconds=transcript.duration_seconds,
        words=transcript.statistics.words,
        segments=len(transcript.segments),
        gaps=len(transcript.gaps),
        warnings=transcript.warnings,
        text_preview=transcript.text[:_PREVIEW_CHARACTERS],
        model=transcript.model,
        model_digest=transcript.model_digest,
        confidence=transcript.statistics.confidence,
        speech_seconds=transcript.statistics.speech_seconds,
        engine_seconds=merged.engine_seconds,
        cpu_seconds=merged.cpu_seconds,
        checks=transcript.checks,
    )
    failpoint(Failpoint.RESULTS_STORED)
    job = claim.complete(result)
    failpoint(Failpoint.JOB_COMPLETED)
    logger.info(
        "job completed: {} words, {:.1f} s of audio in {:.1f} s",
        result.words,
        result.duration_seconds,
        job.processing_seconds,
    )
    _measure(services, job)
    _remove_prepared_audio(services, claim.job_id)
    return job


def _measure(services: Services, job: JobModel) -> None:
    values = {Spread.PROCESSING_SECONDS: job.processing_seconds}
    if job.duration_seconds:
        values[Spread.REAL_TIME_FACTOR] = job.processing_seconds / job.duration_seconds
    if job.queued_at and job.started_at:
        values[Spread.WAIT_SECONDS] = max(0.0, (job.started_at - job.queued_at).total_seconds())
    services.tallies.observe(values)
    services.tallies.count_warnings(warning.name for warning in (job.result.warnings if job.result else []))


def _remove_prepared_audio(services: Services, job_id: str) -> None:
    """Free the PCM (115 MB an hour); a completed job never needs it again."""
    try:
        services.store.remove_prefix(object_keys.audio_prefix(job_id))
    except SttError as error:
        logger.warning("the prepared audio of job {} is left to the sweep: {}", job_id, error)
