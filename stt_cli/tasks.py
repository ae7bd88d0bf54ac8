"""`stt list`, `stt status`, `stt result`, `stt cancel`, `stt retry`, `stt delete`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from stt_cli.client import ApiUrl, open_api
from stt_cli.console import note, out, plain, write_result
from stt_cli.recordings import Recording
from stt_cli.results import FormatOption, LineCount, LineWidth, OutputOption, OverwriteOption, choose_destination
from stt_core.errors import InvalidInputError, SttError
from stt_core.jobs.job import JobStatus, JobView
from stt_core.logs import get_logger, setup_logging
from stt_core.transcript.formats import clock

logger = get_logger(__name__)

#: What a shell offers as ids, and how long it waits for them, seconds.
_COMPLETIONS = 50
_COMPLETION_SECONDS = 2.0
#: Digits of an id that are shown to people, unless it takes more to tell two apart.
_DIGITS = 12


def _recent_jobs(incomplete: str) -> list[tuple[str, str]]:
    """Return the ids of the latest jobs for a shell to complete, with the names of their files."""
    setup_logging("CRITICAL")  # a shell that completes a word shows nothing else
    try:
        with open_api(None, timeout=_COMPLETION_SECONDS) as client:
            jobs = client.jobs(limit=_COMPLETIONS).tasks
    except SttError as error:
        logger.debug("nothing to complete: {!r}", error)
        return []
    return [(job.job_id, str(plain(job.filename))) for job in jobs if job.job_id.startswith(incomplete)]


JobId = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="Id of the job, as `stt transcribe` tells it; its first digits are enough, `last` is the newest.",
        autocompletion=_recent_jobs,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write what the API answers, for programs.")]


def status(job_id: JobId, as_json: AsJson = False, api_url: ApiUrl = None) -> None:
    """Show where a job stands."""
    with open_api(api_url) as client:
        job = client.job(client.find_job(job_id))
        if as_json:
            write_result(f"{job.model_dump_json(indent=2)}\n")
            return
        out.print(_table(job))
        if job.status is JobStatus.FAILED:
            note(f"Once that is mended, `stt retry {job.job_id}` sends it again.")


def list_jobs(
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=200)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the list before left off; it says so.")] = None,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """List jobs, newest first: on a terminal by the first digits of their ids, else by the whole ids."""
    with open_api(api_url) as client:
        page = client.jobs(status=status, limit=limit, cursor=cursor)
    if as_json:
        write_result(f"{page.model_dump_json(indent=2)}\n")
        return
    digits = _digits([job.job_id for job in page.tasks]) if sys.stdout.isatty() else None
    columns = [Column(name, no_wrap=True) for name in ("job", "status", "created (UTC)", "length", "file")]
    table = Table(*columns, box=None, header_style="bold")
    for job in page.tasks:
        length = clock(job.duration_seconds) if job.duration_seconds is not None else ""
        table.add_row(
            job.job_id[:digits], job.status, f"{job.created_at:%Y-%m-%d %H:%M:%S}", length, plain(job.filename)
        )
    out.print(table)
    if page.next_cursor:
        note(f"older ones: --cursor {page.next_cursor}")


def delete(job_id: JobId, api_url: ApiUrl = None) -> None:
    """Delete a job with its recording and its transcript; one that has not ended is cancelled."""
    with open_api(api_url) as client:
        found = client.find_job(job_id)
        client.delete(found)
        note(f"job {found} is deleted")


def cancel(job_id: JobId, api_url: ApiUrl = None) -> None:
    """Cancel a job that has not ended."""
    with open_api(api_url) as client:
        out.print(_table(client.cancel(client.find_job(job_id))))


def retry(job_id: JobId, api_url: ApiUrl = None) -> None:
    """Send a failed job again; what was transcribed is not repeated."""
    with open_api(api_url) as client:
        out.print(_table(client.retry(client.find_job(job_id))))


def result(
    job_id: JobId,
    output: OutputOption = None,
    format: FormatOption = None,
    overwrite: OverwriteOption = False,
    max_line_width: LineWidth = None,
    max_line_count: LineCount = None,
    api_url: ApiUrl = None,
) -> None:
    """Write the transcript of a completed job."""
    destination = choose_destination(output, format, overwrite=overwrite, width=max_line_width, count=max_line_count)
    with open_api(api_url) as client:
        found = client.find_job(job_id)
        name = Path(client.job(found).filename).name if destination.folder else found
        [place] = destination.places([Recording(found, None, Path(name))])
        if destination.is_there(place):
            raise InvalidInputError(f"{place} is there already.", mend="--overwrite replaces it.")
        destination.write(client.transcript(found), place)


def _digits(ids: list[str]) -> int:
    """Return how many digits of these ids tell each from the others."""
    return next(count for count in range(_DIGITS, 33) if len({one[:count] for one in ids}) == len(ids))


def _table(job: JobView) -> Table:
    done = job.progress
    rows: dict[str, object] = {
        "job": job.job_id,
        "file": job.filename,
        "status": job.status,
        "stage": job.stage,
        "audio": f"{done.audio_seconds_done:.0f} of {done.audio_seconds_total:.0f} s" if done.chunks_total else None,
        "chunks": f"{done.chunks_done} of {done.chunks_total}" if done.chunks_total else None,
        "queue position": job.queue_position,
        "priority": job.priority,
        "model": job.model,
        "language": job.language,
        "attempt": job.attempt,
        "created": f"{job.created_at:%Y-%m-%d %H:%M:%S} UTC",
        "completed": f"{job.completed_at:%Y-%m-%d %H:%M:%S} UTC" if job.completed_at else None,
        "error": job.error.message if job.error else None,
        "mend": job.error.mend if job.error else None,
        "run": job.run_url,
        "gaps": job.result.gaps or None if job.result else None,
        "warning": "\n".join(warning.message for warning in job.result.warnings) or None if job.result else None,
        "results": job.result.prefix if job.result else None,
    }
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        if value is not None:
            table.add_row(Text(name, "bold"), plain(str(value)))
    return table
