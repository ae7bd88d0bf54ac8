"""Backfills over HTTP: the objects of the sources, and which transcript of each is the current one."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import NeedsStore, ServicesDep
from api.problems import OF_THE_STORE, problem_responses
from api.schemas import ObjectsQuery, PromoteRequest
from api.uploads.reading import JsonRoute
from stt_core.backfill.promoting import Promotion, promote_model
from stt_core.backfill.views import ObjectList, list_objects
from stt_core.errors import (
    BucketMissingError,
    BucketNotConfiguredError,
    ConflictError,
    DatabaseUnavailableError,
    InvalidInputError,
    PartitionNotFoundError,
)

router = APIRouter(prefix="/api/v1/backfill", tags=["backfill"], route_class=JsonRoute)


@router.get(
    "/objects",
    summary="List the objects of a bucket",
    response_description="A page of objects, in the order of their keys.",
    responses=problem_responses(
        InvalidInputError, BucketNotConfiguredError, BucketMissingError, DatabaseUnavailableError
    ),
)
def list_bucket_objects(wanted: Annotated[ObjectsQuery, Query()], services: ServicesDep) -> ObjectList:
    """Return the objects that backfills transcribe, the state of each, and the versions of its transcript.

    A `state` is looked for in a bounded number of objects: a page can be short, or empty, and have a `next_cursor`.
    """
    return list_objects(services, **dict(wanted))


@router.post(
    "/promote",
    summary="Make the transcripts of a model the current ones",
    dependencies=[NeedsStore],
    responses=problem_responses(
        InvalidInputError, BucketNotConfiguredError, PartitionNotFoundError, ConflictError, *OF_THE_STORE
    ),
)
def promote_transcripts(wanted: PromoteRequest, services: ServicesDep) -> Promotion:
    """Make the latest transcript by a model the current one, for each object of a page, and write it to the output.

    Objects without a transcript of their present bytes by that model stay as they are, and are counted. Promoting
    again changes nothing.
    """
    return promote_model(services, **dict(wanted))
