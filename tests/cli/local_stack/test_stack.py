"""What the stack starts: an embedded server only where no address is given, and Dagster with its own home."""

from __future__ import annotations

import sys

import pytest
import yaml
from dagster import DagsterInstance
from dagster._core.instance.config import dagster_instance_config

from stt_cli.local_stack.dagster_home import write_dagster_home
from stt_cli.local_stack.home import StackHome
from stt_cli.local_stack.servers import missing_servers
from stt_cli.local_stack.stack import plan
from stt_core.logs import setup_logging
from stt_core.settings import Settings


def test_plan_when_nothing_is_given_then_every_process_learns_of_the_embedded_servers(home: StackHome) -> None:
    servers, services, dagster = plan(home, Settings(), missing_servers(home, {}))
    assert [part.name for part in servers] == ["redis", "s3", "mongo"]
    for part in (*services, *dagster):
        assert part.environment["MONGODB_URL"] == f"mongodb://127.0.0.1:{servers[2].port}"
        assert part.environment["REDIS_PORT"] == str(servers[0].port)
        assert part.environment["MINIO_ENDPOINT"] == f"127.0.0.1:{servers[1].port}"
        assert part.environment["DAGSTER_HOME"] == str(home.path / "dagster")


def test_plan_when_all_addresses_are_given_then_starts_no_server_and_overrides_none(home: StackHome) -> None:
    given = {"MONGODB_URL": "mongodb://db", "REDIS_HOST": "cache", "MINIO_ENDPOINT": "s3:9000"}
    servers, services, dagster = plan(home, Settings(), missing_servers(home, given))
    assert servers == []
    for part in (*services, *dagster):
        assert not {"MONGODB_URL", "REDIS_HOST", "REDIS_PASSWORD", "MINIO_ENDPOINT"} & part.environment.keys()


def test_plan_when_made_then_no_secret_is_on_a_command_line_or_in_the_text_of_a_part(home: StackHome) -> None:
    layers = plan(home, Settings(), missing_servers(home, {}))
    text = repr(layers) + " ".join(word for layer in layers for part in layer for word in part.command)
    assert not [name for name in ("redis", "s3-access", "s3-secret") if home.secret(name) in text]


def test_plan_when_everything_is_logged_then_no_secret_is(home: StackHome) -> None:
    lines: list[str] = []
    setup_logging("DEBUG", sink=lines.append)
    plan(home, Settings(), missing_servers(home, {}))
    secrets = [home.secret(name) for name in ("redis", "s3-access", "s3-secret")]
    setup_logging(sink=sys.stderr)

    assert any("StackHome.secret" in line for line in lines)
    assert not [line for line in lines for secret in secrets if secret in line]


def test_dagster_home_when_written_then_dagster_accepts_it_and_keeps_everything_inside(
    home: StackHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(MAX_CONCURRENT_RUNS=7, MAX_CONCURRENT_BACKFILLS=3)
    monkeypatch.setattr("stt_dagster.runtime.run_coordinator.get_settings", lambda: settings)
    workspace = write_dagster_home(home, code_server_port=4321)
    config, _ = dagster_instance_config(str(home.dagster))
    assert config["telemetry"] == {"enabled": False}
    with DagsterInstance.from_config(str(home.dagster)) as instance:
        queue = instance.get_concurrency_config().run_queue_config
        assert queue.max_concurrent_runs == 10
        assert queue.tag_concurrency_limits == [{"key": "dagster/partition", "limit": 3}]
        assert instance.run_coordinator.dequeue_interval_seconds == 1
        assert instance.get_sensor_settings()["use_threads"] is True
        assert str(home.path) in instance.storage_directory()
    entry = yaml.safe_load(workspace.read_text())["load_from"][0]["grpc_server"]
    assert entry == {"host": "127.0.0.1", "port": 4321, "location_name": "stt"}
