"""What `stt transcribe` is given: files, folders, pipes and standard input, and the names of what lies there."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stt_cli.console import one_line
from stt_core.audio.formats import is_named_like_a_recording
from stt_core.disk import disk_errors
from stt_core.errors import InvalidInputError
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: What stands for standard input.
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Recording:
    """A recording that is there. `within` is its path within the folder that was named; the name of a file alone."""

    #: As it was named, for people, in one line.
    named: str
    #: None is standard input.
    path: Path | None
    within: Path

    @property
    def filename(self) -> str:
        """Its name as the API takes it, which is text in one line; names of files are any bytes."""
        name = os.fsencode(self.within.name).decode(errors="replace")
        return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open it for reading from its start, more than once if need be; a pipe is spooled to the disk.

        Raises:
            InvalidInputError: It cannot be read, or a pipe has nothing.
            DiskFullError: There is no room to spool it.
        """
        try:
            with nullcontext(sys.stdin.buffer) if self.path is None else self.path.open("rb") as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    yield file
                    return
                with tempfile.TemporaryFile() as spooled:
                    mend = "Free space, or set TMPDIR to a folder with more."
                    with disk_errors(f"for {self.named} in {tempfile.gettempdir()}", mend):
                        shutil.copyfileobj(file, spooled)
                        spooled.flush()
                    if not spooled.tell():
                        raise InvalidInputError(
                            f"Nothing came through {self.named}.", mend="Look at what writes to it: it may have failed."
                        )
                    spooled.seek(0)
                    yield spooled
        except OSError as error:
            raise _cannot_be_read(self.named, error) from error


def find_recordings(named: str) -> list[Recording]:
    """Return the recordings that an argument names: itself, or those within a folder, in the order of their paths.

    Files within a folder are taken by the extensions of their names; those that are hidden are left out.

    Raises:
        InvalidInputError: There is nothing that can be read, or no recording.
    """
    if named == STANDARD_INPUT:
        if sys.stdin is None or sys.stdin.isatty():
            raise InvalidInputError(
                "Nothing is piped into standard input.", mend="Pipe a recording into it: `stt transcribe - < talk.mp3`."
            )
        return [Recording("standard input", None, Path("stdin"))]
    path, shown = Path(named), one_line(named)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            found = list(_walk(path))
        elif stat.S_ISREG(mode) or stat.S_ISFIFO(mode):
            return [Recording(shown, path, Path(path.name))]
        else:
            raise InvalidInputError(f"{shown} is no file.", mend="Name a recording, a pipe, or a folder of recordings.")
    except (OSError, ValueError) as error:  # a ValueError is of a name that no file can have
        raise _cannot_be_read(shown, error) from error
    if not found:
        raise InvalidInputError(
            f"No recording lies in {shown}.", mend="Name a file itself where its name does not end like a recording's."
        )
    return [Recording(one_line(str(path / within)), path / within, within) for within in sorted(found)]


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for where, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(where, name)
            if not name.startswith(".") and is_named_like_a_recording(name) and path.is_file():
                yield path.relative_to(folder)


def _cannot_be_read(named: str, error: OSError | ValueError) -> InvalidInputError:
    where = error.filename if isinstance(error, OSError) and isinstance(error.filename, str) else named
    reason = error.strerror if isinstance(error, OSError) else error
    return InvalidInputError(f"{one_line(where)} cannot be read: {reason}.", mend="Check the path.")
