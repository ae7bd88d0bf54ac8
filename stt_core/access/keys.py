"""API keys: made once, shown once, looked up by their hash.

A token is 256 random bits. What MongoDB holds is its SHA-256, so that whoever reads the database cannot use the API. A
slow hash (bcrypt, argon2) is for passwords, which can be guessed: nobody guesses 256 bits, and each request would pay
for it. A token is found by its hash, as the key of a table: what an attacker could learn from the time that takes is
about hashes, which they cannot steer, so no comparison in constant time is needed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass

from pydantic import SecretStr

from stt_core.access.api_key import ApiKey, Scope
from stt_core.errors import InvalidDocumentError, InvalidInputError, KeyNotFoundError
from stt_core.logs import get_logger
from stt_core.stores.database import Database, mongo_errors
from stt_core.stores.documents import utc_now

logger = get_logger(__name__)

#: Tells people (and scanners for leaked secrets) what the rest is.
TOKEN_PREFIX = "stt_"
#: As many a minute as `stt transcribe` asks for, twice.
DEFAULT_RATE = 600
DEFAULT_CONCURRENT = 4
_MOST = 1_000_000


@dataclass(frozen=True)
class NewKey:
    """A key at the only moment at which its token is known."""

    key: ApiKey
    token: SecretStr


@dataclass(frozen=True)
class KeyRing:
    """Every key that may be used now, by its digest, and whether there ever was one."""

    keys: dict[str, ApiKey]
    was_any: bool

    def find(self, token: str) -> ApiKey | None:
        """Return the key of a token, if there is one."""
        return self.keys.get(digest(token))

    def of_id(self, key_id: str) -> ApiKey | None:
        """Return the key with that id, if it may be used now."""
        return next((key for key in self.keys.values() if key.key_id == key_id), None)


class ApiKeys:
    """The only place that reads and writes the `api_keys` collection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        scopes: Collection[Scope],
        *,
        rate: int = DEFAULT_RATE,
        concurrent: int = DEFAULT_CONCURRENT,
    ) -> NewKey:
        """Make a key; its token is never to be had again.

        Args:
            name: Whose it is, for people.
            scopes: What it may do.
            rate: Requests a minute.
            concurrent: Uploads under way at once.

        Raises:
            InvalidInputError: A key like that is of no use.
        """
        if not re.fullmatch(r"[^\W_][\w .@-]{0,99}", name):
            raise InvalidInputError("The name of a key is 1 to 100 letters, digits, blanks or any of _.@-.")
        if not scopes or not all(1 <= limit <= _MOST for limit in (rate, concurrent)):
            raise InvalidInputError(f"A key has at least one scope, and limits from 1 to {_MOST}.")
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        key = ApiKey(
            key_id=secrets.token_hex(6),
            digest=digest(token),
            name=name,
            scopes=sorted(set(scopes)),
            rate=rate,
            concurrent=concurrent,
        )
        with mongo_errors(f"inserting API key {name!r}"):
            self._database.api_keys.insert_one(key.to_document())
        logger.info("API key {} made: name={!r} scopes={}", key.key_id, name, ",".join(key.scopes))
        return NewKey(key, SecretStr(token))

    def list_keys(self) -> list[ApiKey]:
        """Return every key there ever was, the oldest first."""
        with mongo_errors("reading API keys"):
            documents = list(self._database.api_keys.find())
        return sorted((ApiKey.from_document(document) for document in documents), key=lambda key: key.created_at)

    def revoke(self, key_id: str) -> ApiKey:
        """End a key for good; repeating it changes nothing. Its jobs stay, for keys of scope `admin`.

        Raises:
            KeyNotFoundError: There is no such key.
        """
        with mongo_errors(f"revoking API key {key_id}"):
            self._database.api_keys.update_one(
                {"_id": key_id, "revoked_at": {"$eq": None}}, {"$set": {"revoked_at": utc_now()}}
            )
            document = self._database.api_keys.find_one({"_id": key_id})
        if document is None:
            raise KeyNotFoundError(f"There is no API key {key_id!r}.", mend="`stt keys list` shows their ids.")
        logger.info("API key {} is revoked", key_id)
        return ApiKey.from_document(document)

    def ring(self) -> KeyRing:
        """Return the keys that may be used now, with one question: they are few, and whoever asks keeps them a while.

        One that cannot be read opens nothing, and keeps nobody else out.
        """
        with mongo_errors("reading API keys"):
            documents = list(self._database.api_keys.find())
        keys: dict[str, ApiKey] = {}
        for document in documents:
            try:
                key = ApiKey.from_document(document)
            except InvalidDocumentError as error:
                logger.error("an API key is left out: {}", error)
                continue
            if key.revoked_at is None:
                keys[key.digest] = key
        return KeyRing(keys, bool(documents))


def digest(token: str) -> str:
    """Return what is kept of a token: its SHA-256, in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()
