"""Transcripts as files: json, txt, srt, vtt and tsv.

The writers of subtitles are our own few lines: the libraries that write SRT and WebVTT change text or leave it
unescaped (docs/decisions/0005-own-subtitle-writers.md). The tests read every file back with FFmpeg, as a player would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import merge

from stt_core.errors import InvalidInputError
from stt_core.logs import logged
from stt_core.transcript.models import Segment, Transcript

#: The formats by the name of their file extension, with the content type each is served under.
CONTENT_TYPES = {
    "json": "application/json",
    "txt": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
}
FORMATS = tuple(CONTENT_TYPES)


@logged
def render(transcript: Transcript, format: str) -> str:
    """Return the transcript as the text of a file.

    Args:
        transcript: What to write.
        format: One of `FORMATS`.

    Raises:
        InvalidInputError: There is no such format.
    """
    writer = _WRITERS.get(format)
    if writer is None:
        raise InvalidInputError(f"There is no transcript format {format!r}.", mend=f"Use one of {', '.join(FORMATS)}.")
    return writer(transcript)


@logged
def clock(seconds: float) -> str:
    """Return a time of a recording for people: 00:01:02."""
    return _clock(round(seconds) * 1000, ".")[:-4]


def _json(transcript: Transcript) -> str:
    return transcript.model_dump_json(indent=2) + "\n"


def _txt(transcript: Transcript) -> str:
    """One segment a line, with its speaker where the channels are told apart."""
    return "".join(f"{_spoken(segment)}\n" for segment in _shown(transcript))


def _srt(transcript: Transcript) -> str:
    # SRT knows no escapes; an arrow inside a text would read as a time line.
    cues = (
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_spoken(segment).replace('-->', '->')}\n"
        for number, (start, end, segment) in enumerate(_cues(transcript), start=1)
    )
    return "\n".join(cues)


def _vtt(transcript: Transcript) -> str:
    cues = (
        f"\n{_clock(start, '.')} --> {_clock(end, '.')}\n{_voice(segment)}{_escape(_one_line(segment.text))}\n"
        for start, end, segment in _cues(transcript)
    )
    return "WEBVTT\n" + "".join(cues)


def _tsv(transcript: Transcript) -> str:
    """Whisper's own: start and end in milliseconds, and the text."""
    rows = (
        f"{_milliseconds(segment.start)}\t{_milliseconds(segment.end)}\t{_spoken(segment)}\n"
        for segment in _shown(transcript)
    )
    return "start\tend\ttext\n" + "".join(rows)


_WRITERS: dict[str, Callable[[Transcript], str]] = {"json": _json, "txt": _txt, "srt": _srt, "vtt": _vtt, "tsv": _tsv}


def _shown(transcript: Transcript) -> Iterator[Segment]:
    """Yield what a reader sees, by start: the segments, and a line in the place of each part that has no text."""
    lines = (
        Segment(
            index=len(transcript.segments),
            start=gap.start,
            end=gap.end,
            text=f"[no transcript from {clock(gap.start)} to {clock(gap.end)}: {gap.reason}]",
            speaker=gap.speaker,
        )
        for gap in transcript.gaps
    )
    return merge(transcript.segments, sorted(lines, key=_start), key=_start)


def _start(segment: Segment) -> float:
    return segment.start


def _cues(transcript: Transcript) -> Iterator[tuple[int, int, Segment]]:
    """Yield what is shown when, in milliseconds: players refuse cues without text and cues that end as they begin."""
    for segment in _shown(transcript):
        if _one_line(segment.text):
            start = _milliseconds(segment.start)
            yield start, max(_milliseconds(segment.end), start + 1), segment


def _spoken(segment: Segment) -> str:
    text = _one_line(segment.text)
    return f"{segment.speaker}: {text}" if segment.speaker else text


def _voice(segment: Segment) -> str:
    return f"<v {_escape(segment.speaker)}>" if segment.speaker else ""


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _one_line(text: str) -> str:
    """Line ends and tabs would end a cue or a column."""
    return " ".join(text.split())


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(milliseconds: int, point: str) -> str:
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"
