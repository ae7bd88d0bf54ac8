"""`stt transcribe`: any number of recordings, each on its own; what becomes of one does not touch the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from stt_cli.client import ApiClient, ApiUnreachableError, ApiUrl, open_api
from stt_cli.console import note, one_line, show_error, write_result
from stt_cli.follow import Ended, Follower
from stt_cli.models import complete_models, ensure_model
from stt_cli.recordings import Recording, find_recordings
from stt_cli.results import (
    Destination,
    FormatOption,
    LineCount,
    LineWidth,
    OutputOption,
    OverwriteOption,
    choose_destination,
)
from stt_core.errors import InvalidInputError, SttError
from stt_core.jobs.job import JobView, Priority
from stt_core.logs import get_logger
from stt_core.options import Channels, Strategy
from stt_core.transcript.document import Transcript
from stt_core.transcript.formats import clock

logger = get_logger(__name__)


@dataclass
class _Tally:
    """What became of the recordings."""

    transcribed: int = 0
    sent: int = 0
    there: int = 0
    unsent: int = 0
    failures: list[tuple[str, SttError]] = field(default_factory=list)

    @contextmanager
    def failing(self, named: str) -> Iterator[None]:
        """Count an error of the block as the failure of this recording."""
        try:
            yield
        except SttError as error:
            logger.info("{} failed: {!r}", named, error)
            self.failures.append((named, error))

    @property
    def total(self) -> int:
        return self.transcribed + self.sent + self.there + self.unsent + len(self.failures)

    def conclude(self) -> None:
        """Say what became of them, each one's failure too.

        Raises:
            SttError: That of the only one.
            SystemExit: One failed.
        """
        if self.total == 1 and self.failures:
            raise self.failures[0][1]
        if self.total > 1:
            parts = {
                "transcribed": self.transcribed,
                "sent": self.sent,
                "there already": self.there,
                "not sent": self.unsent,
                "failed": len(self.failures),
            }
            facts = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
            note(f"Of {self.total} recordings: {facts}.")
        self.say_failures()
        if self.failures:
            raise SystemExit(1)

    def say_failures(self) -> None:
        """Say each failure once, with all that it happened to."""
        same: dict[tuple[str, str | None], list[str]] = {}
        for named, error in self.failures:
            same.setdefault((error.message, error.mend), []).append(named)
        for (message, mend), names in same.items():
            where = "" if names[0] in message else f"{', '.join(names)}: "
            show_error(InvalidInputError(where + message, mend=mend))


def transcribe(
    recordings: Annotated[
        list[str],
        typer.Argument(
            metavar="RECORDING...",
            help="Files of any common audio or video format, folders of them, or - for standard input. "
            "A name that begins with a dash: ./-NAME.",
            show_default=False,
        ),
    ],
    priority: Annotated[Priority | None, typer.Option(help="How soon it is wanted.")] = None,
    language: Annotated[str | None, typer.Option(help="Language spoken: en …, auto or auto-per-chunk.")] = None,
    languages: Annotated[str | None, typer.Option(help="Languages it may be, such as de,en.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Name of a model (`stt models list`).", autocompletion=complete_models)
    ] = None,
    track: Annotated[int | None, typer.Option(help="Audio track of a file with several, from 1.", min=1)] = None,
    channels: Annotated[Channels | None, typer.Option(help="Mix them, or split: each is a speaker.")] = None,
    strategy: Annotated[Strategy | None, typer.Option(help="How speech is found.")] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Leave a gap where a part cannot be transcribed.")
    ] = False,
    prompt: Annotated[str | None, typer.Option(help="Names and spellings to expect.")] = None,
    translate: Annotated[bool, typer.Option("--translate", help="Translate into English.")] = False,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature, 0 to 1.", min=0, max=1)] = None,
    output: OutputOption = None,
    format: FormatOption = None,
    beside: Annotated[bool, typer.Option("--beside", help="Write each transcript next to its recording.")] = False,
    overwrite: OverwriteOption = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return once they are sent; the ids of their jobs are standard output.")
    ] = False,
    max_line_width: LineWidth = None,
    max_line_count: LineCount = None,
    api_url: ApiUrl = None,
) -> None:
    """Transcribe recordings: upload them, wait for them, write their transcripts. One failed: the exit status is 1."""
    destination = choose_destination(
        output, format, beside=beside, overwrite=overwrite, width=max_line_width, count=max_line_count
    )
    if no_wait and (output or format or beside):
        raise InvalidInputError("--no-wait writes no transcript.", mend="Leave it out, or --output and the like.")
    tally = _Tally()
    found = _find_all(recordings, tally)
    if found:
        fields = {
            "language": language,
            "languages": languages,
            "priority": priority,
            "track": track,
            "channels": channels,
            "strategy": strategy,
            "allow_partial": allow_partial or None,
            "prompt": prompt,
            "translate": translate or None,
            "temperature": temperature,
        }
        with open_api(api_url) as client:
            places = dict(zip(found, destination.places(found), strict=True))
            ensure_model(client, model)
            batch = _Batch(client, destination, places, tally)
            try:
                batch.run({"model": model, **fields}, wait=not no_wait)
            except KeyboardInterrupt:
                tally.say_failures()
                if tally.unsent:
                    note(f"{tally.unsent} were not sent.")
                raise
    tally.conclude()


class _Batch:
    """Recordings that are transcribed together, and the place of each one's transcript."""

    def __init__(
        self, client: ApiClient, destination: Destination, places: Mapping[Recording, Path | None], tally: _Tally
    ) -> None:
        self._client = client
        self._destination = destination
        self._places = places
        self._tally = tally
        self._several = len(places) + len(tally.failures) > 1
        #: Those for standard output, which are written in the order of their recordings, once no bar is in between.
        self._for_output: dict[Recording, Transcript] = {}

    def run(self, fields: Mapping[str, str | float | None], *, wait: bool) -> None:
        """Upload them, and wait for their transcripts."""
        try:
            with Follower(self._client, several=self._several) as follower:
                self._upload(follower, fields, wait=wait)
                for ended in follower.wait():
                    self._take(ended)
        finally:
            written = [recording for recording in self._places if recording in self._for_output]
            for number, recording in enumerate(written):
                if self._several:  # as head and tail tell files apart
                    write_result(("\n" if number else "") + f"==> {recording.named} <==\n")
                self._destination.write(self._for_output[recording], None)

    def _upload(self, follower: Follower, fields: Mapping[str, str | float | None], *, wait: bool) -> None:
        away = False
        for number, (recording, place) in enumerate(self._places.items(), start=1):
            self._tally.unsent = len(self._places) - number
            with self._tally.failing(recording.named):
                if self._destination.is_there(place):
                    note(f"{recording.named}: {one_line(str(place))} is there already (--overwrite replaces it)")
                    self._tally.there += 1
                    continue
                try:
                    job = follower.upload(recording, fields, follow=wait)
                except ApiUnreachableError:
                    away = True
                    raise
                if not wait:
                    write_result(f"{job.job_id}\n")
                    self._tally.sent += 1
            if away:  # nor will it take the others
                return
            if ended := follower.look():
                self._take(ended)

    def _take(self, ended: Ended) -> None:
        place = self._places[ended.recording]
        with self._tally.failing(ended.recording.named):
            if ended.error:
                raise ended.error
            transcript = self._client.transcript(ended.job.job_id)
            if place is None:
                self._for_output[ended.recording] = transcript
            else:
                self._destination.write(transcript, place)
            self._tally.transcribed += 1
            _report(transcript, ended.job, place, f"{ended.recording.named}: " if self._several else "")


def _report(transcript: Transcript, job: JobView, place: Path | None, prefix: str) -> None:
    for warning in transcript.warnings:
        note(f"{prefix}warning: {warning.message}")
    for gap in transcript.gaps:
        note(f"{prefix}no transcript from {clock(gap.start)} to {clock(gap.end)}: {gap.reason}")
    facts = [f"job {job.job_id}", f"run {job.run_url}" if job.run_url else "", one_line(str(place or ""))]
    note(prefix + ", ".join(filter(None, facts)))


def _find_all(named: Sequence[str], tally: _Tally) -> list[Recording]:
    """Return the recordings that are named, each once."""
    found: dict[Path | None, Recording] = {}
    for one in named:
        with tally.failing(one_line(one)):
            for recording in find_recordings(one):
                found.setdefault(recording.path and recording.path.resolve(), recording)
    return list(found.values())
