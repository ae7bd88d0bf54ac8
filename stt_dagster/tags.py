"""What a run is labelled with, so that people find it by its job in the Dagster UI."""

from __future__ import annotations

from stt_core.jobs.job import JobModel

JOB_ID = "stt/job_id"
ATTEMPT = "stt/attempt"
#: Set by people on a run or a backfill: the model to transcribe with, in place of the source's.
MODEL = "stt/model"
#: "true" on a failed run for an object while its next attempt waits for MongoDB, which was away when the run ended.
UNTOLD = "stt/untold"
#: A tag is for finding; the job has the whole name.
_FILE_CHARACTERS = 63


def run_tags(job: JobModel) -> dict[str, str]:
    """Return the tags of the run that has the job's current attempt."""
    return {
        JOB_ID: job.job_id,
        ATTEMPT: str(job.attempt),
        "stt/priority": job.priority.value,
        "stt/lane": job.lane.value,
        "stt/file": job.filename[:_FILE_CHARACTERS],
    }
