"""Transcription jobs over HTTP. Plain functions run in worker threads, beside the event loop; who waits holds none."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from api.capacity import Capacity
from api.deps import CallerDep, JobId, NeedsStore, TasksDep
from api.job_watch import watch
from api.problems import OF_A_JOB, OF_THE_STORE, problem_responses
from api.schemas import ListQuery
from stt_core.errors import (
    BusyError,
    ConflictError,
    DatabaseUnavailableError,
    InvalidInputError,
    InvalidTransitionError,
    RecordingGoneError,
)
from stt_core.jobs.job import JobView
from stt_core.tasks.views import JobList

WaitSeconds = Annotated[int, Query(ge=0, le=60, description="Seconds to wait for the job's end, at most.")]


router = APIRouter(prefix="/api/v1/tasks", tags=["tasks"])


@router.get(
    "",
    summary="List jobs",
    response_description="A page of jobs, newest first.",
    responses=problem_responses(InvalidInputError, DatabaseUnavailableError),
)
def list_tasks(wanted: Annotated[ListQuery, Query()], caller: CallerDep, tasks: TasksDep) -> JobList:
    """Return the caller's jobs, newest first, page by page: `next_cursor` of one page is the `cursor` of the next.

    A job that comes or goes meanwhile moves none of the others to another page.
    """
    return tasks.list_tasks(status=wanted.status, cursor=wanted.cursor, limit=wanted.limit, owner=caller.owner)


@router.get(
    "/{job_id}",
    summary="Look at a job",
    responses=problem_responses(*OF_A_JOB, DatabaseUnavailableError, BusyError),
)
async def get_task_status(job_id: JobId, request: Request, caller: CallerDep, wait: WaitSeconds = 0) -> JobView:
    """Return the job's status, stage and progress, its place in the queue, and why it failed if it did.

    With `wait`, the answer comes when the job has ended, and after so many seconds at the latest.
    """
    view: JobView = await request.app.state.snapshots.look(job_id, caller.owner)
    if not wait or view.status.is_final:
        return view
    capacity: Capacity = request.app.state.capacity
    async with capacity.waiting.taken(caller.key_id):
        with request.app.state.snapshots.follow(job_id) as job:
            async for view in watch(job.look, wait, capacity.watch_threads):
                if view.status.is_final or await request.is_disconnected():
                    break
    return view


@router.delete(
    "/{job_id}",
    status_code=204,
    summary="Delete a job",
    response_description="The job is deleted.",
    dependencies=[NeedsStore],
    responses=problem_responses(*OF_A_JOB, ConflictError, *OF_THE_STORE),
)
def delete_task(job_id: JobId, caller: CallerDep, tasks: TasksDep) -> None:
    """Cancel a job that has not ended, and remove its recording, its transcript and what was known of it.

    What is left is its id: whoever asks for it is told that it was deleted (410). The texts of its sounds stay until
    `CHUNK_CACHE_DAYS` after they were heard, under the hash of the sound: they may be those of another job too.
    """
    tasks.delete_task(job_id, owner=caller.owner)


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    response_description="The job is cancelled.",
    responses=problem_responses(*OF_A_JOB, InvalidTransitionError, DatabaseUnavailableError),
)
def cancel_task(job_id: JobId, caller: CallerDep, tasks: TasksDep) -> JobView:
    """Cancel a job at any stage; a run that has it stops its engine within seconds.

    A job that is cancelled already answers the same. One that completed or failed answers 409.
    """
    return tasks.cancel_task(job_id, owner=caller.owner)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    summary="Send a failed job again",
    response_description="The job waits for its turn again.",
    dependencies=[NeedsStore],
    responses=problem_responses(*OF_A_JOB, InvalidTransitionError, RecordingGoneError, *OF_THE_STORE),
)
def retry_task(job_id: JobId, caller: CallerDep, tasks: TasksDep) -> JobView:
    """Queue a failed job with its next attempt and all its tries before it; what was transcribed is not repeated.

    Whatever it failed for: mend that first. A job that did not fail answers 409.
    """
    return tasks.retry_task(job_id, owner=caller.owner)
