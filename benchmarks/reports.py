"""What every benchmark is asked and leaves behind: its options, and a report of its figures and of the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path


def parser_of(description: str | None, report: str) -> argparse.ArgumentParser:
    """Return a parser for the options of a benchmark, which says where its report goes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path(report), help="the report (default %(default)s)")
    return parser


def write_report(path: Path, **figures: object) -> None:
    machine = {"machine": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
    path.write_text(json.dumps(machine | figures, indent=1, ensure_ascii=False), encoding="utf-8")
