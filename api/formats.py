"""In which form a transcript is answered: by the query, else by the `Accept` header, else as JSON."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from fastapi import Response
from pydantic import BaseModel, Field, model_validator

from api.examples import FILES
from stt_core.errors import InvalidInputError, NotAcceptableError
from stt_core.transcript.document import Transcript
from stt_core.transcript.formats import CONTENT_TYPES, SUBTITLES, render
from stt_core.transcript.subtitles import CueLayout
from stt_core.transcript.verbose import verbose


class ResultFormat(StrEnum):
    """The forms of a transcript."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"
    #: JSON as OpenAI's API has it.
    VERBOSE_JSON = "verbose_json"

    @property
    def extension(self) -> str:
        """The form's name as a file extension, under which `stt_core` knows it."""
        return {"text": "txt", "verbose_json": "json"}.get(self.value, self.value)

    @property
    def content_type(self) -> str:
        """The content type that it is served under."""
        return CONTENT_TYPES[self.extension]

    @property
    def media_type(self) -> str:
        """The content type without its parameters: what an `Accept` header asks for."""
        return self.content_type.partition(";")[0]


class ResultQuery(BaseModel, extra="forbid"):
    """How a transcript is wanted. An unknown parameter is refused, as that of an upload."""

    format: Annotated[
        ResultFormat | None,
        Field(description="Form of the transcript; by default what `Accept` asks for, else `json`."),
    ] = None
    max_line_width: Annotated[
        int | None, Field(ge=1, le=1000, description="Of subtitles: columns in a line (wide: two).", examples=[42])
    ] = None
    max_line_count: Annotated[
        int | None,
        Field(ge=1, le=100, description="Of subtitles with a width: lines shown at once; what is more is shown after."),
    ] = None
    word_timestamps: Annotated[bool, Field(description="Of JSON: whether it has every word with its time.")] = True

    @model_validator(mode="after")
    def _check_layout(self) -> Self:
        if self.max_line_count and not self.max_line_width:
            raise ValueError("max_line_count needs a max_line_width")
        return self


#: What is answered where nothing is wanted, and the content of each answer as OpenAPI describes it.
_OFFERS = [form for form in ResultFormat if form is not ResultFormat.VERBOSE_JSON]
CONTENT_OF_ANSWERS: dict[str, Any] = {
    form.media_type: {"schema": {"type": "string"}, "example": FILES[form.extension]}
    for form in _OFFERS
    if form is not ResultFormat.JSON
}


def transcript_response(transcript: Transcript, wanted: ResultQuery, form: ResultFormat) -> Response:
    """Return a transcript in the form that is wanted."""
    words = wanted.word_timestamps
    if form is ResultFormat.JSON:
        body = transcript.model_dump_json(exclude=None if words else {"segments": {"__all__": {"words"}}})
    elif form is ResultFormat.VERBOSE_JSON:
        body = verbose(transcript, words=words).model_dump_json(exclude_none=True)
    else:
        layout = CueLayout(wanted.max_line_width, wanted.max_line_count)
        body = render(transcript, form.extension, layout=layout)
    return Response(body, headers={"Content-Type": form.content_type, "Vary": "Accept"})


def choose_format(wanted: ResultQuery, accept: str) -> ResultFormat:
    """Return the form to answer in, before anything is read.

    Raises:
        NotAcceptableError: The client takes none of ours.
        InvalidInputError: A layout is wanted of what has no lines.
    """
    form = wanted.format or _negotiate(accept)
    if wanted.max_line_width and form.extension not in SUBTITLES:
        raise InvalidInputError(
            f"{form} has no max_line_width.", mend=f"Leave it out, or ask for format={' or '.join(SUBTITLES)}."
        )
    return form


def _negotiate(accept: str) -> ResultFormat:
    """Return the form that an `Accept` header likes best (RFC 9110, 12.5.1); of equal quality, what it names first."""
    for _, media_range in sorted(_ranges(accept or "*/*"), key=lambda part: (-part[0], part[1].count("*"))):
        for form in _OFFERS:
            if media_range in ("*/*", form.media_type, f"{form.media_type.partition('/')[0]}/*"):
                return form
    raise NotAcceptableError(
        f"There is no transcript as {accept[:200]!r}.",
        mend=f"Accept one of {', '.join(form.media_type for form in _OFFERS)}, or use ?format=.",
    )


def _ranges(accept: str) -> list[tuple[float, str]]:
    """Return the quality and the media range of each part of the header that may be answered."""
    found = []
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        value = float(quality) if quality.replace(".", "", 1).isdecimal() else 1.0
        if value > 0:
            found.append((value, media_range))
    return found
