"""The benchmarks are scripts: they import one another as those that lie beside them."""

from __future__ import annotations

import sys
from pathlib import Path

#: At the end: one of them is called as our package `api` is.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
