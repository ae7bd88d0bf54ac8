"""What people see of a step in the Dagster UI, and of a transcript as an asset."""

from __future__ import annotations

from typing import Any

from dagster import AssetCheckResult, AssetCheckSeverity, MetadataValue

from stt_core.jobs.job import JobModel
from stt_core.processing.handover import PreparedAudio
from stt_dagster.resources import SttResource


def describe_audio(prepared: PreparedAudio, stt: SttResource) -> dict[str, Any]:
    """Return what is shown of a decoded recording."""
    return {
        "job": MetadataValue.url(stt.task_url(prepared.job_id)),
        "duration_seconds": round(prepared.audio.duration_seconds, 3),
        "codec": prepared.audio.codec,
        "channels": prepared.audio.channels,
        "channels_used": ", ".join(map(str, prepared.audio.channels_used)) or "all",
        "track": f"{prepared.audio.track} of {len(prepared.audio.tracks)}",
        "warnings": ", ".join(warning.name for warning in prepared.audio.warnings) or "none",
    }


def describe_transcript(job: JobModel, stt: SttResource) -> dict[str, Any]:
    """Return what is shown of a completed job's transcript.

    The real-time factor is the seconds from the claim of the job to its end, divided by those of the recording.
    """
    result = job.result
    if result is None:
        return {}
    seconds = result.duration_seconds
    return {
        # As text: it is what somebody said, and Markdown would be rendered.
        "preview": MetadataValue.text(result.text_preview),
        "transcript": MetadataValue.url(f"{stt.task_url(job.job_id)}/result"),
        "job": MetadataValue.url(stt.task_url(job.job_id)),
        "duration_seconds": round(seconds, 3),
        "real_time_factor": round(job.processing_seconds / seconds, 3) if seconds else None,
        "language": result.language,
        "words": result.words,
        "gaps": result.gaps,
        "model": result.model,
        "model_digest": result.model_digest,
        "warnings": MetadataValue.text(
            "\n".join(f"{warning.name}: {warning.message}" for warning in result.warnings) or "none"
        ),
    }


def describe_checks(job: JobModel) -> list[AssetCheckResult]:
    """Return what the checks of a completed job's transcript found, as checks of its asset."""
    return [
        AssetCheckResult(
            check_name=check.name,
            passed=check.passed,
            severity=AssetCheckSeverity.ERROR if check.severity == "error" else AssetCheckSeverity.WARN,
            description=check.description,
            metadata={"value": check.value, "limit": check.limit},
        )
        for check in (job.result.checks if job.result else [])
    ]
