"""What belongs to a job: its transcript, its chunks, its recording."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.deps import CallerDep, JobId, NeedsStore, TasksDep
from api.formats import CONTENT_OF_ANSWERS, ResultQuery, choose_format, transcript_response
from api.problems import OF_A_JOB, OF_THE_STORE, problem_responses
from api.recordings import recording_response
from stt_core.errors import (
    DatabaseUnavailableError,
    InvalidInputError,
    JobDeletedError,
    JobFailedError,
    JobNotFoundError,
    NotAcceptableError,
    RangeNotSatisfiableError,
    RecordingGoneError,
    ResultNotReadyError,
)
from stt_core.tasks.views import ChunkList
from stt_core.transcript.document import Transcript
from stt_core.transcript.verbose import VerboseTranscript

router = APIRouter(prefix="/api/v1/tasks/{job_id}", tags=["tasks"])

_BYTES = {"schema": {"type": "string", "format": "binary"}}


@router.get(
    "/result",
    summary="Fetch a transcript",
    response_model=Transcript | VerboseTranscript,
    response_description="The transcript in the form that was asked for.",
    dependencies=[NeedsStore],
    responses={
        200: {"content": CONTENT_OF_ANSWERS},
        **problem_responses(
            InvalidInputError,
            JobNotFoundError,
            NotAcceptableError,
            ResultNotReadyError,
            JobFailedError,
            JobDeletedError,
            *OF_THE_STORE,
        ),
    },
)
def get_task_result(
    job_id: JobId,
    wanted: Annotated[ResultQuery, Query()],
    caller: CallerDep,
    tasks: TasksDep,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Return the transcript of a completed job; times are seconds of the recording.

    As JSON with every word and its time, as text, as subtitles (`srt`, `vtt`), as whisper's table (`tsv`) or as
    OpenAI's `verbose_json`. A job that is not completed answers 409: with its progress while it runs, with the reason
    when it failed.
    """
    form = choose_format(wanted, accept)
    return transcript_response(tasks.get_task_result(job_id, owner=caller.owner), wanted, form)


@router.get(
    "/chunks",
    summary="Look at the chunks of a job",
    responses=problem_responses(*OF_A_JOB, DatabaseUnavailableError),
)
def get_task_chunks(job_id: JobId, caller: CallerDep, tasks: TasksDep) -> ChunkList:
    """Return the pieces of the recording that the engine hears at once, in order, and what became of each so far."""
    return tasks.get_task_chunks(job_id, owner=caller.owner)


@router.get(
    "/audio",
    summary="Play the recording",
    response_class=StreamingResponse,
    response_description="The whole recording, as it was uploaded.",
    responses={
        200: {"content": {"audio/*": _BYTES, "video/*": _BYTES}},
        206: {"description": "The bytes that were asked for.", "content": {"audio/*": _BYTES, "video/*": _BYTES}},
        **problem_responses(*OF_A_JOB, RecordingGoneError, RangeNotSatisfiableError, *OF_THE_STORE),
    },
)
async def get_task_audio(
    job_id: JobId,
    request: Request,
    caller: CallerDep,
    wanted: Annotated[str, Header(alias="Range", description="One range of bytes.", examples=["bytes=0-1023"])] = "",
    if_range: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Return the recording of a job as it was uploaded, whole or one range of its bytes: for a browser's player."""
    return await recording_response(request, job_id, caller.owner, wanted=wanted, if_range=if_range)
