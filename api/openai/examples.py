"""The answers as the API's documentation shows them; made by what makes the real ones, so that they cannot lie."""

from __future__ import annotations

import json
from typing import Any, get_args

from api.examples import EXAMPLES
from api.openai.answers import transcript_response
from api.openai.schemas import ResponseFormat, TextDelta, TextDone
from stt_core.transcript.document import Transcript

_TRANSCRIPT = Transcript.model_validate(EXAMPLES["Transcript"][0])
_JSON, _EVENTS = "application/json", "text/event-stream"


def content_of_answers(*, with_stream: bool = False) -> dict[str, Any]:
    """Return the content of a transcript's answer, by media type, for the OpenAPI description."""
    content: dict[str, Any] = {}
    for form in get_args(ResponseFormat):
        answer = transcript_response(_TRANSCRIPT, form, ["segment"], {})
        body = bytes(answer.body).decode()
        media_type = answer.headers["content-type"].partition(";")[0]
        described = content.setdefault(media_type, {"examples": {}})
        described["examples"][form] = {"value": json.loads(body) if media_type == _JSON else body}
    if with_stream:
        events = (TextDelta(delta=_TRANSCRIPT.text), TextDone(text=_TRANSCRIPT.text))
        lines = "".join(f"data: {event.model_dump_json()}\n\n" for event in events)
        content[_EVENTS] = {"examples": {"stream": {"value": lines}}}
    for media_type in content.keys() - {_JSON, _EVENTS}:  # one of events would be read as that of each event
        content[media_type]["schema"] = {"type": "string"}
    return content
