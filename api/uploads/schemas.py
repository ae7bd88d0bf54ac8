"""What an upload can ask for, whichever way its recording comes in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, cast

from fastapi import UploadFile
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, HttpUrl, TypeAdapter

from stt_core.jobs.job import Priority
from stt_core.options import Channels, Strategy
from stt_core.tasks.wishes import Wishes

#: The most that a job's metadata may weigh as JSON, bytes.
METADATA_BYTES = 8192
#: How deep it may be nested. Pydantic writes 255 levels and fails at more, with whatever list the job stands in.
METADATA_DEPTH = 64
_URL = TypeAdapter(HttpUrl)


def _read_json(value: object) -> Any:
    """Read JSON text, as forms have it."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error


def _check_metadata(value: dict[str, Any]) -> dict[str, Any]:
    if _is_deeper(value, METADATA_DEPTH):
        raise ValueError(f"is nested too deeply; at most {METADATA_DEPTH} levels are kept")
    size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    if size > METADATA_BYTES:
        raise ValueError(f"has {size} bytes as JSON; at most {METADATA_BYTES} are kept")
    return value


def _is_deeper(value: object, levels: int) -> bool:
    inside = [value]
    for _ in range(levels):
        inside = [item for one in inside for item in _items(one)]
    return any(isinstance(one, dict | list) for one in inside)


