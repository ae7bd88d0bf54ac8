"""The bodies that only HTTP knows: problem documents, health. Jobs and transcripts are the core's."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SecretStr

from stt_core.access.api_key import ApiKey, Scope
from stt_core.backfill.objects import ObjectState
from stt_core.jobs.job import JobStatus
from stt_core.services import DependencyHealth


class ListQuery(BaseModel, extra="forbid"):
    """Which jobs are wanted. An unknown parameter is refused, as that of an upload."""

    status: Annotated[JobStatus | None, Field(description="Only jobs in this state.")] = None
    cursor: Annotated[str | None, Field(max_length=64, description="`next_cursor` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=200, description="Jobs on a page, at most.")] = 50


class ObjectsQuery(BaseModel, extra="forbid"):
    """Which objects are wanted."""

    bucket: Annotated[str, Field(max_length=63, description="One of `BACKFILL_SOURCES`.", examples=["calls"])]
    prefix: Annotated[str, Field(max_length=1024, description="What their keys begin with.")] = ""
    state: Annotated[ObjectState | None, Field(description="Only objects in this state.")] = None
    cursor: Annotated[str, Field(max_length=1024, description="`next_cursor` of the page before.")] = ""
    limit: Annotated[int, Field(ge=1, le=500, description="Objects on a page, at most.")] = 50


class PromoteRequest(BaseModel, extra="forbid"):
    """Which objects get the transcript of which model."""

    bucket: Annotated[str, Field(max_length=63, description="One of `BACKFILL_SOURCES`.", examples=["calls"])]
    model: Annotated[str, Field(min_length=1, max_length=64, examples=["large-v3-turbo"])]
    key: Annotated[str | None, Field(max_length=1024, description="One object; by default all under `prefix`.")] = None
    prefix: Annotated[str, Field(max_length=1024, description="What their keys begin with.")] = ""
    cursor: Annotated[str, Field(max_length=1024, description="`next_cursor` of the answer before.")] = ""


class Problem(BaseModel, json_schema_extra={"additionalProperties": False}):
    """What went wrong, as RFC 9457 has it."""

    type: Annotated[str, Field(description="The kind of error; stable, for programs.")]
    title: Annotated[str, Field(description="The kind of error, for people.")]
    status: Annotated[int, Field(description="The HTTP status.")]
    detail: Annotated[str, Field(description="What is wrong and where.")]
    mend: Annotated[str | None, Field(description="How to put it right.")] = None
    instance: Annotated[str, Field(description="The path that was asked for.")]
    request_id: Annotated[str, Field(description="Names the request in the log; also the `X-Request-ID` header.")]
    details: Annotated[dict[str, Any], Field(description="Facts for programs: limits, progress, wrong fields.")] = {}


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


class Alive(BaseModel):
    """The process lives."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Whether every server behind the API answers."""

    status: Literal["ready", "not ready"]
    dependencies: Annotated[
        dict[str, DependencyHealth],
        Field(description="`mongodb`, `redis` and `object_store`: whether each answers, and its latency in ms."),
    ]
