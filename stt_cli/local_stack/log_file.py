"""`stack.log`: every line of every part of the local stack, and those in it that tell of one job."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text

from stt_core.logs import get_logger, unlogged

logger = get_logger(__name__)

#: The log is begun anew at this size, bytes; the one before is kept as stack.log.1.
_LOG_BYTES = 10 * 2**20
#: How often it is looked for further lines, seconds.
_INTERVAL = 0.2
_LINE = re.compile(r"(?P<part>\S+) +│ (?P<text>.*)")
#: How an entry begins, as text and as JSON; what does not begin so goes on with the entry before.
_TIME = re.compile(r'(?:\{"time": ")?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?: ?[+-]\d\d:?\d\d)?)')
#: What else a job's lines are known by: its runs, and the requests that were about it.
_RELATED = re.compile(r"""\b(?:run_id|request_id)(?:=|": ")([\w.-]+)""")


class LogFile:
    """Where the lines of a running stack are written, from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        # To append: after a rollover, writing goes on at the new end, also that of others.
        self._file = path.open("a", encoding="utf-8", buffering=1)

    @unlogged  # it is what writes the lines
    def write(self, part: str, line: str) -> None:
        """Write a line of a part."""
        with self._turn:
            self._file.write(f"{part:<9} │ {Text.from_ansi(line).plain}\n")
            if os.fstat(self._file.fileno()).st_size > _LOG_BYTES:
                shutil.copyfile(self._path, self._path.with_name(f"{self._path.name}.1"))
                self._file.truncate(0)

    def is_at(self, descriptor: int) -> bool:
        """Tell whether a file descriptor leads here."""
        return os.path.samestat(os.fstat(descriptor), os.fstat(self._file.fileno()))


class JobLines:
    """Picks the lines that tell of a job out of those of a stack, in the order that they came in."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._related: set[str] = set()
        #: By part: whether its latest entry tells of the job, and when that was written.
        self._goes_on: dict[str, tuple[bool, datetime]] = {}

    def learn(self, lines: Iterable[str]) -> None:
        """Learn by which runs and requests the job is known."""
        for line in lines:
            if self._job_id in line:
                self._related.update(_RELATED.findall(line))

    def pick(self, line: str) -> datetime | None:
        """Return when a line was written that tells of the job; None for another."""
        found = _LINE.match(line)
        if not found:
            return None
        part, text = found["part"], found["text"]
        if begun := _TIME.match(text):
            is_told = self._job_id in text or not self._related.isdisjoint(_RELATED.findall(text))
            when = datetime.fromisoformat(begun[1].replace(" ", "T", 1).replace(" ", ""))
            self._goes_on[part] = is_told, when if when.tzinfo else when.replace(tzinfo=UTC)
        is_told, when = self._goes_on.get(part, (False, datetime.min))
        return when if is_told else None


def lines_of_job(log: Path, job_id: str, *, follow: bool) -> Iterator[str]:
    """Yield the lines of `stack.log` and of the one before it that tell of a job, in order of time.

    Args:
        log: Where `stack.log` is.
        job_id: The job.
        follow: Go on with those that are still to come, without an end.
    """
    picker = JobLines(job_id)
    before = log.with_name(f"{log.name}.1")
    lines = _read(before)[0] if before.exists() else []
    fresh, end = _read(log)
    lines += fresh
    picker.learn(lines)
    picked = [(when, line) for line in lines if (when := picker.pick(line))]
    yield from (line for _, line in sorted(picked, key=lambda one: one[0]))  # stable: a trace stays together
    while follow:
        time.sleep(_INTERVAL)
        rest: list[str] = []
        if log.stat().st_size < end:  # it was begun anew
            rest, end = _read(before, end)[0], 0
        fresh, end = _read(log, end)
        for line in rest + fresh:
            picker.learn([line])
            if picker.pick(line):
                yield line


def _read(file: Path, start: int = 0) -> tuple[list[str], int]:
    """Return the whole lines of a file from a byte on, and the byte where they end."""
    with file.open("rb") as stream:
        stream.seek(start)
        content = stream.read()
    whole = content[: content.rfind(b"\n") + 1]
    return whole.decode(errors="replace").split("\n")[:-1], start + len(whole)
