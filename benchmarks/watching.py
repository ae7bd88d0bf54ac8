"""What is looked at while it runs: anything, and what the engines of a stack take, CPU seconds and memory.

An engine may be a process of a second or one that stays; nobody but /proc knows what it took. What it takes after the
last look is lost: at most `LOOK_SECONDS` on each core for every engine that ends.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Self

import psutil

#: Between two looks, which take some milliseconds.
LOOK_SECONDS = 0.25
#: What the command line of an engine holds.
ENGINE = re.compile(r"whisper-cli|stt_core/(engines|whisper)/")


class Watch:
    """Calls a function every so many seconds while it is entered, and once at the end."""

    def __init__(self, look: Callable[[], None], seconds: float) -> None:
        self._look, self._seconds = look, seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self._look()
        self._look()


class EngineWatch(Watch):
    """Looks at the engines among this process's descendants."""

    def __init__(self) -> None:
        super().__init__(self._note, LOOK_SECONDS)
        self._began: dict[psutil.Process, float] = {}
        self._latest: dict[psutil.Process, float] = {}
        self._peak = 0

    def __enter__(self) -> Self:
        self._began = {engine: seconds for engine, seconds, _ in find_engines()}
        return super().__enter__()

    @property
    def cpu_seconds(self) -> float:
        """What the engines took since this was entered."""
        return sum(seconds - self._began.get(engine, 0.0) for engine, seconds in self._latest.items())

    @property
    def peak_mb(self) -> float:
        """The most that all engines held at one look; pages that they share are counted for each."""
        return self._peak / 1e6

    def _note(self) -> None:
        seen = find_engines()
        self._latest.update({engine: seconds for engine, seconds, _ in seen})
        self._peak = max(self._peak, sum(memory for _, _, memory in seen))


def await_no_engine() -> None:
    """Wait until the last engine that stayed for another call has ended."""
    while find_engines():
        time.sleep(1.0)


def find_engines() -> list[tuple[psutil.Process, float, int]]:
    """Return the engines among this process's descendants, with their CPU seconds and bytes of memory."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if ENGINE.search(" ".join(process.cmdline())):
                times = process.cpu_times()
                found.append((process, times.user + times.system, process.memory_info().rss))
        except psutil.Error:  # it ended between two questions
            continue
    return found
