"""What the command line says, and where: results to standard output (pipes work), all else to standard error."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from stt_core.errors import SttError
from stt_core.logs import unlogged

#: Tables and lists that were asked for; a pipe has no width, and no identifier is cut off for one.
out = Console(width=None if sys.stdout.isatty() else 1000)
#: Progress, hints and errors. Soft wrapping keeps addresses and commands whole, to be copied.
err = Console(stderr=True, soft_wrap=True)

#: What a terminal obeys instead of showing it: control characters, and those that turn the direction of writing.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PART_STYLES = {
    "redis": "red",
    "s3": "yellow",
    "mongo": "green",
    "api": "cyan",
    "code": "magenta",
    "daemon": "blue",
    "webserver": "bright_blue",
    "stt": "bold white",
}
_WIDTH = max(map(len, _PART_STYLES))


def plain(text: str) -> Text:
    """Return what others wrote, such as names of objects, as it can be shown: all of it is text to the terminal."""
    return Text(_COMMANDS.sub(lambda found: repr(found[0])[1:-1], text))


def show_error(error: SttError) -> None:
    """Say what is wrong and how to put it right."""
    err.print(Text.assemble(("error: ", "bold red"), plain(error.message)))
    if error.mend:
        err.print(Text.assemble(("  mend: ", "bold green"), plain(error.mend)))


def note(text: str) -> None:
    """Say something that is not the result."""
    err.print(plain(text))


def write_result(text: str) -> None:
    """Write a result to standard output exactly as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


@contextmanager
def progress_bar(
    description: str, measure: ProgressColumn, *, total: float | None = None
) -> Iterator[tuple[Progress, TaskID]]:
    """Show a bar of progress on standard error while the context is open.

    Args:
        description: What is done at first.
        measure: Tells how much of it is done.
        total: How much there is to do.
    """
    columns = (TextColumn("{task.description:<12}"), BarColumn(), measure, TextColumn("{task.fields[facts]}"))
    with Progress(*columns, TimeElapsedColumn(), console=err) as progress:
        yield progress, progress.add_task(description, total=total, facts="")


@unlogged  # it is what writes the lines
def write_log_line(part: str, line: str) -> None:
    """Write a line of a part of the stack: the one coloured log."""
    prefix = Text(f"{part:<{_WIDTH}} │ ", style=_PART_STYLES.get(part, "white"))
    err.print(prefix + Text.from_ansi(line), highlight=False)
