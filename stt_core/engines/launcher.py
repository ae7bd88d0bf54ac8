"""Starts the engine so that it dies with its parent: `python -I -S launcher.py PARENT_PID PROGRAM ARGUMENT…`.

`PR_SET_PDEATHSIG` must be set in the child, between fork and exec. `preexec_fn` would run our code in a copy of a
process whose other threads are gone, which can deadlock; `setpriv --pdeathsig` is not on every machine. This program
sets it and becomes the engine (measured 25 ms). Elsewhere than on Linux it only becomes the engine.

The signal comes when the thread that started the child ends: the transcriber waits in that thread, so that is right.
"""

from __future__ import annotations

import os
import signal
import sys

PR_SET_PDEATHSIG = 1
#: The shell's codes for a program that cannot be run.
EXIT_CANNOT_RUN = 126
EXIT_ORPHAN = 125


def _main(parent: int, command: list[str]) -> int:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the signal was asked for
        return EXIT_ORPHAN
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return EXIT_CANNOT_RUN


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]), sys.argv[2:]))
