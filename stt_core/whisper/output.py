"""What a whisper.cpp executable writes with `-ojf`: read, checked, and turned into segments and words.

The JSON can hold raw control characters and, where a character is spread over several tokens, broken UTF-8; its times
are not clamped to the audio. None of that leaves this module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field

from stt_core.errors import EngineError
from stt_core.logs import logged
from stt_core.transcript.models import ChunkSegment, ChunkTranscript, Word
from stt_core.whisper.languages import UNSPACED

Read = TypeVar("Read")

#: `[_BEG_]`, `[_TT_550]` and the like: tokens that are not text.
_SPECIAL = re.compile(r"\s*\[_[A-Z]+_?\w*\]\s*")


class _Offsets(BaseModel):
    """Milliseconds from the start of the audio."""

    start: Annotated[int, Field(alias="from")]
    end: Annotated[int, Field(alias="to")]


class _Token(BaseModel):
    text: str
    p: float = 0.0
    offsets: _Offsets | None = None


class _Segment(BaseModel):
    text: str
    offsets: _Offsets
    tokens: list[_Token] = []


class _Result(BaseModel):
    language: str
    #: Of every language; `stt-whisper-cli` tells them where the language alone was asked for.
    probabilities: dict[str, float] = {}


class _Output(BaseModel):
    result: _Result
    transcription: list[_Segment]


@logged
def read_output(path: Path, name: str, audio_seconds: float) -> ChunkTranscript:
    """Read the file that the engine wrote of the recording `name`; see `parse_output`.

    Raises:
        EngineError: There is no such file, or it is not usable.
    """
    return _read(path, name, lambda raw: parse_output(raw, audio_seconds))


@logged
def read_languages(path: Path, name: str, probability: float) -> dict[str, float]:
    """Read the languages that the engine heard in the recording `name`: their codes and probabilities.

    Args:
        path: The file that it wrote.
        name: Of the recording, for people.
        probability: Of the most probable language, for an engine that names that one alone.

    Raises:
        EngineError: There is no such file, or it is not usable.
    """
    result = _read(path, name, _parse).result
    return result.probabilities or {result.language: probability}


@logged
def parse_output(raw: bytes, audio_seconds: float) -> ChunkTranscript:
    """Read the JSON of one recording; times become seconds, clamped to `0 … audio_seconds` and to the segment.

    Raises:
        ValueError: It is not JSON, or not whisper.cpp's.
    """
    output = _parse(raw)
    language = output.result.language
    segments = []
    for segment in output.transcription:
        start, end = _clamp(segment.offsets, 0.0, audio_seconds)
        text = _clean(segment.text)
        if text:
            words = _words(segment.tokens, start, end, spaced=language not in UNSPACED)
            segments.append(ChunkSegment(start=start, end=end, text=text, words=words))
    return ChunkTranscript(language=language, segments=segments)


def _read(path: Path, name: str, parse: Callable[[bytes], Read]) -> Read:
    try:
        return parse(path.read_bytes())
    except FileNotFoundError as error:
        raise EngineError(
            f"The engine ended with exit code 0 but wrote no result for {name}.",
            mend="Check the free space of the temporary folder; run the logged command by hand to see more.",
        ) from error
    except (OSError, ValueError) as error:
        raise EngineError(f"The engine's result for {name} is unusable: {str(error)[:300]}.") from error


def _parse(raw: bytes) -> _Output:
    # Surrogate escapes keep the bytes of broken characters until the tokens that share one are joined.
    return _Output.model_validate(json.loads(raw.decode("utf-8", "surrogateescape"), strict=False))


def _words(tokens: Iterable[_Token], start: float, end: float, *, spaced: bool) -> list[Word]:
    groups: list[list[_Token]] = []
    for token in tokens:
        if _SPECIAL.fullmatch(token.text) or not token.text:
            continue
        if groups and not _begins_word(token.text, groups[-1][-1].text, spaced=spaced):
            groups[-1].append(token)
        else:
            groups.append([token])
    words = []
    for group in groups:
        text = _clean("".join(token.text for token in group))
        timed = [_clamp(token.offsets, start, end) for token in group if token.offsets]
        if text:
            words.append(
                Word(
                    start=timed[0][0] if timed else start,
                    end=max(times[1] for times in timed) if timed else end,
                    text=text,
                    probability=min(1.0, max(0.0, sum(token.p for token in group) / len(group))),
                )
            )
    return words


def _begins_word(text: str, before: str, *, spaced: bool) -> bool:
    if text[0].isspace():
        return True
    half_a_character = "\udc80" <= before[-1] <= "\udcff" or "\udc80" <= text[0] <= "\udcff"
    return not spaced and text[0].isalnum() and not half_a_character


def _clean(text: str) -> str:
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in whole).split())


def _clamp(offsets: _Offsets, low: float, high: float) -> tuple[float, float]:
    start = min(max(offsets.start / 1000, low), high)
    return start, min(max(offsets.end / 1000, start), high)
