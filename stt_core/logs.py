"""Logging: one set-up, one way to a logger, one decorator.

The user's standard asks for a log line at every entry, exit and failure, and for no silent failure. `@logged` gives
all three to every function, and `stt_core/logged_calls.py` gives `@logged`, so that no function carries that by hand:

* entry with its parameters and exit with its result and duration, at DEBUG;
* an exception once, where it was raised (callers further up do not repeat it), with its stack trace. Errors that are
  everyday answers (`SttError.expected`) or tell of a server that is away (`outage`), which every request does while it
  lasts, are one WARNING line without a trace. Of a private function it is a line at DEBUG: its caller may expect it.

Milestones are logged at INFO by the functions themselves. ✅, ⚠️ and ❌ come from the level. `log_context` puts
`job_id`, `chunk`, `run_id` or `request_id` on every line of a block, also in threads that inherit its context.

A warning or an error that says again what was said within a minute is counted, and the count is said once a minute:
a server that is away, or refuses us, would otherwise fill the log (docs/decisions/0038).
"""

from __future__ import annotations

import atexit
import functools
import inspect
import json
import logging
import os
import re
import reprlib
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from loguru import logger as _root

from stt_core.errors import SttError

if TYPE_CHECKING:
    from loguru import Logger, Record

P = ParamSpec("P")
R = TypeVar("R")

