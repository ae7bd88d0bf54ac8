"""What the engines of a stack take, looked at while they run: CPU seconds and memory.

An engine may be a process of a second or one that stays; nobody but /proc knows what it took. What it takes after the
last look is lost: at most `LOOK_SECONDS` on each core for every engine that ends.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Self

import psutil

#: Between two looks, which take some milliseconds.
LOOK_SECONDS = 0.25
#: What the command line of an engine holds.
ENGINE = re.compile(r"whisper-cli|stt_core/(engines|whisper)/")


class EngineWatch:
    """Looks at the engines among this process's descendants while it is entered."""

    def __init__(self) -> None:
        self._began: dict[psutil.Process, float] = {}
        self._latest: dict[psutil.Process, float] = {}
        self._peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._began = {engine: seconds for engine, seconds, _ in self._look()}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def cpu_seconds(self) -> float:
        """What the engines took since this was entered."""
        return sum(seconds - self._began.get(engine, 0.0) for engine, seconds in self._latest.items())

    @property
    def peak_mb(self) -> float:
        """The most that all engines held at one look; pages that they share are counted for each."""
        return self._peak / 1e6

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._note()
        self._note()

    def _note(self) -> None:
        seen = self._look()
        self._latest.update({engine: seconds for engine, seconds, _ in seen})
        self._peak = max(self._peak, sum(memory for _, _, memory in seen))

    @classmethod
    def await_none(cls) -> None:
        """Wait until the last engine that stayed for another call has ended."""
        while cls._look():
            time.sleep(1.0)

    @staticmethod
    def _look() -> list[tuple[psutil.Process, float, int]]:
        found = []
        for process in psutil.Process().children(recursive=True):
            try:
                if ENGINE.search(" ".join(process.cmdline())):
                    times = process.cpu_times()
                    found.append((process, times.user + times.system, process.memory_info().rss))
            except psutil.Error:  # it ended between two questions
                continue
        return found
