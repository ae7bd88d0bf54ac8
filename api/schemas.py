"""The bodies that only HTTP knows: the upload form, problem documents, health. Jobs and transcripts are the core's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

from stt_core.jobs.models import Channels, JobStatus, Priority
from stt_core.services import DependencyHealth
from stt_core.settings import Strategy


class UploadForm(BaseModel):
    """The fields of an upload. An unknown one is refused: a misspelt option must not be ignored in silence."""

    model_config = ConfigDict(extra="forbid")

    file: Annotated[
        UploadFile,
        Field(description="The recording: any common audio or video format, recognised by its bytes, not its name."),
    ]
    model: Annotated[
        str | None,
        Field(max_length=64, description="Name of a whisper model; by default `WHISPER_MODEL`.", examples=["base"]),
    ] = None
    language: Annotated[
        str | None,
        Field(
            max_length=32,
            description="ISO 639-1 code or English name of what is spoken; `auto` detects it on the first speech and "
            "holds it, `auto-per-chunk` detects it anew every half minute. By default `WHISPER_LANGUAGE`.",
            examples=["en"],
        ),
    ] = None
    priority: Annotated[
        Priority, Field(description="How soon the job is wanted; within one priority, first come, first served.")
    ] = Priority.NORMAL
    channels: Annotated[
        Channels,
        Field(description="`split` transcribes each channel by itself and names it as the speaker; `mix` mixes them."),
    ] = Channels.MIX
    strategy: Annotated[
        Strategy | None,
        Field(
            description="How speech is found: by its level, by a voice detector (`vad`), or not at all (`fixed`). "
            "By default `CHUNK_STRATEGY`."
        ),
    ] = None
    allow_partial: Annotated[
        bool,
        Field(description="Whether a part that cannot be transcribed leaves a gap instead of failing the job."),
    ] = False


class ListQuery(BaseModel):
    """Which jobs are wanted. An unknown parameter is refused, as that of an upload."""

    model_config = ConfigDict(extra="forbid")

    status: Annotated[JobStatus | None, Field(description="Only jobs in this state.")] = None
    cursor: Annotated[str | None, Field(max_length=64, description="`next_cursor` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=200, description="Jobs on a page, at most.")] = 50


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    type: Annotated[str, Field(description="The kind of error; stable, for programs.")]
    title: Annotated[str, Field(description="The kind of error, for people.")]
    status: Annotated[int, Field(description="The HTTP status.")]
    detail: Annotated[str, Field(description="What is wrong and where.")]
    mend: Annotated[str | None, Field(description="How to put it right.")] = None
    instance: Annotated[str, Field(description="The path that was asked for.")]
    request_id: Annotated[str, Field(description="Names the request in the log; also the `X-Request-ID` header.")]
    details: Annotated[dict[str, Any], Field(description="Facts for programs: limits, progress, wrong fields.")] = {}


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
