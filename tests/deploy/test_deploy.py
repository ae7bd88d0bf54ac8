"""The deployment files against the settings and against Dagster's own schema. No Docker engine is needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import validate_config
from dagster._core.instance.config import dagster_instance_config_schema

from stt_core.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
SETTINGS = {name.upper() for name in Settings.model_fields}
#: What deploy/dagster.yaml reads from the environment besides our settings.
DAGSTER_OWN = {"DAGSTER_POSTGRES_PASSWORD"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    compose = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
    found: dict[str, Any] = compose["services"]
    return found


def test_compose_has_every_server_and_every_process(services: dict[str, Any]) -> None:
    images = " ".join(service["image"] for service in services.values())
    for image in ("mongo:8", "redis:7", "postgres:", "rclone"):
        assert image in images
    assert {"api", "dagster-code", "dagster-webserver", "dagster-daemon"} <= set(services)


def test_compose_when_it_sets_a_variable_of_ours_it_is_a_setting(services: dict[str, Any]) -> None:
    ours = [service for service in services.values() if service["image"] == "stt-dagster"]
    assert len(ours) == 4
    for service in ours:
        assert set(service["environment"]) - DAGSTER_OWN <= SETTINGS


def test_compose_gives_every_service_a_health_check(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        for needed in service.get("depends_on", {}).values():
            assert needed["condition"] == "service_healthy", name


def test_compose_holds_no_secret(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY", variable):
                assert "${" in value, f"{name}: {variable}"


def test_compose_opens_ports_on_loopback_only(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_dagster_yaml_fits_dagsters_schema_and_reads_known_variables() -> None:
    text = (DEPLOY / "dagster.yaml").read_text()
    config = yaml.safe_load(text)
    result = validate_config(dagster_instance_config_schema(), config)
    assert result.success, result.errors
    assert set(re.findall(r"env: (\w+)", text)) - DAGSTER_OWN <= SETTINGS


def test_dockerfile_copies_what_exists() -> None:
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY"):
            for source in line.split()[1:-1]:
                assert (DEPLOY.parent / source).exists(), source
