"""`stt transcribe`, `stt list`, `stt status`, `stt result`, `stt cancel`, `stt retry`, `stt delete`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from stt_cli.client import open_api
from stt_cli.console import note, out, plain, write_result
from stt_cli.follow import upload_and_wait
from stt_core.errors import InvalidInputError, SttError
from stt_core.jobs.job import JobStatus, JobView, Priority
from stt_core.logs import get_logger, setup_logging
from stt_core.options import Channels, Strategy
from stt_core.transcript.document import Transcript
from stt_core.transcript.formats import SUBTITLES, clock, render
from stt_core.transcript.subtitles import CueLayout

logger = get_logger(__name__)

#: What a shell offers as ids, and how long it waits for them, seconds.
_COMPLETIONS = 50
_COMPLETION_SECONDS = 2.0
#: Digits of an id that are shown to people, unless it takes more to tell two apart.
_DIGITS = 12


class Output(StrEnum):
    """How a transcript is written."""

    TEXT = "text"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"


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
ApiUrl = Annotated[
    str | None, typer.Option("--api-url", help="Address of the API; by default STT_API_URL or this machine.")
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Format of the transcript.")]
LineWidth = Annotated[int | None, typer.Option(help="Of subtitles: columns in a line (wide: two).", min=1, max=1000)]
LineCount = Annotated[int | None, typer.Option(help="Of subtitles with a width: lines shown at once.", min=1, max=100)]


def transcribe(
    file: Annotated[Path, typer.Argument(help="The recording: any common audio or video format.", dir_okay=False)],
    priority: Annotated[Priority | None, typer.Option(help="How soon it is wanted.")] = None,
    language: Annotated[str | None, typer.Option(help="Language spoken: en …, auto or auto-per-chunk.")] = None,
    languages: Annotated[str | None, typer.Option(help="Languages it may be, such as de,en.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of a model (`stt models list`).")] = None,
    track: Annotated[int | None, typer.Option(help="Audio track of a file with several, from 1.", min=1)] = None,
    channels: Annotated[Channels | None, typer.Option(help="Mix them, or split: each is a speaker.")] = None,
    strategy: Annotated[Strategy | None, typer.Option(help="How speech is found.")] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Leave a gap where a part cannot be transcribed.")
    ] = False,
    prompt: Annotated[str | None, typer.Option(help="Names and spellings to expect.")] = None,
    translate: Annotated[bool, typer.Option("--translate", help="Translate into English.")] = False,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature, 0 to 1.", min=0, max=1)] = None,
    output: OutputOption = Output.TEXT,
    max_line_width: LineWidth = None,
    max_line_count: LineCount = None,
    api_url: ApiUrl = None,
) -> None:
    """Transcribe a recording: upload it, wait for it, write the transcript to standard output."""
    layout = _layout(output, max_line_width, max_line_count)
    with open_api(api_url) as client:
        job = upload_and_wait(
            client,
            file,
            model=model,
            language=language,
            languages=languages,
            priority=priority,
            track=track,
            channels=channels,
            strategy=strategy,
            allow_partial=allow_partial or None,
            prompt=prompt,
            translate=translate or None,
            temperature=temperature,
        )
        transcript = client.transcript(job.job_id)
        _write(transcript, output, layout)
        for warning in transcript.warnings:
            note(f"warning: {warning.message}")
        for gap in transcript.gaps:
            note(f"no transcript from {clock(gap.start)} to {clock(gap.end)}: {gap.reason}")
        note(f"job {job.job_id}" + (f", run {job.run_url}" if job.run_url else ""))


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
    output: OutputOption = Output.TEXT,
    max_line_width: LineWidth = None,
    max_line_count: LineCount = None,
    api_url: ApiUrl = None,
) -> None:
    """Write the transcript of a completed job to standard output."""
    layout = _layout(output, max_line_width, max_line_count)
    with open_api(api_url) as client:
        _write(client.transcript(client.find_job(job_id)), output, layout)


def _write(transcript: Transcript, output: Output, layout: CueLayout) -> None:
    write_result(render(transcript, "txt" if output is Output.TEXT else output.value, layout=layout))


def _layout(output: Output, width: int | None, count: int | None) -> CueLayout:
    """Return the room for subtitles, before anything is sent or read."""
    if (width or count) and output not in SUBTITLES:
        raise InvalidInputError(f"{output} has no lines to lay out.", mend=f"Choose --output {' or '.join(SUBTITLES)}.")
    if count and not width:
        raise InvalidInputError("--max-line-count needs a --max-line-width.", mend="Give one, or leave both out.")
    return CueLayout(width, count)


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
