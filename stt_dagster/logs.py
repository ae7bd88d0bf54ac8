"""Our log lines in Dagster: on standard error, as everywhere, and inside a step in the run's event log, too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from dagster import get_dagster_logger

from stt_core.logs import setup_logging
from stt_core.settings import get_settings
from stt_dagster.runtime.console import OURS, adopt_console

if TYPE_CHECKING:
    from loguru import Message

_inside_step: ContextVar[bool] = ContextVar("inside_step", default=False)


def install() -> None:
    """Route every line of this process; called when the definitions are imported."""
    adopt_console()
    settings = get_settings()
    setup_logging(settings.log_level, json=settings.log_json, sink=_route)


@contextmanager
def run_event_log() -> Iterator[None]:
    """Send the lines of the block to the event log of the run whose step this is."""
    token = _inside_step.set(True)
    try:
        yield
    finally:
        _inside_step.reset(token)


def _route(message: Message) -> None:
    sys.stderr.write(message)
    if not _inside_step.get():
        return
    record = message.record
    exception = record["exception"]
    get_dagster_logger().log(
        record["level"].no,
        f"{record['extra']['_icon']} {record['message']} {record['extra']['_context']}".rstrip(),
        exc_info=(exception.type, exception.value, exception.traceback) if exception else None,  # type: ignore[arg-type]
        extra={OURS: True},
    )
