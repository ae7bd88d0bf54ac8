"""A job as it goes, as server-sent events. A follower holds a connection and no thread."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.deps import CallerDep, JobId, NeedsWaitingPlace, TasksDep
from api.examples import EVENTS
from api.job_watch import SharedJob, watch
from api.problems import OF_A_JOB, problem_responses
from stt_core.errors import BusyError, DatabaseUnavailableError, JobNotFoundError
from stt_core.jobs.job import JobView
from stt_core.logs import get_logger
from stt_core.tasks.live_text import ChunkText

logger = get_logger(__name__)

router = APIRouter(prefix="/api/v1/tasks/{job_id}", tags=["tasks"])

#: A stream ends after so long at the latest, seconds; a browser comes again by itself.
_LONGEST_SECONDS = 3600.0


async def follow_job(job_id: JobId, request: Request, caller: CallerDep, tasks: TasksDep) -> AsyncIterator[SharedJob]:
    """Hold the job of the request, which is the caller's, until the answer has ended."""
    await run_in_threadpool(tasks.get_task_status, job_id, owner=caller.owner)
    with request.app.state.snapshots.follow(job_id) as job:
        yield job


WatchedJob = Annotated[SharedJob, Depends(follow_job)]


@router.get(
    "/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    response_description="Events until the job has ended.",
    dependencies=[NeedsWaitingPlace],
    responses={
        200: {"content": {"text/event-stream": {"example": EVENTS}}},
        **problem_responses(*OF_A_JOB, DatabaseUnavailableError, BusyError),
    },
)
async def get_task_events(request: Request, job: WatchedJob) -> AsyncIterator[ServerSentEvent]:
    """Send what happens to a job as server-sent events, each with JSON as its data.

    - `status`: the job, as `GET /api/v1/tasks/{job_id}` answers, at first and whenever its status, stage or attempt is
      another.
    - `progress`: how many chunks and seconds of speech are done.
    - `text`: what was heard in a chunk, with its number and its place in the recording, as soon as it is. Chunks come
      as they are finished. The transcript may say it better.
    - `end`: the job, once it has ended. Close the connection then: a browser would connect again.

    A comment every 15 seconds keeps the connection open. Whoever connects again is told all of it once more.
    """
    try:
        async for event in _events(watch(job.listen, _LONGEST_SECONDS, request.app.state.capacity.watch_threads)):
            yield event
    except JobNotFoundError as error:  # whoever connects again is told so
        logger.warning("a job is followed no further: {}", error)


async def _events(looks: AsyncIterator[tuple[JobView, list[ChunkText]]]) -> AsyncIterator[ServerSentEvent]:
    told: dict[str, Any] = {}
    texts_told = 0
    async for view, texts in looks:
        # By the name of its event: what is to be told when it changes, and the data that it is told with.
        facts = {"status": ((view.status, view.stage, view.attempt), view), "progress": (view.progress, view.progress)}
        for name, (state, data) in facts.items():
            if told.get(name) != state:
                told[name] = state
                yield ServerSentEvent(event=name, data=data)
        new = texts[texts_told:]
        texts_told += len(new)
        for text in new:
            yield ServerSentEvent(event="text", data=text)
        if view.status.is_final:
            yield ServerSentEvent(event="end", data=view)
            return
