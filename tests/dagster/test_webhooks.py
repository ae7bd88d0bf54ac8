"""The sensor that sends webhooks, as Dagster ticks it."""

from __future__ import annotations

import pytest
from dagster import DagsterInstance, SkipReason, build_sensor_context
from pydantic import SecretStr

from stt_core.services import Services
from tests.core.webhooks.conftest import SECRET, Receiver, ended_job
from tests.dagster.conftest import Configure


def tick() -> str:
    from stt_dagster.sensors import webhook_sensor

    with DagsterInstance.ephemeral() as instance, build_sensor_context(instance=instance) as context:
        answer = webhook_sensor(context)
    assert isinstance(answer, SkipReason)
    return answer.skip_message or ""


def test_webhook_sensor_when_a_job_has_ended_then_tells_its_caller_once(
    services: Services, configure: Configure
) -> None:
    configure(webhook_secret=SecretStr(SECRET), webhook_allow=("127.0.0.1",))
    with Receiver() as receiver:
        job = ended_job(services, receiver.url)
        assert tick() == "Webhooks: 1 delivered."
        assert tick() == "Webhooks: none due."
    assert [message["data"]["job_id"] for message in receiver.messages] == [job.job_id]


def test_webhook_sensor_when_mongodb_is_away_then_the_tick_says_so(
    services: Services, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(webhook_secret=SecretStr(SECRET))
    monkeypatch.setattr(services.database, "jobs", Services.open(gone(services)).database.jobs)
    assert "MongoDB is not reachable" in tick()


def gone(services: Services) -> object:
    return services.settings.model_copy(update={"mongodb_url": "mongodb://127.0.0.1:9", "mongodb_timeout_seconds": 0.3})
