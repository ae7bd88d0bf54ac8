"""Following jobs: uploads, bars of progress fed by what each job really did, and how each ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.progress import TaskID, TaskProgressColumn

from stt_cli.client import ApiClient, ApiRefusedError, ApiUnreachableError
from stt_cli.console import add_bar, err, note, plain, progress_bars
from stt_cli.recordings import Recording, find_recordings
from stt_core.errors import JobFailedError, SttError
from stt_core.jobs.job import JobStatus, JobView
from stt_core.logs import get_logger
from stt_core.whisper.catalog import CATALOG

logger = get_logger(__name__)

#: How often a job is looked at, seconds: seldom enough for any number of clients, often enough for the eye.
_INTERVAL = 0.25
#: How long an API that went away (a restart) is waited for, seconds.
_PATIENCE = 60.0
#: What the end of a job is called, where that is not the name of its status.
_DONE = {JobStatus.COMPLETED: "done"}


@dataclass(frozen=True)
class Ended:
    """A recording whose job has ended: completed, unless there is an error."""

    recording: Recording
    job: JobView
    error: SttError | None = None


@dataclass
class _UnderWay:
    recording: Recording
    job: JobView
    bar: TaskID
    #: What its bar counts to at present.
    total: float = 0.0


class Follower:
    """Uploads recordings and follows their jobs to the end, with a bar each; the jobs outlive it.

    Args:
        client: The API.
        several: Whether there is more than one recording: they are told apart by their names.
    """

    def __init__(self, client: ApiClient, *, several: bool = False) -> None:
        self._client = client
        self._several = several
        self._progress = progress_bars(TaskProgressColumn(), named=several)
        self._under_way: deque[_UnderWay] = deque()
        self._last_answer = 0.0
        self._notices: set[str] = set()

    def upload(self, recording: Recording, fields: Mapping[str, str | float | None], *, follow: bool = True) -> JobView:
        """Upload a recording and return its job.

        Args:
            recording: What to send.
            fields: Those of the upload form beside the file; the API's defaults where None.
            follow: Whether the job is followed from then on.

        Raises:
            InvalidInputError: It cannot be read.
            DiskFullError: There is no room to spool it.
            ApiRefusedError: The API does not want it.
            ApiUnreachableError: The API does not answer.
        """
        bar = add_bar(self._progress, "reading", name=recording.filename)
        try:
            with recording.opened() as file:
                size = file.seek(0, 2)
                file.seek(0)
                self._progress.update(bar, description="uploading", total=size)
                job = self._client.upload(self._progress.wrap_file(file, task_id=bar), recording.filename, **fields)
        except BaseException:
            self._progress.remove_task(bar)
            raise
        self._last_answer = time.monotonic()
        self._say_notice(job.model)
        if follow:
            self._under_way.append(_UnderWay(recording, job, bar))
            self._show(self._under_way[-1])
        else:
            self._progress.remove_task(bar)
        return job

    def look(self) -> Ended | None:
        """Look at the job whose turn it is; return it where it has ended, or the API was away for a minute."""
        if not self._under_way:
            return None
        one = self._under_way[0]
        error: SttError | None = None
        try:
            one.job = self._client.job(one.job.job_id)
            self._last_answer = time.monotonic()
        except ApiUnreachableError as away:
            logger.debug("waiting for the API: {}", away)
            if time.monotonic() - self._last_answer < _PATIENCE:
                self._progress.update(one.bar, description="waiting", facts="for the API")
                self._under_way.rotate(-1)
                return None
            self._say_it_goes_on(one)
            error = away
        except ApiRefusedError as refusal:  # it was deleted meanwhile
            logger.info("job {} cannot be followed: {}", one.job.job_id, refusal)
            error = refusal
        if error is None and not one.job.status.is_final:
            self._show(one)
            self._under_way.rotate(-1)
            return None
        if self._several or error:
            self._progress.remove_task(one.bar)
            self._arrange()
        else:
            word = _DONE.get(one.job.status, one.job.status)
            self._progress.update(one.bar, description=word, completed=1, total=1, facts="")
        self._under_way.popleft()
        return Ended(one.recording, one.job, error or _failure(one.job))

    def wait(self) -> Iterator[Ended]:
        """Yield each job as `look` returns it, until all have ended."""
        while self._under_way:
            if ended := self.look():
                yield ended
            else:
                time.sleep(_INTERVAL)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        for one in sorted(self._under_way, key=lambda one: one.job.job_id):
            self._say_it_goes_on(one)

    def _say_it_goes_on(self, one: _UnderWay) -> None:
        name = f"{one.recording.named}: " if self._several else ""
        job = one.job.job_id
        note(f"{name}The job goes on. Look at it with `stt status {job}`, then `stt result {job}`.")

    def _show(self, one: _UnderWay) -> None:
        job, done = one.job, one.job.progress
        facts = ""
        if job.status is JobStatus.QUEUED and job.queue_position:
            facts = f"{job.queue_position} before it" if job.queue_position > 1 else "next"
        elif done.chunks_total:
            facts = f"{done.audio_seconds_done:.0f}/{done.audio_seconds_total:.0f} s"
            facts += f", {done.chunks_done}/{done.chunks_total} chunks"
        if job.attempt > 1:
            facts += f" (attempt {job.attempt})"
        total = done.audio_seconds_total or 1.0
        if total != one.total:  # another step begins, and with it the estimate
            one.total = total
            self._progress.update(one.bar, since=self._progress.get_time())
        self._progress.update(
            one.bar,
            description=job.stage or job.status,
            completed=done.audio_seconds_done,
            total=total,
            facts=facts,
        )
        self._arrange()

    def _arrange(self) -> None:
        """Show as many bars as the terminal has lines for, those first that came first."""
        room = max(err.height - 2, 1)
        for place, bar in enumerate(self._progress.task_ids):
            self._progress.update(bar, visible=place < room)

    def _say_notice(self, model: str) -> None:
        entry = CATALOG.get(model)
        if entry and entry.notice and entry.notice not in self._notices:
            self._notices.add(entry.notice)
            err.print("[yellow]note:[/]", plain(entry.notice))


def upload_and_wait(client: ApiClient, file: Path, **fields: str | float | None) -> JobView:
    """Upload a recording and wait until it is transcribed, with a progress bar on standard error.

    Args:
        client: The API.
        file: The recording.
        fields: Those of the upload form beside the file; the API's defaults where None.

    Raises:
        InvalidInputError: The file cannot be read.
        ApiRefusedError: The API does not want it.
        ApiUnreachableError: The API does not answer, or was away for a minute.
        JobFailedError: The job failed or was cancelled.
    """
    [recording] = find_recordings(str(file))
    with Follower(client) as follower:
        follower.upload(recording, fields)
        [ended] = follower.wait()
    if ended.error:
        raise ended.error
    return ended.job


def _failure(job: JobView) -> JobFailedError | None:
    if job.status is JobStatus.COMPLETED:
        return None
    if job.error:
        return JobFailedError(f"The job {job.job_id} failed: {job.error.message}", mend=job.error.mend)
    return JobFailedError(f"The job {job.job_id} was cancelled.")
