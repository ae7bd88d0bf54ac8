"""Plays rounds of chaos and prints the table; goes on where an earlier call stopped. Exit status 1: something broke.

    python -m tests.chaos --rounds 50
    python -m tests.chaos --rounds 5 --first-seed 100 --fault "run worker" --folder .stt-chaos-workers

Every round is a JSON line of `rounds.jsonl` in the folder; those that are there already are not played again. One stack
plays all rounds until something is violated: its folder is then kept as `seed-<seed>`, with the log of every part in
`home/stack.log`, and the next round gets a new stack.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from stt_cli.local_stack.processes import MARK
from stt_core.logs import setup_logging
from stt_core.settings import Settings
from tests.chaos.faults import Fault, fault_of
from tests.chaos.report import append_report, read_reports, table
from tests.chaos.rounds import ROUND_SECONDS, expected_transcripts, play
from tests.chaos.stack import running_chaos_stack

out = Console(width=180, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--fault", type=Fault, choices=tuple(Fault), help="the same in every round; else each in turn")
    parser.add_argument("--folder", type=Path, default=Path(".stt-chaos"))
    parser.add_argument("--round-seconds", type=float, default=ROUND_SECONDS, help="more for a machine that is busy")
    options = parser.parse_args()
    setup_logging("ERROR")
    for number in (signal.SIGINT, signal.SIGTERM):  # background jobs of a shell ignore SIGINT otherwise
        signal.signal(number, _interrupt)
    for name in {MARK, *map(str.upper, Settings.model_fields)} & set(os.environ):
        del os.environ[name]  # the user's own servers are none of this
    folder = options.folder.resolve()
    folder.mkdir(exist_ok=True)
    lines = folder / "rounds.jsonl"
    played = {(one.seed, one.fault) for one in read_reports(lines)}
    seeds = range(options.first_seed, options.first_seed + options.rounds)
    rounds = [(seed, options.fault or fault_of(seed)) for seed in seeds]
    _play_all([one for one in rounds if one not in played], folder, lines, options.round_seconds)
    reports = [one for one in read_reports(lines) if (one.seed, one.fault) in rounds]
    out.print(table(reports))
    sys.exit(1 if any(one.violations for one in reports) else 0)


def _play_all(rounds: list[tuple[int, Fault]], folder: Path, lines: Path, most_seconds: float) -> None:
    expected = None
    while rounds:
        with running_chaos_stack(_empty(folder / "stack")) as stack:
            expected = expected or expected_transcripts(stack)
            for seed, fault in rounds.copy():
                report = play(stack, seed, fault, expected, most_seconds=most_seconds)
                append_report(lines, report)
                rounds.pop(0)
                out.print(report.model_dump_json(exclude_defaults=True))
                if report.violations:
                    break
        if report.violations:
            kept = (folder / "stack").rename(folder / f"seed-{seed}")
            out.print(f"Violated. Look at {kept / 'home' / 'stack.log'}")


def _empty(folder: Path) -> Path:
    """Return the folder, empty: a stack that a killed harness left there is ended."""
    if folder.exists():
        home = {"STT_HOME": str(folder / "home")}
        subprocess.run([sys.executable, "-m", "stt_cli", "down"], env=os.environ | home, cwd=folder, check=True)
        shutil.rmtree(folder)
    folder.mkdir()
    return folder


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


if __name__ == "__main__":
    main()
