"""Sessions of people in a browser: a key is shown once, and a short-lived token of a cookie stands for it from then on.

A page must not keep a key, which opens everything for ever: what runs in the page could read it. The session's token is
256 random bits; MongoDB holds its SHA-256 alone, as of keys, and forgets it when it has run out.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import Field, SecretStr

from stt_core.access.api_key import ApiKey
from stt_core.access.keys import digest
from stt_core.stores.database import Database, mongo_errors
from stt_core.stores.documents import Document, utc_now

#: How long somebody stays signed in: a day at work.
SESSION_HOURS = 12


class Session(Document):
    """A session; it ends with its key, or when its time is over."""

    digest: str = Field(alias="_id")
    key_id: str
    expires_at: datetime


@dataclass(frozen=True)
class NewSession:
    """A session at the only moment at which its token is known."""

    token: SecretStr
    expires_at: datetime


class Sessions:
    """The only place that reads and writes the `sessions` collection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, key: ApiKey) -> NewSession:
        """Begin a session of a key.

        Raises:
            DatabaseUnavailableError: MongoDB does not answer.
        """
        token = secrets.token_urlsafe(32)
        session = Session(
            digest=digest(token), key_id=key.key_id, expires_at=utc_now() + timedelta(hours=SESSION_HOURS)
        )
        with mongo_errors("beginning a session"):
            self._database.sessions.delete_many({"expires_at": {"$lt": utc_now()}})
            self._database.sessions.insert_one(session.to_document())
        return NewSession(SecretStr(token), session.expires_at)

    def key_id(self, token: str) -> str | None:
        """Return the id of the key that a session is of; None where there is no such session, or none any more.

        Raises:
            DatabaseUnavailableError: MongoDB does not answer.
        """
        with mongo_errors("looking up a session"):
            document = self._database.sessions.find_one({"_id": digest(token)})
        session = Session.from_document(document) if document else None
        return session.key_id if session and session.expires_at > utc_now() else None

    def close(self, token: str) -> None:
        """End a session; repeating it changes nothing.

        Raises:
            DatabaseUnavailableError: MongoDB does not answer.
        """
        with mongo_errors("ending a session"):
            self._database.sessions.delete_one({"_id": digest(token)})
