"""Following a job: upload, a progress bar fed by what the job really did, the transcript."""

from __future__ import annotations

import time
from pathlib import Path

from rich.progress import Progress, TaskID, TaskProgressColumn

from stt_cli.client import ApiClient, ApiUnreachableError
from stt_cli.console import note, progress_bar
from stt_core.errors import InvalidInputError, JobFailedError
from stt_core.jobs.job import JobStatus, JobView
from stt_core.logs import get_logger
from stt_core.whisper.catalog import CATALOG

logger = get_logger(__name__)

#: How often the job is looked at, seconds: seldom enough for any number of clients, often enough for the eye.
_INTERVAL = 0.25
#: How long an API that went away (a restart) is waited for, seconds.
_PATIENCE = 60.0


def upload_and_wait(client: ApiClient, file: Path, **fields: str | float | None) -> JobView:
    """Upload a recording and wait until it is transcribed, with a progress bar on standard error.

    Args:
        client: The API.
        file: The recording.
        fields: Those of the upload form beside the file; the API's defaults where None.

    Raises:
        InvalidInputError: The file cannot be read.
        ApiRefusedError: The API does not want it.
        ApiUnreachableError: The API does not answer.
        JobFailedError: The job failed or was cancelled.
    """
    with progress_bar("uploading", TaskProgressColumn()) as (progress, bar):
        try:
            with progress.open(file, "rb", task_id=bar, description="uploading") as stream:
                job = client.upload(stream, file.name, **fields)
        except OSError as error:
            raise InvalidInputError(f"{file} cannot be read: {error.strerror}.", mend="Check the path.") from error
        entry = CATALOG.get(job.model)
        if entry and entry.notice:
            progress.console.print(f"[yellow]note:[/] {entry.notice}")
        try:
            return _wait(client, job, progress, bar)
        except KeyboardInterrupt:
            logger.info("waiting for {} was interrupted", job.job_id)
            note(f"The job goes on. Look at it with `stt status {job.job_id}`, then `stt result {job.job_id}`.")
            raise


def _wait(client: ApiClient, job: JobView, progress: Progress, bar: TaskID) -> JobView:
    last_answer = time.monotonic()
    while not job.status.is_final:
        _show(job, progress, bar)
        time.sleep(_INTERVAL)
        try:
            job = client.job(job.job_id)
            last_answer = time.monotonic()
        except ApiUnreachableError as error:
            if time.monotonic() - last_answer > _PATIENCE:
                raise
            logger.debug("waiting for the API: {}", error)
            progress.update(bar, description="waiting for the API")
    if job.status is JobStatus.COMPLETED:
        progress.update(bar, description="done", completed=1, total=1, facts="")
        return job
    if job.error:
        raise JobFailedError(f"The job {job.job_id} failed: {job.error.message}", mend=job.error.mend)
    raise JobFailedError(f"The job {job.job_id} was cancelled.")


def _show(job: JobView, progress: Progress, bar: TaskID) -> None:
    done = job.progress
    facts = ""
    if job.status is JobStatus.QUEUED and job.queue_position:
        facts = f"{job.queue_position} before it" if job.queue_position > 1 else "next"
    elif done.chunks_total:
        facts = f"{done.audio_seconds_done:.0f}/{done.audio_seconds_total:.0f} s of audio"
        facts += f", {done.chunks_done}/{done.chunks_total} chunks"
    if job.attempt > 1:
        facts += f" (attempt {job.attempt})"
    progress.update(
        bar,
        description=job.stage or job.status,
        completed=done.audio_seconds_done,
        total=done.audio_seconds_total or None,
        facts=facts,
    )
