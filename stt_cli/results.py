"""Where transcripts go, and as what: `--output`, `--format`, `--beside` (docs/decisions/0039)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stt_cli.console import one_line, write_result
from stt_cli.recordings import STANDARD_INPUT, Recording
from stt_core.audio.formats import is_named_like_a_recording
from stt_core.errors import InvalidInputError
from stt_core.logs import get_logger
from stt_core.transcript.document import Transcript
from stt_core.transcript.formats import SUBTITLES, render
from stt_core.transcript.subtitles import CueLayout

logger = get_logger(__name__)


class Format(StrEnum):
    """How a transcript is written."""

    TEXT = "text"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"

    @property
    def extension(self) -> str:
        """What the names of its files end with."""
        return "txt" if self is Format.TEXT else self.value


#: The formats by what people call them: their names and extensions.
_NAMED = {name: format for format in Format for name in (format.value, format.extension)}

OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FORMAT|FILE|FOLDER/",
        help=f"A format ({', '.join(Format)}), a file whose name ends like one, or a folder.",
    ),
]
FormatOption = Annotated[
    Format | None, typer.Option("--format", "-f", help="Format of the transcript, where no name tells it.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace transcripts that are there.")]
LineWidth = Annotated[int | None, typer.Option(help="Of subtitles: columns in a line (wide: two).", min=1, max=1000)]
LineCount = Annotated[int | None, typer.Option(help="Of subtitles with a width: lines shown at once.", min=1, max=100)]


@dataclass(frozen=True)
class Destination:
    """Where transcripts go: to a file, into a folder, beside their recordings; to standard output where none is set."""

    format: Format
    layout: CueLayout
    file: Path | None = None
    folder: Path | None = None
    beside: bool = False
    overwrite: bool = False

    def places(self, recordings: Sequence[Recording]) -> list[Path | None]:
        """Return the file of each recording's transcript; None is standard output.

        One is named like its recording, with the format's extension instead; where that is the name of another one's,
        too, the recording's own extension stays.

        Raises:
            InvalidInputError: One file would hold several transcripts, or replace a recording.
        """
        if self.file is None and self.folder is None and not self.beside:
            if len(recordings) > 1 and self.format is not Format.TEXT:
                raise InvalidInputError(
                    f"Several transcripts make no one {self.format}.",
                    mend="Give --beside, or a folder: --output FOLDER/.",
                )
            return [None] * len(recordings)
        short = [self._place(recording) for recording in recordings]
        shared = Counter(short)
        places = [
            place if shared[place] == 1 else self._place(recording, whole=True)
            for place, recording in zip(short, recordings, strict=True)
        ]
        for place, count in Counter(places).items():
            if count > 1:
                named = [one.named for one, its in zip(recordings, places, strict=True) if its == place]
                others = f" and {count - 2} more" if count > 2 else ""
                raise InvalidInputError(
                    f"The transcripts of {named[0]} and {named[1]}{others} would all be {place}.",
                    mend="Give --beside, name the folder that they lie in, or transcribe them one by one.",
                )
            if any(one.path and place.exists() and place.samefile(one.path) for one in recordings):
                raise InvalidInputError(f"{place} is a recording.", mend="Name another file for its transcript.")
        return list(places)

    def is_there(self, place: Path | None) -> bool:
        """Return whether a transcript is there that is not to be replaced, and see to it that one can be written.

        Raises:
            InvalidInputError: None can be written.
        """
        if place is None:
            return False
        folder = next(parent for parent in place.absolute().parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK) or place.is_dir():
            raise InvalidInputError(
                f"{one_line(str(place))} cannot be written.", mend="Name another place with --output."
            )
        return place.exists() and not self._replaces

    @property
    def _replaces(self) -> bool:
        return self.overwrite or self.file is not None

    def write(self, transcript: Transcript, place: Path | None) -> None:
        """Write a transcript to its file, or to standard output.

        Raises:
            InvalidInputError: The file cannot be written.
        """
        text = render(transcript, self.format.extension, layout=self.layout)
        if place is None:
            write_result(text)
            return
        mend = f"Once that is mended, `stt result {transcript.job_id} --output FILE` writes it."
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            file = place.open("w" if self._replaces else "x", encoding="utf-8", newline="")
        except OSError as error:
            raise InvalidInputError(
                f"{one_line(str(place))} cannot be written: {error.strerror}.", mend=mend
            ) from error
        try:
            with file:
                file.write(text)
        except OSError as error:
            if place.is_file():
                place.unlink()  # half a transcript looks like a whole one
            raise InvalidInputError(
                f"{one_line(str(place))} cannot be written: {error.strerror}.", mend=mend
            ) from error

    def _place(self, recording: Recording, *, whole: bool = False) -> Path:
        if self.file is not None:
            return self.file
        if self.folder:
            source = self.folder / recording.within
        elif recording.path and recording.path.is_file():
            source = recording.path
        else:
            raise InvalidInputError(f"Nothing lies beside {recording.named}.", mend="Name a file: --output talk.srt.")
        stem = source.name if whole or not is_named_like_a_recording(source.name) else source.stem
        return source.with_name(f"{stem}.{self.format.extension}")


def choose_destination(
    output: str | None,
    format: Format | None,
    *,
    beside: bool = False,
    overwrite: bool = False,
    width: int | None = None,
    count: int | None = None,
) -> Destination:
    """Return where transcripts go, before anything is sent or read.

    Raises:
        InvalidInputError: What is asked for contradicts itself, or a file's name tells no format.
    """
    file = folder = None
    told = format
    if output in _NAMED:
        told = _NAMED[output]
    elif output is not None and (output.endswith(os.sep) or Path(output).is_dir()):
        folder = Path(output)
    elif output not in (None, STANDARD_INPUT):
        file = Path(output)
        told = _NAMED.get(file.suffix.lower().removeprefix("."), format)
        if told is None:
            raise InvalidInputError(
                f"The name {output!r} tells no format of a transcript.",
                mend=f"Let it end in {', '.join(f'.{one.extension}' for one in Format)}, give --format, or name a "
                f"folder: {output}/.",
            )
        if not file.parent.is_dir():
            raise InvalidInputError(f"There is no folder {file.parent}.", mend="Make it, or name another.")
    if format not in (None, told):
        raise InvalidInputError(f"--output {output} is {told}, and --format {format}.", mend="Give one of them.")
    if beside and (file or folder):
        raise InvalidInputError(f"--beside and --output {output} exclude each other.", mend="Give one of them.")
    chosen = told or Format.TEXT
    if (width or count) and chosen not in SUBTITLES:
        raise InvalidInputError(f"{chosen} has no lines to lay out.", mend=f"Choose --output {' or '.join(SUBTITLES)}.")
    if count and not width:
        raise InvalidInputError("--max-line-count needs a --max-line-width.", mend="Give one, or leave both out.")
    return Destination(chosen, CueLayout(width, count), file, folder, beside, overwrite)
