"""What routes ask for, each as an `Annotated` alias, so that a route's signature reads like a sentence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, cast

from fastapi import Depends, Header, Path, Request

from api.auth import Caller
from api.capacity import upload_place
from stt_core.jobs.job import JOB_ID_PATTERN
from stt_core.services import Services
from stt_core.tasks.service import JobService


async def get_services(request: Request) -> Services:
    """Return the core that the app opened."""
    return cast("Services", request.app.state.services)


async def get_tasks(request: Request) -> JobService:
    """Return the use cases of a job's owner."""
    return (await get_services(request)).tasks


async def get_caller(request: Request) -> Caller:
    """Return who sends the request."""
    return cast("Caller", request.state.caller)


async def take_store_place(request: Request) -> AsyncIterator[None]:
    """Hold one of the places of requests that need the object store, while the route is at work."""
    async with request.app.state.capacity.store.taken():
        yield


async def take_waiting_place(request: Request) -> AsyncIterator[None]:
    """Hold one of the places of requests that wait for their jobs, until the answer is sent."""
    async with request.app.state.capacity.waiting.taken((await get_caller(request)).key_id):
        yield


ServicesDep = Annotated[Services, Depends(get_services)]
TasksDep = Annotated[JobService, Depends(get_tasks)]
CallerDep = Annotated[Caller, Depends(get_caller)]
#: For the routes that read or write objects.
NeedsStore = Depends(take_store_place, scope="function")
#: For the routes that take recordings over.
NeedsUploadPlace = Depends(upload_place, scope="function")
#: For the routes whose answers wait.
NeedsWaitingPlace = Depends(take_waiting_place, scope="request")
IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="Your name for this request, such as a UUID. For 24 hours the same request with the same key is "
        "answered with the job of the first, and another request with it is refused.",
    ),
]
JobId = Annotated[
    str,
    Path(
        pattern=f"^{JOB_ID_PATTERN}$",
        description="The `job_id` that the upload answered with: 32 hexadecimal digits.",
        examples=["0f8fad5bd9cb469fa16570867728950e"],
    ),
]
