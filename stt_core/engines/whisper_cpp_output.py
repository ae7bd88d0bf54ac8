"""What a whisper.cpp executable writes with `-ojf`: read, checked, and turned into segments and words.

The JSON can hold raw control characters and, where a character is spread over several tokens, broken UTF-8; its times
are not clamped to the audio. None of that leaves this module.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field

from stt_core.errors import EngineError
from stt_core.languages import UNSPACED
from stt_core.transcript.document import ChunkSegment, ChunkTranscript, Word
from stt_core.transcript.lines import OPENING, graphemes
from stt_core.transcript.text import one_line

Read = TypeVar("Read")

#: `[_BEG_]`, `[_TT_550]` and the like: tokens that are not text.
_SPECIAL = re.compile(r"\s*\[_[A-Z]+_?\w*\]\s*")
#: Parts words of Thai, Khmer and Burmese where one wants to see nothing between them.
_ZERO_WIDTH_SPACE = "\u200b"


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


def read_output(path: Path, name: str, audio_seconds: float) -> ChunkTranscript:
    """Read the file that the engine wrote of the recording `name`; see `parse_output`.

    Raises:
        EngineError: There is no such file, or it is not usable.
    """
    return _read(path, name, lambda raw: parse_output(raw, audio_seconds))


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
        text = one_line(_decode([segment]))
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
    for shared in _by_character(token for token in tokens if token.text and not _SPECIAL.fullmatch(token.text)):
        if groups and not _begins_word(_decode(shared), _decode(groups[-1]), spaced=spaced):
            groups[-1] += shared
        else:
            groups.append(shared)
    words = []
    for group in groups:
        text = one_line(_decode(group))
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


def _by_character(tokens: Iterable[_Token]) -> Iterator[list[_Token]]:
    """Yield the tokens, those together that hold the bytes of one character."""
    shared: list[_Token] = []
    for token in tokens:
        if shared and token.text[0].isspace():  # the character stays broken
            yield shared
            shared = []
        shared.append(token)
        unfinished = codecs.getincrementaldecoder("utf-8")("replace")
        unfinished.decode(b"".join(map(_bytes, shared)))
        if not unfinished.getstate()[0]:
            yield shared
            shared = []
    if shared:
        yield shared


def _begins_word(text: str, before: str, *, spaced: bool) -> bool:
    """Say whether a text begins a word; without spaces, a letter does, and the bracket before it."""
    if text[0].isspace():
        return True
    if spaced or unicodedata.category(before[-1]) in OPENING:
        return False
    opens = text[0].isalnum() or text[0] == _ZERO_WIDTH_SPACE or unicodedata.category(text[0]) in OPENING
    # Vowels of Thai and Lao and stacked consonants of Burmese are letters, but go with the letter before them.
    return opens and len(graphemes(before + text)) == len(graphemes(before)) + len(graphemes(text))


def _decode(pieces: Iterable[_Token | _Segment]) -> str:
    return b"".join(map(_bytes, pieces)).decode("utf-8", "replace")


def _bytes(piece: _Token | _Segment) -> bytes:
    return piece.text.encode("utf-8", "surrogateescape")


def _clamp(offsets: _Offsets, low: float, high: float) -> tuple[float, float]:
    start = min(max(offsets.start / 1000, low), high)
    return start, min(max(offsets.end / 1000, start), high)
