"""What every document of MongoDB is: a model that is written whole, and read with an error that names what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from stt_core.errors import InvalidDocumentError
from stt_core.logs import get_logger

logger = get_logger(__name__)


def utc_now() -> datetime:
    """Return the current time, UTC, cut to the millisecond that MongoDB keeps."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class Document(BaseModel):
    """A MongoDB document; `_id` is the field aliased so."""

    model_config = ConfigDict(populate_by_name=True, validate_assignment=False, extra="ignore")

    def to_document(self) -> dict[str, Any]:
        """Return the document as MongoDB stores it: plain values, datetimes kept, enums as their text."""
        document: dict[str, Any] = _plain(self.model_dump(by_alias=True))
        return document

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """Read a document of MongoDB.

        Raises:
            InvalidDocumentError: It does not fit the model; every wrong field is logged with its reason.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            logger.error("{} {} does not fit: {}", cls.__name__, document.get("_id"), error.errors(include_url=False))
            fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
            raise InvalidDocumentError(
                f"The stored {cls.__name__} {document.get('_id')} is invalid in: {fields}.",
                mend="Correct or delete that document in MongoDB.",
            ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, StrEnum) else value
