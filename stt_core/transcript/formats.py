"""Transcripts as files: json, txt, srt, vtt and tsv.

The writers of subtitles are our own few lines: the libraries that write SRT and WebVTT change text or leave it
unescaped (docs/decisions/0005-own-subtitle-writers.md). The tests read every file back with FFmpeg, as a player would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import merge
from operator import attrgetter

from stt_core.errors import InvalidInputError
from stt_core.transcript.document import Segment, Transcript
from stt_core.transcript.subtitles import CueLayout, cues
from stt_core.transcript.text import one_line

#: The formats by the name of their file extension, with the content type each is served under.
CONTENT_TYPES = {
    "json": "application/json",
    "txt": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
}
FORMATS = tuple(CONTENT_TYPES)
#: Those with cues, which have a layout.
SUBTITLES = ("srt", "vtt")
_AS_SPOKEN = CueLayout()


def render(transcript: Transcript, format: str, *, layout: CueLayout = _AS_SPOKEN) -> str:
    """Return the transcript as the text of a file.

    Args:
        transcript: What to write.
        format: One of `FORMATS`.
        layout: The room for subtitles; by default a cue is a segment on one line.

    Raises:
        InvalidInputError: There is no such format.
    """
    writer = _WRITERS.get(format)
    if writer is None:
        raise InvalidInputError(f"There is no transcript format {format!r}.", mend=f"Use one of {', '.join(FORMATS)}.")
    return writer(transcript, layout)


def clock(seconds: float) -> str:
    """Return a time of a recording for people: 00:01:02."""
    return _clock(round(seconds) * 1000, ".")[:-4]


def _json(transcript: Transcript, _: CueLayout) -> str:
    return transcript.model_dump_json(indent=2) + "\n"


def _txt(transcript: Transcript, _: CueLayout) -> str:
    """One segment a line, with its speaker where the channels are told apart."""
    return "".join(f"{_spoken(segment)}\n" for segment in _shown(transcript))


def _srt(transcript: Transcript, layout: CueLayout) -> str:
    # SRT knows no escapes; an arrow inside a text would read as a time line.
    blocks = (
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{_lines(cue.lines).replace('-->', '->')}\n"
        for number, cue in enumerate(cues(_shown(transcript), layout, name_speakers=True), start=1)
    )
    return "\n".join(blocks)


def _vtt(transcript: Transcript, layout: CueLayout) -> str:
    blocks = (
        f"\n{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_voice(cue.speaker)}{_escape(_lines(cue.lines))}\n"
        for cue in cues(_shown(transcript), layout, name_speakers=False)
    )
    return "WEBVTT\n" + "".join(blocks)


def _tsv(transcript: Transcript, _: CueLayout) -> str:
    """Whisper's own: start and end in milliseconds, and the text."""
    rows = (
        f"{round(segment.start * 1000)}\t{round(segment.end * 1000)}\t{_spoken(segment)}\n"
        for segment in _shown(transcript)
    )
    return "start\tend\ttext\n" + "".join(rows)


_WRITERS: dict[str, Callable[[Transcript, CueLayout], str]] = {
    "json": _json,
    "txt": _txt,
    "srt": _srt,
    "vtt": _vtt,
    "tsv": _tsv,
}


def _shown(transcript: Transcript) -> Iterator[Segment]:
    """Yield what a reader sees, by start: the segments, and a line in the place of each part that has no text."""
    by_start = attrgetter("start")
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
    return merge(transcript.segments, sorted(lines, key=by_start), key=by_start)


def _spoken(segment: Segment) -> str:
    text = one_line(segment.text)
    return f"{segment.speaker}: {text}" if segment.speaker else text


def _lines(lines: list[str]) -> str:
    return "\n".join(lines)


def _voice(speaker: str | None) -> str:
    return f"<v {_escape(speaker)}>" if speaker else ""


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(milliseconds: int, point: str) -> str:
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"
