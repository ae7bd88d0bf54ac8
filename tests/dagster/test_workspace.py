"""`workspace.yaml` as people who know Dagster use it: `dagster dev -w workspace.yaml` on servers of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from stt_cli.local_stack.home import free_port

ROOT = Path(__file__).parents[2]
QUERY = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
  ... on PythonError { message }
  ... on RepositoryLocation { repositories { jobs { name } sensors { name sensorState { status } } } } } } } } }"""


def locations(url: str) -> list[dict[str, Any]]:
    try:
        answer = httpx.post(f"{url}/graphql", json={"query": QUERY}, timeout=10)
    except httpx.TransportError:
        return []
    if answer.status_code != 200:
        return []
    entries = answer.json()["data"]["workspaceOrError"].get("locationEntries", [])
    return [entry["locationOrLoadError"] for entry in entries if entry["locationOrLoadError"]]


def test_dagster_dev_when_given_the_workspace_loads_every_definition(
    embedded_servers: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster", "dev", "-w", str(ROOT / "workspace.yaml"), "-p", str(port)],
            env=os.environ
            | embedded_servers
            | {"DAGSTER_HOME": str(tmp_path), "DAGSTER_DISABLE_TELEMETRY": "yes"}
            | {"WEBHOOK_SECRET": f"whsec_{'A' * 32}"},  # without one their sensor has nothing to do
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: locations(url), f"the workspace being loaded ({tmp_path / 'log'})", 90)
        [location] = locations(url)
        [repository] = location["repositories"]
        assert "transcribe_recording" in {job["name"] for job in repository["jobs"]}
        states = {sensor["name"]: sensor["sensorState"]["status"] for sensor in repository["sensors"]}
        expected = {"queue_sensor", "failure_sensor", "cancellation_sensor", "reconciler_sensor", "webhook_sensor"}
        expected |= {"backfill_sensor", "discovery_sensor"}
        assert states == dict.fromkeys(expected, "RUNNING")
    finally:  # how it stops is Dagster's own affair
        root = psutil.Process(process.pid)
        for one in [root, *root.children(recursive=True)]:
            one.kill()
        process.wait(timeout=20)
