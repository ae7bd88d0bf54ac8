"""`stt demo`: one recording through the whole system, with everything started for it and stopped after it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Annotated

import jiwer
import typer
from rich.text import Text

from stt_cli.client import ApiClient
from stt_cli.console import err, note, out
from stt_cli.dagster import DagsterClient, DagsterRefusedError, DagsterUnreachableError
from stt_cli.follow import upload_and_wait
from stt_cli.local_stack.home import StackHome, is_free
from stt_cli.local_stack.log_file import LogFile
from stt_cli.local_stack.processes import running_state
from stt_cli.local_stack.servers import given_variables
from stt_cli.local_stack.stack import running_stack
from stt_cli.samples import Sample, human_sample, own_sample
from stt_core import object_keys
from stt_core.jobs.job import JobView
from stt_core.logs import get_logger
from stt_core.settings import Settings, load_settings
from stt_core.transcript.document import Transcript

logger = get_logger(__name__)

#: How long a run may take to end after its job, and how often it is looked at, seconds.
_RUN_SECONDS = 15.0
_INTERVAL = 0.2


def demo(
    file: Annotated[
        Path | None, typer.Argument(help="Your own recording; by default a known one.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Transcribe a human voice, or your recording, through the whole system; then stop everything that was started.

    Model and recording are fetched once. Where that fails, the bundled recording and the bundled model, which knows 266
    words of synthetic speech, show how the system works, not how well whisper hears.
    """
    settings = load_settings()
    sample = own_sample(file, settings) if file else human_sample(settings)
    with _api(settings) as url, ApiClient(url, settings.stt_api_key) as client:
        job = upload_and_wait(client, sample.recording, model=sample.model, language=sample.language)
        transcript = client.transcript(job.job_id)
        _show_transcript(transcript)
        _show_facts(settings, sample, job, transcript)
        _await_end_of_run(job)


def _await_end_of_run(job: JobView) -> None:
    """Wait for what a run does after its job is completed: a run that is stopped in it stands there as failed."""
    if not job.run_id or not job.run_url:
        return
    deadline = time.monotonic() + _RUN_SECONDS
    with closing(DagsterClient(job.run_url.partition("/runs/")[0])) as dagster:
        try:
            while not dagster.has_ended(job.run_id) and time.monotonic() < deadline:
                time.sleep(_INTERVAL)
        except (DagsterUnreachableError, DagsterRefusedError) as error:
            logger.warning("whether the run is over cannot be told: {}", error)


def word_error_rate(reference: str, transcript: str) -> float:
    """Return the share of the reference's words that are wrong, missing or added, without case and punctuation."""
    return float(jiwer.wer(_words(reference), _words(transcript)))


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower()))


@contextmanager
def _api(settings: Settings) -> Iterator[str]:
    """Give the address of an API: of the stack that runs in this home, else of one started for the purpose."""
    home = StackHome.at(settings.stt_home)
    state = running_state(home)
    if state and state.get("ready"):
        note(f"Using the stack that runs in {home.path}.")
        yield state["api_url"]
        return
    given = given_variables()
    own = settings.model_copy(
        update={
            "stt_api_port": _port(home, settings.stt_api_port, "STT_API_PORT", given),
            "stt_dagster_port": _port(home, settings.stt_dagster_port, "STT_DAGSTER_PORT", given),
            "stt_api_url": None,
            "stt_dagster_url": None,
        }
    )
    with ExitStack() as context:
        with err.status("starting the stack"):
            context.enter_context(running_stack(own, write_line=LogFile(home.log_file).write))
        note(f"The stack is ready: API {own.api_url}/docs, Dagster UI {own.dagster_url}, log {home.log_file}")
        yield own.api_url
        note("Stopping the stack; `stt up` starts it again, with this job still there.")


def _port(home: StackHome, wanted: int, variable: str, given: Mapping[str, str | None]) -> int:
    """Return the usual port, or a free one when it is taken and nobody asked for it."""
    return wanted if given.get(variable) or is_free(wanted) else home.port(f"demo-{variable}")


def _show_transcript(transcript: Transcript) -> None:
    out.print()
    for segment in transcript.segments:
        times = f"{segment.start:6.2f} - {segment.end:6.2f}"
        out.print(Text.assemble((times, "cyan"), "  ", segment.text), soft_wrap=True)
    out.print()
    for warning in transcript.warnings:
        note(f"warning: {warning.message}")


def _show_facts(settings: Settings, sample: Sample, job: JobView, transcript: Transcript) -> None:
    facts = {"recording": sample.about, "model": sample.model}
    if sample.reference:
        wrong = word_error_rate(sample.reference, transcript.text)
        facts["word error rate"] = f"{wrong:.2%} of {len(_words(sample.reference).split())} words"
    if job.completed_at:
        seconds = (job.completed_at - job.created_at).total_seconds()
        length = transcript.duration_seconds
        facts["speed"] = f"{seconds:.1f} s from upload to transcript, for {length:.1f} s of audio"
    if job.result:
        results = object_keys.transcript(job.result.prefix, f"{{{','.join(job.result.formats)}}}")
        facts["results"] = f"{settings.minio_bucket}/{results} (bucket and keys in the object store)"
    if job.run_url:
        facts["run"] = job.run_url
    for name, value in facts.items():
        out.print(Text.assemble((f"{name:<17}", "bold"), value), soft_wrap=True)
