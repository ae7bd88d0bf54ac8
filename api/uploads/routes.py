"""The ways in for a recording: with the request, from a URL, or put straight into the object store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, File, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from api.capacity import Capacity
from api.deps import CallerDep, IdempotencyKey, JobId, NeedsStore, NeedsUploadPlace, ServicesDep
from api.problems import OF_A_JOB, OF_A_REPLAY, problem_responses
from api.uploads.reading import JsonRoute, RecordingRoute, new_spool, spooling
from api.uploads.schemas import PresignRequest, UploadForm, other_bodies
from stt_core.errors import (
    BusyError,
    DatabaseUnavailableError,
    DiskFullError,
    EmptyFileError,
    FileTooLargeError,
    ForbiddenAddressError,
    InvalidInputError,
    JobFailedError,
    LanguageChoiceError,
    ModelNotFoundError,
    QueueFullError,
    QueueUnavailableError,
    SourceUnavailableError,
    StoreUnavailableError,
    TranslationUnsupportedError,
    UnknownHostError,
    UnknownLanguageError,
    UnsupportedFormatError,
    UploadMissingError,
)
from stt_core.fetching import fetch
from stt_core.jobs.job import JobView
from stt_core.services import Services
from stt_core.tasks.views import PresignedPut, PresignedUpload

_OPTIONS = (
    InvalidInputError,
    ModelNotFoundError,
    UnknownLanguageError,
    LanguageChoiceError,
    TranslationUnsupportedError,
)
_ADDRESS = (ForbiddenAddressError, UnknownHostError)
_ROOM = (QueueFullError, QueueUnavailableError, DatabaseUnavailableError, BusyError)
_BYTES = (EmptyFileError, FileTooLargeError, UnsupportedFormatError, JobFailedError, StoreUnavailableError)
_LOCATION = {"description": "Where to follow the job.", "schema": {"type": "string"}}
_WHETHER = {"type": "string", "enum": ["true"]}
_REPLAYED = {"description": "The job is that of an earlier request.", "schema": _WHETHER}

#: Both methods do the same: programs send forms by POST, `curl -T` sends by PUT.
_UPLOAD: dict[str, Any] = dict(  # noqa: C408 - keyword arguments, as routes have them
    status_code=202,
    summary="Upload a recording",
    response_description="The recording is stored and its job waits for its turn.",
    openapi_extra=other_bodies(),
    responses={
        202: {
            "headers": {
                "Location": _LOCATION,
                "Idempotent-Replayed": _REPLAYED,
                "Deduplicated": {"description": "The same recording was there.", "schema": _WHETHER},
            },
        },
        **problem_responses(*_OPTIONS, *_ADDRESS, *_BYTES, SourceUnavailableError, *OF_A_REPLAY, *_ROOM, DiskFullError),
    },
)

router = APIRouter(prefix="/api/v1/tasks", tags=["tasks"], route_class=JsonRoute)
_uploads = APIRouter(route_class=RecordingRoute)


@_uploads.put("/upload", name="put_task", **_UPLOAD)
@_uploads.post("/upload", **_UPLOAD)
async def upload_task(
    form: Annotated[UploadForm, File()],
    request: Request,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Store a recording and create its job.

    The recording comes as a form (`curl -F file=@talk.mp3`), as the body itself with its options in the query
    (`curl -T talk.mp3 '…/upload?filename=talk.mp3'`, by POST or PUT), or from elsewhere: a `source_url`, in a form or
    in JSON, is fetched before the answer.

    The size limit and the room in the queue are checked before the body is read; send `Expect: 100-continue` (curl
    does for large files) to be spared the upload of a recording that would be refused.
    """
    async with _recording(form, request) as recording:
        submission = await run_in_threadpool(
            services.submissions.create_task,
            recording.file,
            filename=form.filename or recording.filename or "",
            size_bytes=recording.size or 0,
            idempotency_key=idempotency_key,
            deduplicate=form.deduplicate,
            source_url=form.source_url,
            **form.wishes(caller.key_id),
        )
    response.headers["Location"] = request.app.url_path_for("get_task_status", job_id=submission.job.job_id)
    if submission.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    if submission.deduplicated:
        response.headers["Deduplicated"] = "true"
    return await run_in_threadpool(services.tasks.view, submission.job)


@router.post(
    "/presign",
    status_code=201,
    summary="Announce a recording and get a URL to put it to",
    response_description="The job waits for its recording.",
    responses={
        201: {"headers": {"Location": _LOCATION, "Idempotent-Replayed": _REPLAYED}},
        **problem_responses(*_OPTIONS, *_ADDRESS, FileTooLargeError, *OF_A_REPLAY, *_ROOM),
    },
)
def presign_task(
    wanted: PresignRequest,
    request: Request,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> PresignedUpload:
    """Create a job, and a URL of the object store to which its recording is put with a plain PUT of its bytes.

    The upload must begin within `PRESIGN_SECONDS`. `POST /api/v1/tasks/{job_id}/complete` then queues the job; one
    whose recording never comes fails an hour after that.
    """
    submission, url = services.submissions.presign(
        filename=wanted.filename,
        size_bytes=wanted.size,
        idempotency_key=idempotency_key,
        **wanted.wishes(caller.key_id),
    )
    if submission.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = request.app.url_path_for("get_task_status", job_id=submission.job.job_id)
    job = submission.job
    put = PresignedPut(url=url, expires_at=job.upload_expires_at or job.created_at)
    return PresignedUpload(job=services.tasks.view(job), upload=put)


@router.post(
    "/{job_id}/complete",
    status_code=202,
    summary="Say that a recording is put",
    response_description="The recording is taken over and its job waits for its turn.",
    dependencies=[NeedsUploadPlace, NeedsStore],
    responses=problem_responses(*OF_A_JOB, UploadMissingError, *_BYTES, *_ROOM, DiskFullError),
)
def complete_task(job_id: JobId, caller: CallerDep, services: ServicesDep) -> JobView:
    """Check the recording that was put to the URL of `presign`, and queue its job; repeating it changes nothing.

    What the object store holds is copied to where the URL does not lead, so that it is what is transcribed, whatever is
    put there later. A recording that is refused may be put anew while the URL lasts.
    """
    job = services.submissions.complete(services.jobs.get_job(job_id, owner=caller.owner))
    return services.tasks.view(job)


@asynccontextmanager
async def _recording(form: UploadForm, request: Request) -> AsyncIterator[UploadFile]:
    """Give the recording of an upload, fetched if need be, until the block ends."""
    if (form.file is None) == (form.source_url is None):
        raise InvalidInputError(
            "An upload has a recording as `file`, or a `source_url`: one of them.",
            mend="Send the recording with curl -T recording.mp3 …, or as a form with curl -F file=@recording.mp3 ….",
        )
    if form.file is not None:
        yield form.file
        return
    services: Services = request.app.state.services
    capacity: Capacity = request.app.state.capacity
    fetched = new_spool()
    try:
        async with capacity.fetches.taken():
            with spooling():
                fetched.filename = (
                    await fetch(
                        form.source_url or "",
                        fetched.write,
                        seconds=services.settings.source_url_seconds,
                        max_bytes=services.settings.max_upload_bytes,
                        too_large=services.submissions.too_large,
                        allow=services.settings.source_url_allow,
                    )
                    or fetched.filename
                )
        await fetched.seek(0)
        yield fetched
    finally:
        await fetched.close()


router.include_router(_uploads)
