"""Signing in: a page's user shows an API key once, and has a cookie from then on, which no script can read."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field, SecretStr

from api.auth import COOKIE, SESSION_PATH, authenticate, ensure_own_page, of_key
from api.deps import ServicesDep
from api.problems import problem_responses
from api.uploads.reading import JsonRoute
from stt_core.access.api_key import ApiKey, Scope
from stt_core.errors import DatabaseUnavailableError, ForbiddenError, UnauthorizedError

router = APIRouter(prefix=SESSION_PATH, tags=["session"], route_class=JsonRoute)


class SignIn(BaseModel, extra="forbid"):
    """What somebody signs in with."""

    key: Annotated[SecretStr, Field(max_length=200, description="A key of `stt keys create NAME`.")]


class Whoami(BaseModel):
    """Who asks."""

    name: Annotated[str | None, Field(description="Name of the key; null where no keys are asked for.")]
    scopes: Annotated[list[Scope], Field(description="What the caller may do.")]
    expires_at: Annotated[datetime | None, Field(description="When the session is over; null without one.")] = None

    @classmethod
    def of(cls, key: ApiKey | None, expires_at: datetime | None = None) -> Whoami:
        """Return who has a key; everybody where there is none."""
        return cls(name=key.name if key else None, scopes=key.scopes if key else [Scope.ADMIN], expires_at=expires_at)


@router.get(
    "",
    summary="Who am I?",
    responses=problem_responses(UnauthorizedError, DatabaseUnavailableError),
)
async def get_session(request: Request) -> Whoami:
    """Return whose key or session the request has; 401 tells a page to ask for a key."""
    return Whoami.of((await authenticate(request)).key)


@router.post(
    "",
    summary="Sign in",
    responses=problem_responses(UnauthorizedError, ForbiddenError, DatabaseUnavailableError),
)
async def create_session(given: SignIn, request: Request, response: Response, services: ServicesDep) -> Whoami:
    """Exchange an API key for a session of 12 hours: a cookie that is sent to this site alone and read by no script.

    It may do what the key may, and ends with it.
    """
    ensure_own_page(request)
    key = await of_key(request, given.key.get_secret_value())
    session = await run_in_threadpool(services.sessions.open, key)
    response.set_cookie(
        COOKIE,
        session.token.get_secret_value(),
        expires=session.expires_at,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return Whoami.of(key, session.expires_at)


@router.delete(
    "",
    status_code=204,
    summary="Sign out",
    response_description="The session is over.",
    responses=problem_responses(ForbiddenError, DatabaseUnavailableError),
)
async def delete_session(request: Request, response: Response, services: ServicesDep) -> None:
    """End the session of the cookie; without one nothing happens."""
    ensure_own_page(request)
    if token := request.cookies.get(COOKIE):
        await run_in_threadpool(services.sessions.close, token)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
