"""API keys as data: what MongoDB holds of a key, and what a key may do."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from stt_core.stores.documents import Document, utc_now


class Scope(StrEnum):
    """What a key may do."""

    #: Look at its own jobs and fetch their results.
    READ = "read"
    #: Upload, cancel, send again and delete.
    WRITE = "write"
    #: Everything, with everybody's jobs and the metrics.
    ADMIN = "admin"


class ApiKey(Document):
    """A key of the API. The token itself is nowhere: `digest` is the SHA-256 of it, in hexadecimal."""

    key_id: str = Field(alias="_id")
    digest: str
    name: str = Field(min_length=1, max_length=100)
    scopes: list[Scope]
    #: Requests a minute, on average; as many may come at once after a quiet minute.
    rate: int = Field(ge=1)
    #: Uploads under way at once.
    concurrent: int = Field(ge=1)
    created_at: datetime = Field(default_factory=utc_now)
    revoked_at: datetime | None = None
