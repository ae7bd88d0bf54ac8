"""What Dagster's processes write: in the form of our lines, each fault once."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import loguru
import pytest
from dagster._core.errors import DagsterUserCodeProcessError
from dagster._utils.error import SerializableErrorInfo

from stt_core.logs import add_sink
from tests.dagster.conftest import DATA, RunJob, Upload


@pytest.fixture
def lines() -> Iterator[list[str]]:
    from stt_dagster import definitions

    assert definitions.defs  # what sets up logging when it is first imported
    lines: list[str] = []
    sink = add_sink(lambda message: lines.append(str(message)))
    yield lines
    loguru.logger.remove(sink)


def test_run_when_a_step_fails_then_one_line_says_why_with_the_one_trace_and_every_line_has_the_job(
    upload: Upload, run_job: RunJob, lines: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    job_id = upload((DATA / "sample-04.m4a").read_bytes()[:5000])
    lines.clear()
    assert not run_job(job_id).success
    text = "".join(lines)
    assert text.count("Traceback") == 1
    [told] = [line for line in lines if "Traceback" in line]
    assert "❌ stt_dagster.steps step prepare_audio failed: The m4a file is damaged" in told
    assert "Check that it plays, and send it again." in told.splitlines()[0]
    assert [line for line in lines if "failed" in line and "✅" in line] == []
    [ended] = [line for line in lines if "Execution of run" in line]
    assert "❌ dagster " in ended
    assert [line for line in lines if job_id not in line] == []
    assert "STEP_FAILURE" not in capfd.readouterr().err


def test_daemon_when_a_tick_fails_then_its_error_is_one_line(lines: list[str]) -> None:
    from stt_dagster.runtime import console

    cause = SerializableErrorInfo("QueueRefusedError: Redis refused peeking.\n", ["a stack"], "QueueRefusedError")
    tick = SerializableErrorInfo("SensorExecutionError: of queue_sensor\n", ["a stack"], "SensorExecutionError", cause)
    log = console._console_logger("dagster.daemon.SensorDaemon", logging.INFO)
    try:
        raise DagsterUserCodeProcessError("…", user_code_process_error_infos=[tick])
    except DagsterUserCodeProcessError:
        log.exception("Sensor daemon caught an error for sensor queue_sensor")
        log.exception("Sensor daemon caught an error for sensor queue_sensor")
    [line] = lines
    assert line.rstrip().endswith("sensor queue_sensor: QueueRefusedError: Redis refused peeking.")
    assert "ERROR   ❌ dagster.daemon.SensorDaemon" in line
