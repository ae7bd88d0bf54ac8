"""A request that follows the job it created, until there is a transcript.

Whoever goes away before that was never told of the job, so nobody would fetch its result: it is cancelled, unless the
request had an Idempotency-Key, with which it may come again for that very job. What was transcribed until then is kept
by its sound, so that sending the recording again goes on from there. A request that waited for as long as it may is
told of the job, which goes on; as it does where the API itself is stopped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api.job_watch import watch
from api.openai.schemas import TextDelta, TextDone
from stt_core.errors import StillAtWorkError, SttError
from stt_core.jobs.job import JobModel, JobStatus
from stt_core.logs import get_logger
from stt_core.services import Services
from stt_core.tasks.live_text import partial_texts
from stt_core.transcript.document import Transcript

logger = get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class FollowedJob:
    """A job and the request that waits for it."""

    request: Request
    job_id: str
    owner: str | None
    #: Where its result will lie, for whoever cannot wait.
    result_path: str
    #: Whether the client has a name for the request, by which it finds the job again.
    is_named: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """What every answer carries that comes after the job was created: sending it again would create another."""
        return {"X-Job-ID": self.job_id, "X-Should-Retry": "false"}

    async def transcript(self) -> Transcript:
        """Wait for the job's end and return its transcript.

        Raises:
            JobFailedError: It failed, or was cancelled.
            StillAtWorkError: It takes longer than a request waits.
            ClientDisconnect: Nobody waits any more; the job is cancelled, unless it is named.
        """
        async for _ in self._looks(lambda: (self._job(), None)):
            pass
        return await self._result()

    async def events(self) -> AsyncIterator[TextDelta | TextDone | None]:
        """Yield the text as it is heard, chunk by chunk, None while there is nothing new, and at last all of it.

        Raises: As `transcript`.
        """
        heard: list[str] = []
        space = ""
        async for texts in self._looks(lambda: self._look_for_texts(len(heard))):
            yield None
            for text in filter(None, texts):
                yield TextDelta(delta=space + text)
                space = " "
            heard.extend(texts)
        transcript = await self._result()
        rest = " ".join(segment.text for segment in transcript.segments if (segment.chunk or 0) >= len(heard))
        if rest:
            yield TextDelta(delta=space + rest)
        yield TextDone(text=transcript.text)

    async def _looks(self, look: Callable[[], tuple[JobModel, T]]) -> AsyncIterator[T]:
        seconds = self._services.settings.openai_wait_seconds
        async for job, seen in watch(look, seconds, self.request.app.state.capacity.watch_threads):
            if job.status.is_final:
                return
            if await self.request.is_disconnected():
                if not self.is_named:
                    await run_in_threadpool(self._abandon)
                raise ClientDisconnect
            yield seen
        raise StillAtWorkError(
            f"Job {self.job_id} is still at work after {seconds:g} s; it goes on.",
            mend=f"Fetch its transcript from {self.result_path}; send long recordings to POST /api/v1/tasks/upload.",
        )

    def _job(self) -> JobModel:
        return self._services.jobs.get_job(self.job_id, owner=self.owner)

    def _look_for_texts(self, first: int) -> tuple[JobModel, list[str]]:
        job = self._job()
        if job.status is not JobStatus.PROCESSING:
            return job, []
        return job, partial_texts(self._services.chunks, self._services.store, self.job_id, first)

    async def _result(self) -> Transcript:
        async with self.request.app.state.capacity.store.taken():
            return await run_in_threadpool(self._services.tasks.get_task_result, self.job_id, owner=self.owner)

    def _abandon(self) -> None:
        logger.warning("nobody waits for job {} any more: it is cancelled", self.job_id)
        try:
            self._services.tasks.cancel_task(self.job_id, owner=self.owner)
        except SttError as error:
            logger.warning("job {} goes on: {}", self.job_id, error)

    @property
    def _services(self) -> Services:
        return cast("Services", self.request.app.state.services)
