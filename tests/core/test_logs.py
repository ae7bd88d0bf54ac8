"""Logging: what a line holds, what it never holds, and that nothing is said twice."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from datetime import datetime

import pytest
from pydantic import BaseModel, SecretStr

from stt_core.errors import EngineError, JobNotFoundError
from stt_core.logs import get_logger, log_context, logged, mask_secrets, setup_logging
from tests.conftest import wait_until

logger = get_logger(__name__)


class Lines(list[str]):
    """A sink: every line that was written, as text."""

    @property
    def text(self) -> str:
        return "".join(self)


@pytest.fixture(name="lines")
def _lines() -> Iterator[Lines]:
    with captured() as lines:
        yield lines


@contextmanager
def captured(level: str = "DEBUG", *, json: bool = False) -> Iterator[Lines]:
    lines = Lines()
    setup_logging(level, json=json, sink=lambda message: lines.append(str(message)))
    yield lines
    setup_logging(sink=sys.stderr)


@logged
def add(left: int, right: int = 2) -> int:
    return left + right


@logged
async def add_later(left: int, right: int) -> int:
    await asyncio.sleep(0)
    return left + right


@logged
def sign_in(user: str, password: str, url: str, options: object = None) -> str:
    return url


@logged
def fail(error: Exception) -> None:
    raise error


@logged
def fail_outside(error: Exception) -> None:
    fail(error)


@logged
async def fail_later(error: Exception) -> None:
    fail_outside(error)


class Engine:
    @logged
    def run(self, seconds: float) -> str:
        return f"ran {seconds} s"

    @classmethod
    @logged
    def build(cls, model: str) -> str:
        return model


def test_logged_when_a_function_is_called_then_entry_exit_and_duration_are_debug_lines(lines: Lines) -> None:
    assert add(1, right=3) == 4
    assert len(lines) == 2
    assert re.search(r"DEBUG +🔍 tests\.core\.test_logs add\(left=1, right=3\)", lines[0])
    assert re.search(r"DEBUG +🔍 tests\.core\.test_logs add -> 4 in \d+\.\d ms", lines[1])


def test_logged_when_a_coroutine_is_awaited_then_its_own_duration_and_result_are_logged(lines: Lines) -> None:
    assert asyncio.run(add_later(1, 2)) == 3
    own = [line for line in lines if "test_logs" in line]
    assert "add_later(left=1, right=2)" in own[0]
    assert "add_later -> 3 in" in own[1]


def test_logged_when_a_method_is_called_then_self_and_cls_are_left_out(lines: Lines) -> None:
    Engine().run(2.5)
    Engine.build("tiny")
    assert "Engine.run(seconds=2.5)" in lines[0]
    assert "Engine.build(model='tiny')" in lines[2]


def test_logged_when_the_level_is_info_then_a_call_writes_nothing() -> None:
    with captured("INFO") as lines:
        add(1)
        assert not lines


def test_logged_when_a_value_is_big_then_its_line_stays_short(lines: Lines) -> None:
    @logged
    def take(text: str, data: bytes, numbers: list[int]) -> bytes:
        return data

    take("x" * 10**6, b"y" * 10**6, list(range(10**6)))
    assert max(len(line) for line in lines) < 500
    assert "data=<1000000 bytes>" in lines[0]


class Model(BaseModel):
    url: str
    key: SecretStr


class Odd:
    """What a library's object may print."""

    def __repr__(self) -> str:
        return (
            "Odd(environment={'MINIO_SECRET_KEY': 'hunter2', 'RCLONE_AUTH_KEY': 'a,hunter2'}, redis_password='hunter2')"
        )


@pytest.mark.parametrize(
    "value",
    [
        "mongodb://user:hunter2@db:27017",
        "redis://:hunter2@cache/0",
        "mongodb://user:hunt@hunter2@db",
        "could not reach a long enough server name here " * 3 + "mongodb://user:" + "hunter2" * 20 + "@db/" + "x" * 90,
        ["mongodb://user:hunter2@db"],
        {"REDIS_PASSWORD": "hunter2", "minio_secret_key": "hunter2"},
        {"headers": {"Authorization": "Bearer hunter2"}},
        {"nested": [{"api_key": "hunter2"}]},
        "GET /?x=1 Authorization: Bearer hunter2",
        {"X-API-Key": "hunter2"},
        "http://127.0.0.1/stt/uploads/1/incoming?X-Amz-Date=2026&X-Amz-Signature=hunter2",
        Model(url="mongodb://user:hunter2@db", key=SecretStr("hunter2")),
        Model(url="mongodb://user:" + "hunter2" * 30 + "@db", key=SecretStr("hunter2")),
        Odd(),
    ],
)
def test_logged_when_a_value_holds_a_secret_then_no_line_does(lines: Lines, value: object) -> None:
    sign_in("ann", "hunter2", "http://api", options=value)
    with pytest.raises(RuntimeError):
        fail(RuntimeError(f"no luck with {value!r} password=hunter2"))
    assert "user='ann', password=***" in lines[0]
    assert "failed after" in lines.text
    assert "hunter" not in lines.text


