"""What Dagster says on the console, in the form of our lines and through our logging.

It stands in for `configure_loggers`, which every Dagster program calls, and for the console logger of runs and sensors.
A run's bookkeeping is at DEBUG and stays in the UI. A failure that a step of ours ended with was told by the step, with
its trace; so was the error of a tick, by the code server. What is left of those is one line each.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from dagster import _loggers
from dagster._core.definitions import instigation_logger
from dagster._core.errors import DagsterUserCodeProcessError
from dagster._core.events import DagsterEvent, JobFailureData

from stt_core.logs import get_logger
from stt_dagster.runtime import is_tested
from stt_dagster.tags import JOB_ID

#: Marks records that are lines of ours, on their way to the event log of a run.
OURS = "stt_line"
_PROGRAMS = ("dagster._utils.log", "dagster._cli.api", "dagster._daemon.controller", "dagster_webserver.cli")
#: What a run says of each step behind one that failed.
_NOT_EXECUTED = "Dependencies for step "


def adopt_console() -> None:
    """Have Dagster's lines of this process written as ours are."""
    if not is_tested():
        return
    _loggers.create_console_logger = _console_logger  # type: ignore[attr-defined]
    instigation_logger.create_console_logger = _console_logger  # type: ignore[attr-defined]
    for name in _PROGRAMS:
        if name in sys.modules:
            sys.modules[name].configure_loggers = _configure_loggers  # type: ignore[attr-defined]


def _configure_loggers(handler: str = "", formatter: str = "", log_level: str | int = "INFO") -> None:
    for name in ("dagster", "dagster-webserver"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_Console()], False
        logger.setLevel(log_level)


def _console_logger(name: str, level: str | int) -> logging.Logger:
    logger = logging.Logger(name, max(logging.INFO, logging._checkLevel(level)))  # type: ignore[attr-defined]
    logger.addHandler(_Console())
    return logger


class _Console(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, OURS):
            return
        metadata: dict[str, Any] = getattr(record, "dagster_meta", None) or {}
        message = metadata.get("orig_message") or record.getMessage()
        event, exception = metadata.get("dagster_event"), record.exc_info
        if message.startswith(_NOT_EXECUTED) or (event and _was_told(event)):
            return
        if event and (trace := _trace_of(event)):
            message = f"{message}\n{trace}"
        elif exception and isinstance(exception[1], DagsterUserCodeProcessError):
            message, exception = f"{message}: {_innermost(exception[1])}", None
        tags = metadata.get("job_tags") or {}
        context = {"run_id": metadata.get("run_id"), "job_id": tags.get(JOB_ID)}
        known = {name: value for name, value in context.items() if value}
        level = record.levelname if record.levelno >= logging.INFO else "DEBUG"
        get_logger(record.name).bind(**known).opt(exception=exception).log(level, "{}", message)


def _was_told(event: DagsterEvent) -> bool:
    return event.is_step_failure and event.step_failure_data.user_failure_data is not None


def _trace_of(event: DagsterEvent) -> str | None:
    data = event.event_specific_data
    if isinstance(data, JobFailureData) and data.first_step_failure_event:
        return None
    error = getattr(data, "error", None)
    return error.to_string() if error else None


def _innermost(error: DagsterUserCodeProcessError) -> str:
    [info, *_] = error.user_code_process_error_infos
    while info.cause and info.cls_name == "SensorExecutionError":
        info = info.cause
    return info.message.strip()
