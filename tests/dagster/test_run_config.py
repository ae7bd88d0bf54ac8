"""The configuration of a run is what it says: nothing of the environment comes in by it, nothing wrong is retried."""

from __future__ import annotations

from typing import Any

import pytest
from dagster import DagsterInstance, IntSource, StringSource

from stt_core.services import Services

SECRET = "a-secret-of-the-environment"


@pytest.mark.parametrize("job_id", [{"env": "MINIO_SECRET_KEY"}, "../../etc/passwd", "", 7])
def test_run_when_its_job_is_no_id_then_fails_at_once_and_says_what_one_is(
    services: Services, monkeypatch: pytest.MonkeyPatch, job_id: Any
) -> None:
    from stt_dagster.definitions import defs

    monkeypatch.setenv("MINIO_SECRET_KEY", SECRET)
    config = {"ops": {"prepare_audio": {"config": {"job_id": job_id}}}}
    with DagsterInstance.ephemeral() as instance:
        job = defs.resolve_job_def("transcribe_recording")
        result = job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)
        events = [str(entry) for entry in instance.all_logs(result.run_id)]

    assert not result.success
    assert any("32 hexadecimal digits" in event for event in events)
    assert not any("STEP_UP_FOR_RETRY" in event for event in events)
    assert SECRET not in "".join(events)


def test_definitions_when_read_then_no_text_of_a_configuration_comes_from_the_environment() -> None:
    from stt_dagster.definitions import defs

    jobs = {
        job.name: {one.key for one in job.run_config_schema.config_type.type_iterator()}
        for job in defs.resolve_all_job_defs()
    }
    assert any(IntSource.key in keys for keys in jobs.values())  # a number of the environment is no secret
    assert [name for name, keys in jobs.items() if StringSource.key in keys] == []
