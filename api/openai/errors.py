"""Errors as OpenAI's API has them, from our problem documents, so that its clients raise what their callers expect."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from api.schemas import Problem
from stt_core.errors import (
    EmptyFileError,
    JobFailedError,
    LanguageChoiceError,
    ModelNotFoundError,
    NoAudioError,
    RateLimitedError,
    SttError,
    UnauthorizedError,
    UnknownLanguageError,
    UnreadableAudioError,
    UnsupportedFormatError,
)

#: What the paths of these routes begin with.
PREFIX = "/v1/"

#: Where OpenAI's API has another status than ours.
_STATUS = {ModelNotFoundError.kind: 404, UnsupportedFormatError.kind: 400}
_PARAM = {
    ModelNotFoundError.kind: "model",
    UnknownLanguageError.kind: "language",
    LanguageChoiceError.kind: "languages",
    **dict.fromkeys(
        [EmptyFileError.kind, UnsupportedFormatError.kind, UnreadableAudioError.kind, NoAudioError.kind], "file"
    ),
}
#: What OpenAI calls its own, where programs look for that.
_CODES = {UnauthorizedError.kind: "invalid_api_key", RateLimitedError.kind: "rate_limit_exceeded"}
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: Annotated[str, Field(description="What is wrong and where, and how to put it right.")]
    type: Annotated[str, Field(description="Whose mistake it is.", examples=["invalid_request_error"])]
    param: Annotated[str | None, Field(description="The field that is wrong, where it is one.")] = None
    code: Annotated[str, Field(description="The kind of error; stable.", examples=["model_not_found"])]


class OpenAIError(BaseModel):
    """An error as OpenAI's API has it."""

    error: ErrorDetail


def job_error(error: SttError) -> tuple[int, OpenAIError]:
    """Return the status and the body that tell why a job has no transcript.

    What a job failed of counts as if it had been found when it was uploaded: a video without sound is the caller's.
    """
    kind, status = error.kind, error.status
    if isinstance(error, JobFailedError) and (cause := error.details.get("kind")):
        kind = cause
        status = next((known.status for known in SttError.branch() if known.kind == cause), 500)
        status = status if status < 500 else 500  # whatever was away, it is not this request that should be sent again
    status = _STATUS.get(kind, status)
    return status, _error(kind, status, str(error))


def openai_response(problem: Problem, kind: str, headers: dict[str, str]) -> JSONResponse:
    """Return the answer to a request under `/v1` that ends in a problem."""
    status = _STATUS.get(kind, problem.status)
    wrong_fields = problem.details.get("fields")
    error = _error(
        kind,
        status,
        f"{problem.detail} {problem.mend}" if problem.mend else problem.detail,
        param=wrong_fields[0]["field"] if wrong_fields else None,
    )
    return JSONResponse(error.model_dump(), status_code=status, headers=headers)


def openai_responses(*errors: type[SttError]) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route for its OpenAPI description, from the errors it may raise."""
    documented: dict[int | str, dict[str, Any]] = {"default": {"model": OpenAIError, "description": "Any other error."}}
    for error in errors:
        meaning = (error.__doc__ or "").partition("\n")[0]
        status = _STATUS.get(error.kind, error.status)
        answer = documented.setdefault(status, {"model": OpenAIError, "description": ""})
        answer["description"] = f"{answer['description']} {meaning}".strip()
    return documented


def _error(kind: str, status: int, message: str, *, param: str | None = None) -> OpenAIError:
    whose = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = _CODES.get(kind, kind.replace("-", "_"))
    return OpenAIError(error=ErrorDetail(message=message, type=whose, param=param or _PARAM.get(kind), code=code))