_SECRET_NAMES = re.compile(r"password|secret|token|(api|auth|access)_?key|authorization|credential", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(\b\w+://[^\s:/@]*:)\S+(?=@)")
#: `password=x`, `'MINIO_SECRET_KEY': 'x'`, `Authorization: Bearer x`, the signature of a URL; not SecretStr, which
#: hides itself.
_NAMED_SECRET = re.compile(
    r"""(\b[\w-]*(?:password|secret|signature|(?:api|auth|access)[_-]?key|authorization)[\w-]*"""
    r"""(?:\s*=\s*|['"]\s*:\s*|:\s+(?=basic|bearer)))(?!SecretStr|None\b|null\b|\*)"""
    r"""(?:b?'[^']*'|b?"[^"]*"|(?:basic|bearer)\s+\S+|[^\s,;&)}\]]+)""",
    re.IGNORECASE,
)
#: What steers a terminal, ends a line for some readers, or turns its direction; texts of callers hold anything.
_CONTROLS = re.compile(r"[^\n\t\x20-\x7e\xa0-\u2027\u2030-\U0010ffff]")
_ICONS = {"DEBUG": "🔍", "INFO": "✅", "WARNING": "⚠️", "ERROR": "❌", "CRITICAL": "❌"}
#: For how long a line that comes again is counted instead of written, seconds; then the count is written.
_REPEAT_SECONDS = 60.0
#: What may differ between two lines that say the same, in their text and their context.
_DURATION = re.compile(r"\d+\.\d+ m?s\b")
_OF_ONE_REQUEST = "request_id"
#: The lowest level any sink takes; below it `@logged` skips rendering parameters.
_lowest_level_no = 0
#: Whether this thread is writing a line: what a sink calls must not log in its turn.
_thread = threading.local()


def mask_secrets(text: str) -> str:
    """Return `text` with passwords in URLs, and values that are named like a secret, replaced by `***`."""
    return _NAMED_SECRET.sub(r"\1***", _URL_PASSWORD.sub(r"\1***", text))


def get_logger(name: str) -> Logger:
    """Return the logger of a module; the only way to one."""
    return _root.bind(module=name)


def log_context(**values: object) -> AbstractContextManager[None]:
    """Put `values` (job_id, run_id, chunk, request_id, …) on every line logged inside the block."""
    return _root.contextualize(**values)


def setup_logging(level: str = "INFO", *, json: bool = False, sink: Any = None) -> None:
    """Send every line to standard error, those of the standard `logging` module too, or to `sink` instead.

    Args:
        level: Lowest level shown: DEBUG, INFO, WARNING or ERROR.
        json: One JSON object a line (for log collectors) instead of text.
        sink: A loguru sink that takes the place of standard error. Standard logging is then left as it is, since the
            sink may itself hand lines to it.
    """
    global _lowest_level_no
    _repeats.tell_all()
    _root.remove()
    _root.configure(extra={"module": "-"}, patcher=_prepare)
    _lowest_level_no = _root.level(level).no
    add_sink(sink or sys.stderr, level=level, json=json)
    if sink is None:
        logging.basicConfig(handlers=[_StandardLoggingHandler()], level=logging.WARNING, force=True)


def add_sink(sink: Any, *, level: str = "INFO", json: bool = False) -> int:
    """Add a loguru sink with our format and return its id."""
    global _lowest_level_no
    _repeats.tell_all()  # a new sink has been told nothing
    _lowest_level_no = min(_lowest_level_no, _root.level(level).no)
    write = functools.partial(_write_line, sink) if callable(sink) else sink
    # Variables of frames can hold secrets and audio: loguru's `diagnose` stays off.
    return _root.add(
        write,
        level=level,
        format=_json_format if json else _text_format,
        filter=lambda record: not record["extra"]["_is_repeat"],
        diagnose=False,
        backtrace=False,
    )


def form_line(level: str, module: str, text: str) -> str:
    """Return what another program wrote just now in the form of our lines; an unknown level is INFO."""
    level = level if level in _ICONS else "INFO"
    now = datetime.now().astimezone().isoformat(timespec="milliseconds")
    return f"{now} {level: <7} {_ICONS[level]} {module} {mask_secrets(text)}"


def _write_line(sink: Callable[[Any], None], message: Any) -> None:
    _thread.is_writing = True
    try:
        sink(message)
    finally:
        _thread.is_writing = False


def _shows_calls() -> bool:
    return _lowest_level_no <= 10 and not getattr(_thread, "is_writing", False)


def _prepare(record: Record) -> None:
    """Mask the secrets of every line, in its trace too, and make ready what the formats show."""
    extra, trace = record["extra"], record["exception"]
    record["message"] = mask_secrets(record["message"])
    extra["_is_repeat"] = _repeats.take(record)
    if extra["_is_repeat"]:
        return
    extra["_trace"] = mask_secrets("".join(traceback.format_exception(*trace))) if trace else ""
    extra["_message_text"], extra["_trace_text"] = map(_indented, (record["message"], extra["_trace"]))
    extra["_icon"] = _ICONS.get(record["level"].name, "")
    extra["_context"] = " ".join(f"{key}={value}" for key, value in _context_of(record).items())


def _indented(text: str) -> str:
    """Return a text whose further lines cannot pass for lines of the log, and that steers no terminal."""
    escaped = _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)
    return re.sub(r"\n(?=.)", "\n    ", escaped)


def _context_of(record: Record) -> dict[str, Any]:
    return {key: value for key, value in record["extra"].items() if key != "module" and not key.startswith("_")}


def _text_format(record: Record) -> str:
    return (
        "<dim>{time:YYYY-MM-DDTHH:mm:ss.SSSZ}</dim> <level>{level: <7}</level> {extra[_icon]} "
        "<cyan>{extra[module]}</cyan> {extra[_message_text]} <dim>{extra[_context]}</dim>\n{extra[_trace_text]}"
    )


def _json_format(record: Record) -> str:
    line = {
        "time": record["time"].isoformat(),
        "level": record["level"].name,
        "module": record["extra"]["module"],
        "message": record["message"],
        **_context_of(record),
    }
    if record["extra"]["_trace"]:
        line["exception"] = record["extra"]["_trace"]
    record["extra"]["_json"] = json.dumps(line, ensure_ascii=False, default=str)
    return "{extra[_json]}\n"


@dataclass
class _Said:
    """A line that was written, and how often it came again since the last count."""

    level: str
    message: str
    context: dict[str, Any]
    since: float
    count: int = 0

    def is_over(self, now: float) -> bool:
        return not self.count and now - self.since > _REPEAT_SECONDS


class _Repeats:
    """Counts the warnings and errors that say again what was said, and tells the count while they come."""

    def __init__(self) -> None:
        #: Those written last come last.
        self._said: dict[Any, _Said] = {}
        self._turn = threading.RLock()  # a signal's handler may log in the middle of it

    def take(self, record: Record) -> bool:
        """Return whether the record says again what was said, and is counted."""
        extra = record["extra"]
        if record["level"].no < logging.WARNING or not extra.get("_counted", True):
            return False
        context = {name: value for name, value in _context_of(record).items() if name != _OF_ONE_REQUEST}
        level, message, module = record["level"].name, record["message"], extra["module"]
        key = (level, module, _DURATION.sub("", message), *map(str, context.items()))
        now = time.monotonic()
        with self._turn:
            while (oldest := next(iter(self._said), None)) and self._said[oldest].is_over(now):
                del self._said[oldest]
            if said := self._said.get(key):
                said.count += 1
                if said.count == 1:
                    timer = threading.Timer(max(0.0, said.since + _REPEAT_SECONDS - now), self._tell, (key,))
                    timer.daemon = True
                    timer.start()
                return True
            self._said[key] = _Said(level, message, context | {"module": module}, now)
        return False

    def tell_all(self) -> None:
        """Tell what was counted, and begin anew."""
        for key in list(self._said):
            self._tell(key)
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a process does that was forked, maybe in the middle of something."""
        self._said, self._turn = {}, threading.RLock()

    def _tell(self, key: Any) -> None:
        with self._turn:
            said = self._said.get(key)
            if said is None or not said.count:
                return
            now = time.monotonic()
            count, seconds = said.count, now - said.since
            said.count, said.since = 0, now
            self._said[key] = self._said.pop(key)
        again = _root.bind(**said.context, _counted=False)
        again.log(said.level, "{} (and {} times more in {:.0f} s)", said.message, count, seconds)


_repeats = _Repeats()
atexit.register(_repeats.tell_all)
os.register_at_fork(after_in_child=_repeats.forget)


class _Shortener(reprlib.Repr):
    """Short texts of parameters and results; secrets are masked before the cut, so that no half of one is left."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = 120
        self.maxother = 10_000

    def repr_str(self, x: str, level: int) -> str:
        ends = x if len(x) <= 2000 else x[:1000] + x[-1000:]
        return super().repr_str(mask_secrets(ends), level)

    def repr_bytes(self, x: bytes, level: int) -> str:
        return f"<{len(x)} bytes>"

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        shown = islice(x.items(), self.maxdict + 1)
        return super().repr_dict(
            {key: "***" if _SECRET_NAMES.search(str(key)) else value for key, value in shown}, level
        )

    def repr_instance(self, x: Any, level: int) -> str:
        text = mask_secrets(super().repr_instance(x, level))
        return text if len(text) <= 160 else f"{text[:78]}...{text[-79:]}"


_shortener = _Shortener()


class _StandardLoggingHandler(logging.Handler):
    """Hands records of libraries that use `logging` to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname if record.levelname in _ICONS else "INFO"
        _root.bind(module=record.name).opt(exception=record.exc_info).log(level, record.getMessage())


def logged(function: Callable[P, R]) -> Callable[P, R]:
    """Log entry, exit and failure of a function, method, coroutine function or generator (see the module's text)."""
    logger = get_logger(function.__module__)
    name = function.__qualname__
    is_private = any(part.startswith("_") for part in name.split("."))
    is_secret = _SECRET_NAMES.fullmatch(function.__name__.lstrip("_")) is not None

    def entered(args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
        if _shows_calls():
            logger.debug("{}({})", name, _render_call(function, args, kwargs))
        return time.perf_counter()

    def left(result: object, started: float) -> None:
        if _shows_calls():
            elapsed_ms = (time.perf_counter() - started) * 1000
            shown = "***" if is_secret else _shortener.repr(result)
            logger.debug("{} -> {} in {:.1f} ms", name, shown, elapsed_ms)

    def failed(error: Exception, started: float) -> None:
        seconds = time.perf_counter() - started
        if not is_private:
            log_exception(logger, name, error, seconds)
        elif _shows_calls():  # its caller may well know what to do, and speaks otherwise
            logger.debug("{} failed after {:.1f} ms: {!r}", name, seconds * 1000, error)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def async_wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            started = entered(args, kwargs)
            try:
                result = await function(*args, **kwargs)
            except Exception as error:
                failed(error, started)
                raise
            left(result, started)
            return result

        return cast("Callable[P, R]", async_wrapper)

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generator_wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            started = entered(args, kwargs)
            try:
                result = yield from function(*args, **kwargs)
            except Exception as error:
                failed(error, started)
                raise
            left(result, started)
            return result

        return cast("Callable[P, R]", generator_wrapper)

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        started = entered(args, kwargs)
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            failed(error, started)
            raise
        left(result, started)
        return result

    return wrapper


def unlogged(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function whose calls are not logged: what it sees is secret, there are thousands, or it writes the log."""
    return function


def log_exception(logger: Logger, where: str, error: BaseException, seconds: float = 0.0) -> None:
    """Log an exception unless it was logged already: the innermost `@logged` function speaks, the rest are still."""
    if getattr(error, "_stt_logged", False):
        return
    mark_as_told(error)
    message = f"{where} failed after {seconds * 1000:.1f} ms: {type(error).__name__}: {error}"
    if is_told_without_trace(error):
        logger.warning("{}", message)
    else:
        logger.opt(exception=error).error("{}", message)


def is_told_without_trace(error: BaseException) -> bool:
    """Tell whether an error is one that `log_exception` tells in one line."""
    return isinstance(error, SttError) and (error.expected or error.outage)


def mark_as_told(error: BaseException) -> None:
    """Have `log_exception` say nothing of an error, since the log was told already."""
    error._stt_logged = True  # type: ignore[attr-defined]


def _render_call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    try:
        arguments = inspect.signature(function).bind_partial(*args, **kwargs).arguments
    except TypeError:  # the call itself will raise the same, with a better message
        return "?"
    parts = []
    for name, value in arguments.items():
        if name in ("self", "cls"):
            continue
        parts.append(f"{name}={'***' if _SECRET_NAMES.search(name) else _shortener.repr(value)}")
    return ", ".join(parts)


# loguru's own first sink prints the variables of every frame, secrets too: replace it before anything is logged.
setup_logging(sink=sys.stderr)
