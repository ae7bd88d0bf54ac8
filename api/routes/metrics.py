"""Figures for Prometheus."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from api.auth import METRICS_PATH
from stt_core.logs import logged

router = APIRouter(tags=["health"])

_EXAMPLE = """# HELP stt_jobs Jobs there are, by their status.
# TYPE stt_jobs gauge
stt_jobs{status="queued"} 3.0
"""


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
@logged
def metrics(request: Request) -> Response:
    """Return uploads, jobs by status, the depth of the queue, waiting and processing times, failures and requests.

    Where keys are on it takes one of scope `admin`. Figures may be a few seconds old; what a server that is away would
    have to tell is left out.
    """
    figures = generate_latest(request.app.state.metrics) + generate_latest(REGISTRY)
    return Response(figures, media_type=CONTENT_TYPE_LATEST)