def test_line_when_written_by_hand_then_its_secrets_are_masked_too(lines: Lines) -> None:
    logger.info("using {}", "mongodb://user:hunter2@db")
    assert "mongodb://user:***@db" in lines[0]


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8000/docs is ready",
        "MINIO_SECRET_KEY: must be set",
        "12 tokens in 3 s, token_count=12",
        "minio_secret_key=SecretStr('**********') redis_password=None",
    ],
)
def test_mask_when_there_is_no_secret_then_the_text_stays(text: str) -> None:
    assert mask_secrets(text) == text


def test_exception_when_it_passes_many_functions_then_it_is_logged_once_with_its_trace(lines: Lines) -> None:
    with pytest.raises(ValueError, match="boom"):
        asyncio.run(fail_later(ValueError("boom")))
    failures = [line for line in lines if "failed" in line]
    assert len(failures) == 1
    assert re.search(r"ERROR +❌ tests\.core\.test_logs fail failed after \d+\.\d ms: ValueError: boom", failures[0])
    assert "Traceback (most recent call last)" in failures[0]
    assert "raise error" in failures[0]
    assert lines.text.count("Traceback") == 1


def test_generator_when_it_fails_while_it_is_read_then_the_failure_is_logged(lines: Lines) -> None:
    @logged
    def count() -> Iterator[int]:
        yield 1
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        list(count())
    assert "count() " in lines[0]
    assert re.search(r"ERROR +❌ .*count failed after \d+\.\d ms: ValueError: boom", lines[-1])


def test_exception_when_converted_at_the_boundary_then_the_trace_names_the_cause(lines: Lines) -> None:
    @logged
    def convert() -> None:
        try:
            raise OSError("socket closed")
        except OSError as error:
            raise EngineError("The engine died.") from error

    with pytest.raises(EngineError):
        convert()
    assert lines.text.count("failed after") == 1
    assert "OSError: socket closed" in lines.text
    assert "direct cause" in lines.text


def test_expected_error_when_raised_then_it_is_one_warning_without_a_trace(lines: Lines) -> None:
    with pytest.raises(JobNotFoundError):
        fail_outside(JobNotFoundError("There is no job x.", mend="Look at the list."))
    failures = [line for line in lines if "failed" in line]
    assert len(failures) == 1
    assert re.search(r"WARNING +⚠️ .*JobNotFoundError: There is no job x\. Look at the list\.", failures[0])
    assert "Traceback" not in lines.text


@pytest.mark.parametrize(
    ("level", "icon"), [("DEBUG", "🔍"), ("INFO", "✅"), ("WARNING", "⚠️"), ("ERROR", "❌"), ("CRITICAL", "❌")]
)
def test_line_when_written_at_a_level_then_it_carries_its_sign(lines: Lines, level: str, icon: str) -> None:
    logger.log(level, "a milestone")
    assert re.search(rf"{level} +{icon} ", lines[0])


def test_context_when_set_then_it_rides_on_every_line_of_the_block_only(lines: Lines) -> None:
    with log_context(job_id="j1"):
        with log_context(chunk=7):
            add(1)
        logger.info("outer")
    logger.info("outside")
    assert all(line.rstrip().endswith("job_id=j1 chunk=7") for line in lines[:2])
    assert lines[2].rstrip().endswith("outer job_id=j1")
    assert "job_id" not in lines[3]


def test_context_when_a_thread_inherits_it_then_its_lines_carry_it(lines: Lines) -> None:
    with log_context(job_id="j1"), ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, logger.info, "from a thread").result()
    assert "from a thread job_id=j1" in lines.text


def test_json_when_asked_for_then_every_line_is_one_object() -> None:
    with captured(json=True) as lines:
        with log_context(job_id="j1", chunk=7):
            logger.info("said {}", "“quoted”\nand broken")
        with pytest.raises(ValueError, match="boom"):
            fail(ValueError("boom mongodb://u:hunter2@db"))
    entries = [json.loads(line) for line in lines]
    assert all(line.count("\n") == 1 for line in lines)
    assert entries[0]["message"] == "said “quoted”\nand broken"
    assert (entries[0]["level"], entries[0]["job_id"], entries[0]["chunk"]) == ("INFO", "j1", 7)
    assert entries[0]["module"] == "tests.core.test_logs"
    assert entries[-1]["exception"].startswith("Traceback")
    assert "hunter2" not in lines.text
    assert "exception" not in entries[0]