def _items(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _read_languages(value: object) -> object:
    """Read codes between commas, or a JSON list as text; a form may have the field several times."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list):
        return value
    texts = [one.strip() if isinstance(one, str) else one for one in given]
    return [code for one in texts for code in (_codes(one) if isinstance(one, str) else [one])]


def _codes(text: str) -> Any:
    return _read_json(text) if text.startswith("[") else text.split(",") if text else []


def _check_url(value: str) -> str:
    url = _URL.validate_python(value)
    if url.username or url.password:
        raise ValueError("must not carry a user name or a password")
    return value


#: A web address without credentials, which would be kept and shown. Where it leads is checked when it is used.
WebUrl = Annotated[str, Field(max_length=2000), AfterValidator(_check_url)]


#: Languages to choose from: a list, or codes between commas.
Languages = Annotated[
    list[str],
    BeforeValidator(_read_languages),
    Field(
        max_length=100,
        description="ISO 639-1 codes or English names of what may be spoken: the language is chosen among them. "
        "A list, or commas between them; not together with a `language` other than `auto`. By default any language.",
        examples=[["de", "en"]],
    ),
]


Temperature = Annotated[
    float | None, Field(ge=0, le=1, description="Sampling temperature; by default the engine's own.")
]


#: Which of a file's audio tracks is transcribed.
Track = Annotated[
    int | None,
    Field(
        ge=1,
        description="The audio track of a file with several, counted from 1. By default the one that its container "
        "flags, or, where no voice is heard in that, the first with a voice.",
    ),
]


class UploadOptions(BaseModel, extra="forbid"):
    """Options of a transcription. An unknown one is refused: a misspelt option must not be ignored in silence."""

    model: Annotated[
        str | None,
        Field(max_length=64, description="Name of a whisper model; by default `WHISPER_MODEL`.", examples=["base"]),
    ] = None
    language: Annotated[
        str | None,
        Field(
            max_length=32,
            description="ISO 639-1 code or English name of what is spoken; `auto` detects it where the voice is and "
            "holds it, `auto-per-chunk` detects it anew every half minute. By default `WHISPER_LANGUAGE`.",
            examples=["en"],
        ),
    ] = None
    languages: Languages = []
    priority: Annotated[
        Priority, Field(description="How soon the job is wanted; within one priority, first come, first served.")
    ] = Priority.NORMAL
    track: Track = None
    channels: Annotated[
        Channels,
        Field(description="`split` transcribes each channel by itself and names it as the speaker; `mix` mixes them."),
    ] = Channels.MIX
    strategy: Annotated[
        Strategy | None,
        Field(
            description="How speech is found: by its level (`silence`), by a voice detector alone (`vad`), by the one "
            "that suits the recording (`auto`), or not at all (`fixed`). By default `CHUNK_STRATEGY`."
        ),
    ] = None
    allow_partial: Annotated[
        bool,
        Field(description="Whether a part that cannot be transcribed leaves a gap instead of failing the job."),
    ] = False
    prompt: Annotated[
        str | None,
        Field(
            max_length=2000,
            description="Text before the audio: names and spellings to expect. Whisper takes the last 224 tokens.",
            examples=["Ada Lovelace, Analytical Engine."],
        ),
    ] = None
    translate: Annotated[
        bool, Field(description="Translate into English instead of transcribing; takes a multilingual model.")
    ] = False
    temperature: Temperature = None
    word_timestamps: Annotated[bool, Field(description="Whether the transcript has the times of words.")] = True
    metadata: Annotated[
        dict[str, Any],
        BeforeValidator(_read_json),
        AfterValidator(_check_metadata),
        Field(
            description=f"Your own data, a JSON object of at most {METADATA_BYTES} bytes, given back with the job.",
            examples=[{"meeting": 42}],
        ),
    ] = {}
    callback_url: Annotated[
        WebUrl | None, Field(description="Where to tell that the job has ended: `http://` or `https://`.")
    ] = None

    def wishes(self, owner: str | None) -> Wishes:
        """Return the options as the core takes them, for a job of that owner."""
        asked: Any = {name: getattr(self, name) for name in UploadOptions.model_fields}
        return cast("Wishes", asked | {"owner": owner})


class UploadBeside(UploadOptions):
    """What may stand beside a recording."""

    filename: Annotated[
        str | None, Field(max_length=1024, description="Name of the recording, where it brings none or another.")
    ] = None
    deduplicate: Annotated[
        bool,
        Field(
            description="Answer with your job of the same bytes and options, if there is one that did not fail and "
            "was not cancelled or deleted, instead of another."
        ),
    ] = False


class SourceUpload(UploadBeside):
    """An upload whose recording is elsewhere."""

    source_url: Annotated[
        WebUrl,
        Field(
            description="Where the recording is fetched from: a public address, or one of `SOURCE_URL_ALLOW`.",
            examples=["https://example.org/talk.mp3"],
        ),
    ]


class UploadForm(UploadBeside):
    """The fields of an upload: the recording, or where it is, and the options."""

    file: Annotated[
        UploadFile | None,
        Field(description="The recording: any common audio or video format, recognised by its bytes, not its name."),
    ] = None
    source_url: Annotated[
        WebUrl | None, Field(description="Where the recording is fetched from, instead of `file`.")
    ] = None


class PresignRequest(UploadOptions):
    """What is to be uploaded straight to the object store."""

    filename: Annotated[str, Field(max_length=1024, description="Name of the recording.", examples=["meeting.m4a"])]
    size: Annotated[
        int | None, Field(ge=1, description="Its size in bytes, if known: it is then refused at once, if too large.")
    ] = None


def other_bodies() -> dict[str, Any]:
    """Return what OpenAPI is to say of an upload's bodies that are no form, and of the options beside them."""
    source = SourceUpload.model_json_schema(ref_template="#/components/schemas/{model}")
    elsewhere = {"schema": {**source, "$defs": {}}, "example": {"source_url": "https://example.org/talk.mp3"}}
    recording = {"schema": {"type": "string", "format": "binary"}}
    content = {"application/json": elsewhere, "application/octet-stream": recording}
    options = UploadBeside.model_json_schema(ref_template="#/components/schemas/{model}")["properties"]
    return {
        "requestBody": {"content": content},
        "parameters": [
            {"name": name, "in": "query", "required": False, "description": schema.pop("description"), **_place(schema)}
            for name, schema in options.items()
        ],
    }


def _place(schema: dict[str, Any]) -> dict[str, Any]:
    """Return where a parameter of that schema stands; an object is written as JSON."""
    return {"content": {"application/json": {"schema": schema}}} if "object" in schema.values() else {"schema": schema}
