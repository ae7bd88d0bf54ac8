"""The API held against its own OpenAPI document, on real servers, by requests that nobody would think of."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from stt_core.jobs.job import JOB_ID_PATTERN, JobCreate, JobOptions
from stt_core.jobs.recovery import recover_failed_run
from stt_core.settings import Settings
from stt_core.sources import BackfillSource
from stt_core.stores.documents import utc_now
from tests.api.backfills import complete_version, discover, open_version
from tests.api.conftest import Serve, claim, opened, own_settings, publish, upload, wav


def never_our_fault(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Fail on a 5xx, but for the one that says that a transcript takes longer than one may wait for it."""
    assert response.status_code < 500 or (response.status_code == 504 and case.operation.path.startswith("/v1/audio"))


CHECKS = [
    never_our_fault,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: A raw body has the options of a form as its query: what covers the one covers the other.
anything = schemathesis.openapi.from_dict(create_app().openapi()).exclude(method="PUT")
as_described = schemathesis.openapi.from_dict(create_app().openapi())
as_described.config.generation.update(modes=[schemathesis.GenerationMode.POSITIVE])
as_described.config.phases.coverage.enabled = False

#: Jobs in every state, so that a random id is not always nobody's, and those of them that nothing brings back to life.
jobs: list[str] = []
over: list[str] = []
turn = itertools.count()


@pytest.fixture(scope="module")
def client(serve: Serve, settings: Settings) -> Iterator[httpx.Client]:
    """A client of an API with a job in every state."""
    changed = own_settings(settings, openai_wait_seconds=0.2, backfill_sources=(BackfillSource(bucket="calls"),))
    with opened(changed) as services, serve(changed) as client:
        pending = services.jobs.create_job(JobCreate(filename="a.wav", options=JobOptions(model="demo"))).job_id
        over[:] = completed, cancelled, deleted, forgotten = [upload(client).json()["job_id"] for _ in range(4)]
        working, failed = [upload(client).json()["job_id"] for _ in range(2)]
        jobs[:] = [pending, working, failed, *over]
        claim(services, working)
        publish(services, completed)
        claim(services, failed)
        once = services.settings.model_copy(update={"max_attempts": 1})
        recover_failed_run(
            services.jobs, services.queue, once, job_id=failed, run_id="run-1", attempt=1, reason="It crashed."
        )
        services.tasks.cancel_task(cancelled)
        services.tasks.cancel_task(deleted)
        services.jobs.bury_job(services.jobs.get_job(deleted), utc_now())
        services.jobs.delete_job(forgotten)
        complete_version(services, discover(services, "a.wav"), model="demo")
        open_version(services, discover(services, "b.wav"))
        yield client


def aim(case: schemathesis.Case, client: httpx.Client) -> None:
    """Lead a request to a job that exists, make its file a recording, and have it wait for nothing and go nowhere."""
    job_id = case.path_parameters.get("job_id")
    if isinstance(job_id, str) and re.fullmatch(JOB_ID_PATTERN, job_id):
        if case.method == "DELETE":  # the others are wanted by other requests
            case.path_parameters["job_id"] = upload(client).json()["job_id"]
        elif case.operation.path.endswith("/events"):  # which last as long as their job
            case.path_parameters["job_id"] = over[next(turn) % len(over)]
        else:
            case.path_parameters["job_id"] = jobs[next(turn) % len(jobs)]
    for given in (case.body, case.query):
        if isinstance(given, dict):
            for name in ("wait", "source_url", "callback_url", "model"):
                given.pop(name, None)
            if "/backfill/" in case.operation.path:
                given["bucket"] = "calls"
    if isinstance(case.body, dict) and case.media_type == "multipart/form-data":
        case.body |= {"file": wav(), "model": "demo"}


def bounded(examples: int) -> Callable[[Any], Any]:
    """So many requests at random for each operation, the same ones every time."""
    return hypothesis_settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )


def check(case: schemathesis.Case, client: httpx.Client) -> None:
    options: dict[str, Any] = {"base_url": str(client.base_url), "timeout": 20}
    case.call_and_validate(checks=CHECKS, **options)


@anything.parametrize()
@bounded(5)
def test_operation_when_called_with_anything_then_answers_as_it_is_described(
    case: schemathesis.Case, client: httpx.Client
) -> None:
    if case.operation.path.endswith("/events") or case.operation.path.startswith("/v1/audio"):
        aim(case, client)  # else it may take its time
    case.query.pop("wait", None)
    check(case, client)


@as_described.parametrize()
@bounded(15)
def test_operation_when_called_as_described_then_answers_as_it_is_described(
    case: schemathesis.Case, client: httpx.Client
) -> None:
    aim(case, client)
    check(case, client)
