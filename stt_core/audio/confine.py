"""Starts a program that reads hostile bytes under hard limits; run as a script, it becomes that program.

    python -I -S confine.py PARENT_PID CPU_SECONDS MEMORY_BYTES program argument…

A script and not `preexec_fn`: code between fork and exec may deadlock a process that has threads, and ours have.
The program dies with its parent (Linux), writes no file, leaves no core and gets no more CPU, memory or open files than
it needs. Only the standard library is imported: the start costs 20 ms.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
#: ffmpeg needs its input, its pipes and a few for itself.
_OPEN_FILES = 64


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _main(parent: str, cpu_seconds: str, memory_bytes: str, program: str, *arguments: str) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before the line above
            return
        _limit(resource.RLIMIT_AS, int(memory_bytes))  # macOS knows the name and refuses the value
    _limit(resource.RLIMIT_CPU, int(cpu_seconds))
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    _main(*sys.argv[1:])