def _run(code: str) -> str:
    """Run code in an interpreter of its own, whose logging nobody else has set up; returns its standard error."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_line_when_a_text_holds_another_line_then_it_cannot_pass_for_one(lines: Lines) -> None:
    forged = "no\n2026-01-01 00:00:00.000 INFO forged\r\x1b[31m\u2028\u202ex"
    logger.warning("{}", forged)
    with pytest.raises(ValueError, match="forged"):
        fail(ValueError(forged))

    assert r"\r\x1b[31m\u2028\u202ex" in lines[0]
    for line in lines.text.splitlines():
        assert "forged" not in line or not line.startswith("2026-01-01")
    assert "\n    2026-01-01 00:00:00.000 INFO forged" in lines[0]


def test_standard_logging_when_a_library_warns_then_the_line_is_ours() -> None:
    written = _run(
        "import logging; from stt_core.logs import setup_logging; setup_logging();"
        "lib = logging.getLogger('a.lib'); lib.info('hidden'); lib.warning('slow %s', 'mongodb://u:hunter2@h');"
        "lib.error('bad {}', exc_info=ValueError('boom'))"
    )
    assert "⚠️ a.lib slow mongodb://u:***@h" in written
    assert "❌ a.lib bad {}" in written
    assert "ValueError: boom" in written
    assert "hidden" not in written


def test_logging_when_nothing_set_it_up_then_locals_of_a_failing_frame_are_not_shown() -> None:
    written = _run(
        "from stt_core.logs import logged\n"
        "@logged\n"
        "def f():\n"
        "    hidden = 'hunter' + '2'\n"
        "    raise ValueError('boom')\n"
        "try:\n"
        "    f()\n"
        "except ValueError:\n"
        "    pass\n"
    )
    assert "❌ __main__ f failed after" in written
    assert "hunter2" not in written


def test_standard_logging_when_a_sink_takes_the_lines_then_it_is_left_as_it_was() -> None:
    before = list(logging.getLogger().handlers)
    with captured():
        assert logging.getLogger().handlers == before


def test_failure_when_it_comes_again_then_is_counted_and_its_trace_stands_there_once(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_core.logs._REPEAT_SECONDS", 0.3)
    for number in range(100):
        with log_context(request_id=number), pytest.raises(ConnectionError):
            fail(ConnectionError("no answer"))
    wait_until(lambda: "(and 99 times more in " in lines.text, "the count is told")
    failures = [line for line in lines if "no answer" in line and "ERROR" in line]
    assert len(failures) == 2
    assert lines.text.count("Traceback") == 1
    with pytest.raises(ConnectionError):  # the fault lasts: it is counted on, and not told anew
        fail(ConnectionError("no answer"))
    setup_logging(sink=sys.stderr)
    assert "(and 1 times more in " in lines[-1]


def test_failure_when_it_is_another_jobs_or_another_one_or_late_then_is_told_whole(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for job_id in ("j1", "j2"):
        with log_context(job_id=job_id), pytest.raises(ValueError, match="boom"):
            fail(ValueError("boom"))
    with pytest.raises(ValueError, match="bang"):
        fail(ValueError("bang"))
    assert lines.text.count("Traceback") == 3
    monkeypatch.setattr("stt_core.logs._REPEAT_SECONDS", 0.0)
    with pytest.raises(ValueError, match="bang"):
        fail(ValueError("bang"))
    assert lines.text.count("Traceback") == 4


def test_milestone_when_it_comes_again_then_is_written_again(lines: Lines) -> None:
    for _ in range(3):
        logger.info("a milestone")
    assert len(lines) == 3


def test_process_when_it_ends_then_tells_what_it_counted() -> None:
    written = _run("from stt_core.logs import get_logger; log = get_logger('x'); [log.warning('slow') for _ in 'abc']")
    assert [line.split(" x ")[1].strip() for line in written.splitlines()] == ["slow", "slow (and 2 times more in 0 s)"]


def test_line_when_written_then_its_time_is_iso_8601_with_a_zone(lines: Lines) -> None:
    logger.info("a milestone")
    assert datetime.fromisoformat(lines[0].split()[0]).tzinfo
