"""Dagster's daemon, whose lines have the form of ours.

python -m stt_dagster.runtime.daemon run …     as `dagster-daemon` is called
"""

from __future__ import annotations

from dagster._daemon import cli, controller  # noqa: F401  # what is adopted must have been imported

from stt_core.logs import setup_logging
from stt_core.settings import load_settings
from stt_dagster.runtime.console import adopt_console

if __name__ == "__main__":
    settings = load_settings()
    setup_logging(settings.log_level, json=settings.log_json)
    adopt_console()
    cli.main()
