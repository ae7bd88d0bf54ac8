"""What OpenAI's API is sent and answers, as far as we have it (its reference: Audio, Models).

A field that we cannot honour is refused rather than ignored: its caller would be given something else than was asked
for.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import UploadFile
from pydantic import BaseModel, Field

from api.uploads.schemas import Languages, Temperature, Track

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]


class TranslationForm(BaseModel, extra="forbid"):
    """The fields of a translation into English."""

    file: Annotated[UploadFile, Field(description="The recording: any common audio or video format.")]
    model: Annotated[
        str,
        Field(
            max_length=64,
            description="One of `GET /v1/models`; the names of OpenAI's own models stand for `WHISPER_MODEL`.",
            examples=["whisper-1"],
        ),
    ]
    prompt: Annotated[str | None, Field(description="Text before the audio: names and spellings to expect.")] = None
    response_format: Annotated[ResponseFormat, Field(description="Form of the answer.")] = "json"
    temperature: Temperature = None
    track: Track = None


class TranscriptionForm(TranslationForm):
    """The fields of a transcription."""

    language: Annotated[
        str | None,
        Field(max_length=32, description="What is spoken; by default `WHISPER_LANGUAGE`.", examples=["en"]),
    ] = None
    languages: Languages = []
    more_languages: Annotated[
        Languages, Field(alias="languages[]", description="The same, as OpenAI's client sends it.")
    ] = []
    timestamp_granularities: Annotated[
        list[Literal["word", "segment"]],
        Field(alias="timestamp_granularities[]", description="What `verbose_json` has."),
    ] = ["segment"]
    stream: Annotated[bool, Field(description="Whether the text comes as events, while it is heard.")] = False
    chunking_strategy: Annotated[
        Literal["auto"] | None, Field(description="Recordings are always cut at their pauses.")
    ] = None


class Usage(BaseModel):
    """What the answer was made of."""

    type: Literal["duration"] = "duration"
    seconds: Annotated[float, Field(description="Length of the recording.")]


class Transcription(BaseModel):
    """The text of a recording."""

    text: str
    usage: Usage


class TextDelta(BaseModel):
    """More of the text, as an event."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str


class TextDone(BaseModel):
    """All of the text, as the last event."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str


class Model(BaseModel):
    """A model that can be asked for."""

    id: Annotated[str, Field(examples=["whisper-1"])]
    object: Literal["model"] = "model"
    created: Annotated[int, Field(description="When its file was written, Unix time.", examples=[1_773_480_413])]
    owned_by: str = "whisper.cpp"


class ModelList(BaseModel):
    """The models that can be asked for."""

    object: Literal["list"] = "list"
    data: list[Model]
