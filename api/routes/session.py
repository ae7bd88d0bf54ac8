"""Signing in: a page's user shows an API key once, and has a cookie from then on, which no script can read."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.auth import COOKIE, SESSION_PATH, authenticate, ensure_own_page, of_key
from api.deps import ServicesDep
from api.problems import problem_responses
from api.schemas import SignIn, Whoami
from api.uploads.reading import JsonRoute
from stt_core.errors import DatabaseUnavailableError, ForbiddenError, UnauthorizedError

router = APIRouter(prefix=SESSION_PATH, tags=["session"], route_class=JsonRoute)


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
