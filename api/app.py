"""The app: opened with the process, closed with it, and told what to do where a server is down.

It starts whatever is down: `/health` answers from the first moment on, `/ready` says what is missing, and what the
servers need once (indexes, the bucket) is created as soon as they are back. Only a wrong configuration ends the
process, with one line that names the variable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from operator import attrgetter
from typing import Any

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry

from api.auth import PAGE_FOLDER, FreshKeys, Protection, describe_protection, warn_of_openness
from api.capacity import Capacity
from api.examples import EXAMPLES
from api.job_watch import Snapshots
from api.metrics import SystemMetrics
from api.middleware import RequestScope
from api.openai import routes as openai
from api.problems import install_problem_handlers
from api.readiness import Readiness
from api.routes import backfill, events, health, page, results, session, tasks
from api.schemas import Problem
from api.uploads import routes as uploads
from stt_core.logs import get_logger, setup_logging
from stt_core.services import Services
from stt_core.settings import Settings, former_settings, load_settings

logger = get_logger(__name__)

_DESCRIPTION = """
Upload a recording, follow its job, fetch the transcript.

1. `POST /api/v1/tasks/upload` answers `202` with a `job_id`.
2. `GET /api/v1/tasks/{job_id}` shows its status, stage and progress.
3. `GET /api/v1/tasks/{job_id}/result` answers with the transcript once the status is `completed`.

`POST /api/v1/tasks/{job_id}/cancel` ends a job early; `POST /api/v1/tasks/{job_id}/retry` sends a failed one again.

Programs written for OpenAI's speech-to-text API find it under `/v1`, its errors too.

Every other error is a problem document (RFC 9457, `application/problem+json`) with a stable `type`, what is wrong
(`detail`), how to put it right (`mend`) and the request's id, which is on every log line of the request too.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the app.

    Args:
        settings: Its settings; None loads them from the environment when the app starts, and sets up logging by them.
    """
    app = FastAPIOffline(
        title="Speech to text",
        summary="Recordings to transcripts, by whisper.cpp and Dagster.",
        description=_DESCRIPTION,
        version="1",
        lifespan=_lifespan(settings),
        generate_unique_id_function=attrgetter("name"),  # readable method names for generated clients
        openapi_tags=[
            {"name": "tasks", "description": "Transcription jobs."},
            {"name": "backfill", "description": "The recordings of buckets, which Dagster transcribes as they are."},
            {"name": "openai", "description": "The same in the form of OpenAI's API, for programs written for it."},
            {"name": "session", "description": "Signing in to the page at `/`."},
            {"name": "health", "description": "Whether the API lives, and whether its servers answer."},
        ],
    )
    app.add_middleware(Protection)
    app.add_middleware(RequestScope)
    install_problem_handlers(app)
    for routes in (uploads, tasks, results, events, backfill, openai, session, health, page):
        app.include_router(routes.router)
    app.mount(PAGE_FOLDER, page.files)
    app.openapi = partial(_openapi, app.openapi)  # type: ignore[method-assign]  # FastAPI's way to extend it
    return app


def _openapi(generate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the OpenAPI document, with the schema of every error answer and with examples.

    They are put in here because FastAPI ties an answer's schema to JSON, and drops an example's nulls.
    """
    document = generate()
    schemas = document["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema()
    for name, examples in EXAMPLES.items():
        schemas[name]["examples"] = examples
    describe_protection(document)
    return document


def _lifespan(given: Settings | None) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        settings = given or load_settings()
        if given is None:
            setup_logging(settings.log_level, json=settings.log_json)
            for name, instead in former_settings().items():
                logger.warning("{} means nothing any more: {}", name, instead)
        services = Services.open(settings)
        readiness = Readiness(services)
        app.state.services, app.state.readiness = services, readiness
        app.state.capacity = Capacity(settings.mongodb_max_pool_size)
        app.state.snapshots = Snapshots(services, app.state.capacity.looks)
        app.state.keys = FreshKeys(services.keys)
        app.state.metrics = CollectorRegistry()  # of the system; those of this process are in Prometheus' own
        app.state.metrics.register(SystemMetrics(services))
        warn_of_openness(settings)
        logger.info("API starts: uploads of up to {} bytes", settings.max_upload_bytes)
        # Beside serving, since a server that is down takes its timeout to be found so.
        first_check = asyncio.create_task(run_in_threadpool(readiness.check))
        try:
            yield
        finally:
            logger.info("API shuts down")
            await asyncio.wait([first_check])
            await run_in_threadpool(services.close)
            logger.info("API is closed")

    return lifespan
