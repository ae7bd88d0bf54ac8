"""Errors as problem documents (RFC 9457): the one place where an error of the core becomes an HTTP answer.

`type` is `urn:stt:error:<kind>` with the `kind` of `stt_core.errors`, so it is as stable as that tree; errors of HTTP
itself (no such route, wrong method) take the phrase of their status as their kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.openai.errors import PREFIX as OPENAI_PREFIX
from api.openai.errors import openai_response
from api.schemas import Problem
from stt_core.errors import (
    BusyError,
    DatabaseUnavailableError,
    IdempotencyMismatchError,
    InvalidInputError,
    JobDeletedError,
    JobNotFoundError,
    RequestInProgressError,
    StoreUnavailableError,
    SttError,
    UnexpectedError,
)
from stt_core.logs import get_logger, log_exception

logger = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
#: When to come back after a 503, seconds: long enough for a server to restart, short enough not to be noticed.
RETRY_AFTER_SECONDS = 10
#: nginx's status for a client that went away; nobody receives it, the log shows it.
CLIENT_CLOSED_REQUEST = 499
#: What routes may raise that look at a job, need the object store, or may be asked again under an idempotency key.
OF_A_JOB = (InvalidInputError, JobNotFoundError, JobDeletedError)
OF_THE_STORE = (DatabaseUnavailableError, StoreUnavailableError, BusyError)
OF_A_REPLAY = (IdempotencyMismatchError, RequestInProgressError, JobDeletedError)
#: RFC 6750.
_WRONG_SCOPE = 'Bearer error="insufficient_scope"'


def problem_response(
    request: Request,
    error: SttError,
    *,
    kind: str | None = None,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an error as an answer; a 503 and a 429 say when to come back, a 401 and a 403 how to come in.

    Args:
        request: What it answers.
        error: What is wrong.
        kind: What kind of error that is, where it has no name of ours.
        status: And its status.
        headers: What the answer carries besides.
    """
    kind, status = kind or error.kind, status or error.status
    problem = _problem(
        kind,
        status,
        error,
        instance=quote(request.url.path)[:300],
        request_id=request.state.request_id,
        details={name: value for name, value in error.details.items() if value is not None},
    )
    headers = dict(headers or {})
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers["Retry-After"] = str(problem.details["retry_after_seconds"])
    elif status == HTTPStatus.SERVICE_UNAVAILABLE or error.transient:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    elif status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        headers["Content-Range"] = f"bytes */{problem.details['size_bytes']}"
    elif status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        headers["WWW-Authenticate"] = "Bearer" if status == HTTPStatus.UNAUTHORIZED else _WRONG_SCOPE
    if request.url.path.startswith(OPENAI_PREFIX):
        return openai_response(problem, kind, headers)
    body = problem.model_dump_json(exclude_none=True, fallback=str)
    return Response(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def unexpected_problem(request: Request) -> Response:
    """Return the answer to an exception that nobody named: nothing of its text leaves the process."""
    error = UnexpectedError(
        "Something went wrong on our side.", mend="Look for the request_id in the log of the API, and report it."
    )
    return problem_response(request, error)


def problem_responses(*errors: type[SttError]) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route for its OpenAPI description, from the errors it may raise."""
    documented: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        meaning = (error.__doc__ or "").partition("\n")[0]
        answer = documented.setdefault(error.status, {"content": {MEDIA_TYPE: {"schema": _SCHEMA, "examples": {}}}})
        answer["description"] = " ".join(filter(None, [answer.get("description"), meaning]))
        answer["content"][MEDIA_TYPE]["examples"][error.kind] = {"summary": meaning, "value": _example(error, meaning)}
        if error.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
            answer["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return documented | {"default": {"description": "Any other error.", "content": {MEDIA_TYPE: {"schema": _SCHEMA}}}}


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of a request a problem document. What nobody named is answered by the middleware."""
    app.add_exception_handler(SttError, answer_error)
    app.add_exception_handler(RequestValidationError, _answer_wrong_fields)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)


async def answer_error(request: Request, error: Exception) -> Response:
    """Return the answer to a named error."""
    error = cast("SttError", error)
    log_exception(logger, request.method, error)  # unless it was logged where it was raised
    return problem_response(request, error)


async def _answer_wrong_fields(request: Request, error: Exception) -> Response:
    wrong = [
        {"field": ".".join(str(part) for part in item["loc"][1:])[:100], "problem": item["msg"]}
        for item in cast("RequestValidationError", error).errors()
    ]
    detail = "; ".join(f"{field['field']}: {field['problem']}" for field in wrong)
    logger.warning("request refused: {}", detail)
    mend = "Correct the fields named; /docs describes the request."
    return problem_response(request, InvalidInputError(f"{detail}.", mend=mend, fields=wrong))


async def _answer_http_error(request: Request, error: Exception) -> Response:
    error = cast("HTTPException", error)
    phrase = HTTPStatus(error.status_code).phrase
    logger.warning("request refused: {} {}", error.status_code, error.detail)
    return problem_response(
        request,
        SttError(f"{phrase}: {request.method} {quote(request.url.path)[:200]}.", mend="/docs lists the routes."),
        kind=phrase.lower().replace(" ", "-"),
        status=error.status_code,
        headers=error.headers,
    )


async def _answer_nobody(request: Request, error: Exception) -> Response:
    logger.warning("the client went away before its request was read: {}", type(error).__name__)
    return Response(status_code=CLIENT_CLOSED_REQUEST)


def _problem(kind: str, status: int, error: SttError, **where: Any) -> Problem:
    title = kind.replace("-", " ").capitalize()
    kind = f"urn:stt:error:{kind}"
    return Problem(type=kind, title=title, status=status, detail=error.message, mend=error.mend, **where)


def _example(error: type[SttError], meaning: str) -> dict[str, Any]:
    shown = error(meaning, mend="What to do about it.")
    where = {"instance": "/api/v1/tasks/upload", "request_id": "6f1c2a9e8b7d4c3f9a0e5d6b7c8f9a01"}
    return _problem(error.kind, error.status, shown, **where).model_dump(exclude_none=True)


_SCHEMA = {"$ref": "#/components/schemas/Problem"}
