"""What the command line says, and where: results to standard output (pipes work), all else to standard error."""

from __future__ import annotations

import os
import re
import sys
from datetime import timedelta
from math import ceil

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from stt_core.errors import SttError
from stt_core.logs import unlogged

#: Tables and lists that were asked for; a pipe has no width, and no identifier is cut off for one.
out = Console(width=None if sys.stdout.isatty() else 1000)
#: Progress, hints and errors. Soft wrapping keeps addresses and commands whole, to be copied.
err = Console(stderr=True, soft_wrap=True)

#: What a terminal obeys instead of showing it: control characters, and those that turn the direction of writing; and
#: what it cannot be sent: bytes of file names that are no text.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
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


def one_line(text: str) -> str:
    """Return a name that others gave, such as that of a file, as it can stand in a sentence."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def show_error(error: SttError) -> None:
    """Say what is wrong and how to put it right."""
    err.print(Text.assemble(("error: ", "bold red"), plain(error.message)))
    if error.mend:
        err.print(Text.assemble(("  mend: ", "bold green"), plain(error.mend)))


def note(text: str) -> None:
    """Say something that is not the result."""
    err.print(plain(text))


def write_result(text: str) -> None:
    """Write a result to standard output exactly as it is, in UTF-8 as every file of ours.

    Raises:
        SystemExit: Nobody reads it any more.
    """
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        raise SystemExit(1) from None


class _Time(ProgressColumn):
    """How long it has taken; where that can be told from it, how long the rest will, counted from the field `since`."""

    def render(self, task: Task) -> Text:
        """Return the time."""
        share = task.percentage / 100
        if not 0 < share < 1:
            return Text(str(timedelta(seconds=int(task.elapsed or 0))), style="progress.elapsed")
        left = ceil((task.get_time() - task.fields["since"]) * (1 - share) / share)
        return Text(f"{timedelta(seconds=left)} left", style="progress.remaining")


def progress_bars(measure: ProgressColumn, *, named: bool = False) -> Progress:
    """Return what shows bars of progress on standard error where that is a terminal, made by `add_bar`.

    Args:
        measure: Tells how much of each is done.
        named: Whether each has a name.
    """
    name = TextColumn("{task.fields[name]}", table_column=Column(no_wrap=True, overflow="ellipsis", max_width=24))
    return Progress(
        *([name] if named else []),
        TextColumn("{task.description}"),
        BarColumn(None, table_column=Column(no_wrap=True, ratio=1)),
        measure,
        _Time(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[facts]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        console=err,
        disable=not sys.stderr.isatty(),
        expand=True,
        redirect_stdout=False,  # what is written there is a result, wherever it goes
    )


def add_bar(progress: Progress, description: str, *, name: str = "", total: float | None = None) -> TaskID:
    """Add a bar.

    Args:
        progress: What shows it.
        description: What is done at first.
        name: What is worked on.
        total: How much there is to do.
    """
    since = progress.get_time()
    return progress.add_task(description, total=total, name=plain(name).markup, facts="", since=since)


@unlogged  # it is what writes the lines
def write_log_line(part: str, line: str) -> None:
    """Write a line of a part of the stack: the one coloured log."""
    prefix = Text(f"{part:<{_WIDTH}} │ ", style=_PART_STYLES.get(part, "white"))
    err.print(prefix + Text.from_ansi(line), highlight=False)
