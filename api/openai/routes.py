"""OpenAI's API for speech to text: the same core, waited for."""

from dataclasses import dataclass
from typing import Annotated, Any, Unpack

from fastapi import APIRouter, Depends, File, Path, Request, Response

from api.deps import CallerDep, IdempotencyKey, NeedsWaitingPlace, ServicesDep
from api.openai.answers import AnswerWhenDone, EventsUntilDone
from api.openai.errors import OpenAIError, openai_responses
from api.openai.examples import content_of_answers
from api.openai.following import FollowedJob
from api.openai.models import available_models, find_model, own_name
from api.openai.schemas import (
    Model,
    ModelList,
    Transcription,
    TranscriptionForm,
    TranslationForm,
)
from api.problems import OF_A_REPLAY
from api.uploads.reading import UploadRoute
from stt_core.errors import (
    BusyError,
    DatabaseUnavailableError,
    DiskFullError,
    FileTooLargeError,
    InvalidInputError,
    JobFailedError,
    LanguageChoiceError,
    ModelNotFoundError,
    NoAudioError,
    StillAtWorkError,
    UnsupportedFormatError,
)
from stt_core.jobs.job import Priority
from stt_core.tasks.wishes import Wishes
from stt_core.transcript.verbose import VerboseTranscript

_JOB_HEADER = {"X-Job-ID": {"description": "The job.", "schema": {"type": "string"}}}
_ERRORS: tuple[Any, ...] = (
    InvalidInputError,
    LanguageChoiceError,
    ModelNotFoundError,
    UnsupportedFormatError,
    FileTooLargeError,
    NoAudioError,
    JobFailedError,
    DatabaseUnavailableError,
    BusyError,
    StillAtWorkError,
    DiskFullError,
    *OF_A_REPLAY,
)


def _answered(meaning: str, *, with_stream: bool = False) -> dict[str, Any]:
    """Return what the routes have in common that answer with a transcript."""
    return {
        "response_class": Response,
        "dependencies": [NeedsWaitingPlace],
        "responses": {
            200: {
                "model": Transcription | VerboseTranscript,
                "description": meaning,
                "headers": _JOB_HEADER,
                "content": content_of_answers(with_stream=with_stream),
            },
            **openai_responses(*_ERRORS),
        },
    }


@dataclass(frozen=True)
class Sender:
    """Who sends a recording, and waits for what becomes of it."""

    request: Request
    caller: CallerDep
    services: ServicesDep
    idempotency_key: IdempotencyKey = None

    def submit(self, form: TranslationForm, **wishes: Unpack[Wishes]) -> FollowedJob:
        """Create the job of a form, with what else is wished for."""
        wishes |= {
            "model": own_name(form.model),
            "prompt": form.prompt,
            "temperature": form.temperature,
            "track": form.track,
            "priority": Priority.HIGH,
            "owner": self.caller.key_id,
        }
        submission = self.services.submissions.create_task(
            form.file.file,
            filename=form.file.filename or "",
            size_bytes=form.file.size or 0,
            idempotency_key=self.idempotency_key,
            **wishes,
        )
        job_id = submission.job.job_id
        result_path = str(self.request.app.url_path_for("get_task_result", job_id=job_id))
        is_named = self.idempotency_key is not None
        return FollowedJob(self.request, job_id, self.caller.owner, result_path, is_named=is_named)


router = APIRouter(prefix="/v1", tags=["openai"])
_uploads = APIRouter(route_class=UploadRoute)


@_uploads.post(
    "/audio/transcriptions",
    summary="Transcribe a recording, as OpenAI's API does",
    **_answered("The transcript, in the form asked for.", with_stream=True),
)
def create_transcription(form: Annotated[TranscriptionForm, File()], sender: Annotated[Sender, Depends()]) -> Response:
    """Create a job of high priority, wait for it (`OPENAI_WAIT_SECONDS` at most) and answer with its transcript.

    With `stream`, the text comes as events while it is heard: `transcript.text.delta` for each part, at last
    `transcript.text.done` with all of it.
    """
    if form.stream and form.response_format not in ("json", "text"):
        raise InvalidInputError(
            f"A stream has no form {form.response_format}.", mend="Leave response_format or stream out."
        )
    languages = [*form.languages, *form.more_languages]
    followed = sender.submit(form, language=form.language, languages=languages)
    if form.stream:
        return EventsUntilDone(followed)
    return AnswerWhenDone(followed, form.response_format, form.timestamp_granularities)


@_uploads.post(
    "/audio/translations",
    summary="Translate a recording into English, as OpenAI's API does",
    **_answered("The translation, in the form asked for."),
)
def create_translation(form: Annotated[TranslationForm, File()], sender: Annotated[Sender, Depends()]) -> Response:
    """Create a job of high priority, wait for it (`OPENAI_WAIT_SECONDS` at most) and answer with its translation."""
    return AnswerWhenDone(sender.submit(form, translate=True), form.response_format, ["segment"])


router.include_router(_uploads)


@router.get(
    "/models", summary="List the models", responses={"default": {"model": OpenAIError, "description": "Any error."}}
)
def list_openai_models(services: ServicesDep) -> ModelList:
    """Return the models that can be asked for: those of OpenAI stand for `WHISPER_MODEL`, the others for themselves."""
    return ModelList(data=available_models(services.settings))


@router.get("/models/{model}", summary="Look at a model", responses=openai_responses(ModelNotFoundError))
def get_openai_model(model: Annotated[str, Path(max_length=64)], services: ServicesDep) -> Model:
    """Return a model that can be asked for."""
    return find_model(model, services.settings)
