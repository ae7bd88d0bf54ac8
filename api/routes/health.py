"""Probes: is the process alive, and can it do its work."""

import anyio.to_thread
from fastapi import APIRouter, Request, Response

from api.deps import ReadinessDep
from api.problems import RETRY_AFTER_SECONDS
from api.schemas import Alive, Ready
from stt_core.logs import logged

router = APIRouter(tags=["health"])


@router.get("/health", summary="Is the API alive?")
@logged
async def health() -> Alive:
    """Answer at once and without asking any server, so that an outage elsewhere does not get the API restarted."""
    return Alive()


@router.get(
    "/ready",
    summary="Do the servers behind it answer?",
    responses={503: {"model": Ready, "description": "At least one server does not answer."}},
)
@logged
async def ready(request: Request, readiness: ReadinessDep, response: Response) -> Ready:
    """Ask MongoDB, Redis and the object store, and say of each whether it answers and how fast."""
    threads = request.app.state.capacity.probe_threads  # of its own: those for other requests may all wait for a server
    dependencies = await anyio.to_thread.run_sync(readiness.check, limiter=threads)
    is_ready = all(dependency.ok for dependency in dependencies.values())
    if not is_ready:
        response.status_code = 503
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return Ready(status="ready" if is_ready else "not ready", dependencies=dependencies)
