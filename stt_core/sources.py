"""Where backfills find recordings (`BACKFILL_SOURCES`), how these are transcribed, and where their transcripts go."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from stt_core.errors import LanguageChoiceError, UnknownLanguageError
from stt_core.languages import check_language, check_languages, resolve_languages
from stt_core.options import Channels, JobOptions, Strategy

BUCKET_PATTERN = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"


def _split(value: object) -> object:
    """Read codes between commas, as an upload has them, too."""
    return value.split(",") if isinstance(value, str) else value


class BackfillSource(BaseModel):
    """The recordings of a bucket under a prefix; what is None of the options follows the system's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bucket: Annotated[str, Field(pattern=BUCKET_PATTERN)]
    prefix: str = ""
    #: What the key after the prefix looks like; `*` stands for `/` too, as keys have no folders.
    glob: Annotated[str, Field(min_length=1)] = "**"
    #: `BUCKET` or `BUCKET/PREFIX/` of the transcripts; None: `BACKFILL_OUTPUT_PREFIX` in `MINIO_BUCKET`.
    output: Annotated[str, Field(pattern=BUCKET_PATTERN[:-1] + r"(/.*)?$")] | None = None
    language: str | None = None
    languages: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    model: Annotated[str, Field(min_length=1)] | None = None
    track: Annotated[int, Field(ge=1)] | None = None
    channels: Channels = Channels.MIX
    strategy: Strategy | None = None
    prompt: str | None = None
    allow_partial: bool = False
    translate: bool = False
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    word_timestamps: bool = True

    @field_validator("language")
    @classmethod
    def _check_language(cls, value: str | None) -> str | None:
        try:
            return value if value is None else check_language(value)
        except UnknownLanguageError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _check_languages(self) -> Self:
        try:
            check_languages(self.languages, language=self.language)
        except LanguageChoiceError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def name(self) -> str:
        """What tells it from the others: `bucket/prefix`."""
        return f"{self.bucket}/{self.prefix}"

    def matches(self, key: str) -> bool:
        """Tell whether an object of its bucket is one of its own, by its name."""
        return key.startswith(self.prefix) and fnmatchcase(key.removeprefix(self.prefix), self.glob)

    def job_options(self, *, default_language: str, default_model: str, model: str | None = None) -> JobOptions:
        """Return how its recordings are transcribed: what it leaves open as the system does, or by another model."""
        own = self.model_dump(include=set(JobOptions.model_fields))
        own["language"], own["languages"] = resolve_languages(self.language, self.languages, default=default_language)
        own["model"] = model or self.model or default_model
        return JobOptions.model_validate(own)

    def output_place(self, default_bucket: str, default_prefix: str) -> tuple[str, str]:
        """Return the bucket of its transcripts and what their keys begin with, a `/` at its end unless it is empty."""
        bucket, prefix = default_bucket, default_prefix
        if self.output is not None:
            bucket, _, prefix = self.output.partition("/")
        return bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""


def find_source(sources: Sequence[BackfillSource], bucket: str, key: str) -> BackfillSource | None:
    """Return the source that an object belongs to; None where it belongs to none (any more)."""
    return next((source for source in sources if source.bucket == bucket and source.matches(key)), None)


def find_overlap(sources: Sequence[BackfillSource]) -> tuple[BackfillSource, BackfillSource] | None:
    """Return two sources of which one lies within the other, whose objects would belong to both."""
    for one, other in combinations(sorted(sources, key=lambda source: source.name), 2):
        if one.bucket == other.bucket and other.prefix.startswith(one.prefix):
            return one, other
    return None
