"""The rounds on paper: one JSON line each, and the table over all of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from tests.chaos.faults import Fault
from tests.chaos.rounds import RoundReport

_COLUMNS = ("killed", "rounds", "whole again: median s", "worst s", "served again: median s", "worst s")
_COUNTS = ("recordings", "attempts over 1", "failed", "violations")


def read_reports(file: Path) -> list[RoundReport]:
    """Return the rounds that were played already."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [RoundReport.model_validate_json(line) for line in lines]


def append_report(file: Path, report: RoundReport) -> None:
    """Keep a round."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(report.model_dump_json() + "\n")


def table(reports: Sequence[RoundReport]) -> Table:
    """Return what became of the rounds, one row a fault, in Markdown."""
    shown = Table(box=box.MARKDOWN)
    for number, header in enumerate(_COLUMNS + _COUNTS):
        shown.add_column(header, justify="right" if number else "left")
    for fault in Fault:
        rounds = [one for one in reports if one.fault is fault and one.kill_seconds is not None]
        shown.add_row(
            fault.value,
            str(len(rounds)),
            *_seconds([one.recovery_seconds for one in rounds]),
            *_seconds([one.ready_seconds for one in rounds]),
            str(sum(one.completed for one in rounds)),
            str(sum(attempt > 1 for one in rounds for attempt in one.attempts)),
            str(sum(len(one.failed) for one in rounds)),
            str(sum(bool(one.violations) for one in rounds)),
        )
    return shown


def _seconds(values: Sequence[float | None]) -> tuple[str, str]:
    known = [value for value in values if value is not None]
    return (f"{statistics.median(known):.1f}", f"{max(known):.1f}") if known else ("", "")
