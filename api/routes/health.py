"""Probes (is the process alive, and can it do its work), and figures for Prometheus."""

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from api.auth import METRICS_PATH
from api.problems import RETRY_AFTER_SECONDS
from api.schemas import Alive, Ready

router = APIRouter(tags=["health"])

_EXAMPLE = """# HELP stt_jobs Jobs there are, by their status.
# TYPE stt_jobs gauge
stt_jobs{status="queued"} 3.0
"""


@router.get("/health", summary="Is the API alive?")
async def health() -> Alive:
    """Answer at once and without asking any server, so that an outage elsewhere does not get the API restarted."""
    return Alive()


@router.get(
    "/ready",
    summary="Do the servers behind it answer?",
    responses={503: {"model": Ready, "description": "At least one server does not answer."}},
)
async def ready(request: Request, response: Response) -> Ready:
    """Ask MongoDB, Redis and the object store, and say of each whether it answers and how fast."""
    threads = request.app.state.capacity.probe_threads  # of its own: those for other requests may all wait for a server
    dependencies = await anyio.to_thread.run_sync(request.app.state.readiness.check, limiter=threads)
    is_ready = all(dependency.ok for dependency in dependencies.values())
    if not is_ready:
        response.status_code = 503
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return Ready(status="ready" if is_ready else "not ready", dependencies=dependencies)


@router.get(
    METRICS_PATH,
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        }
    },
)
def metrics(request: Request) -> Response:
    """Return uploads, jobs by status, the depth of the queue, waiting and processing times, failures and requests.

    Where keys are on it takes one of scope `admin`. Figures may be a few seconds old; what a server that is away would
    have to tell is left out.
    """
    figures = generate_latest(request.app.state.metrics) + generate_latest(REGISTRY)
    return Response(figures, media_type=CONTENT_TYPE_LATEST)
