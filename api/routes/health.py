"""Probes: is the process alive, and can it do its work."""

from fastapi import APIRouter, Response

from api.deps import ReadinessDep
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
def ready(readiness: ReadinessDep, response: Response) -> Ready:
    """Ask MongoDB, Redis and the object store, and say of each whether it answers and how fast."""
    dependencies = readiness.check()
    is_ready = all(dependency.ok for dependency in dependencies.values())
    response.status_code = 200 if is_ready else 503
    return Ready(status="ready" if is_ready else "not ready", dependencies=dependencies)
