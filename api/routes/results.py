"""What a job leaves: its transcript."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from api.deps import CallerDep, JobId, NeedsStore, TasksDep
from api.formats import CONTENT_OF_ANSWERS, ResultQuery, choose_format, transcript_response
from api.problems import problem_responses
from stt_core.errors import (
    BusyError,
    DatabaseUnavailableError,
    InvalidInputError,
    JobDeletedError,
    JobFailedError,
    JobNotFoundError,
    NotAcceptableError,
    ResultNotReadyError,
    StoreUnavailableError,
)
from stt_core.logs import logged
from stt_core.transcript.models import Transcript
from stt_core.transcript.verbose import VerboseTranscript

router = APIRouter(prefix="/api/v1/tasks/{job_id}", tags=["tasks"])


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
            DatabaseUnavailableError,
            StoreUnavailableError,
            BusyError,
        ),
    },
)
@logged
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
