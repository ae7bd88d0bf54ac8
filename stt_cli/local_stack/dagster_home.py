"""`DAGSTER_HOME` of the local stack: the instance's configuration and the workspace, written at every start."""

from __future__ import annotations

import json
from pathlib import Path

from stt_cli.local_stack.home import StackHome
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: The code location's name: sensors and partitions keep their state under it, so it must not follow the port.
LOCATION = "stt"

# Paths are quoted as JSON strings, which YAML reads too.
_INSTANCE = """\
# Written by `stt up` at every start; change the settings it comes from instead.
storage:
  custom:
    module: stt_dagster.runtime.storage  # Dagster's own, which asks its databases at a third of the cost
    class: LocalStorage
    config:
      base_dir: {storage}
local_artifact_storage:
  module: dagster.core.storage.root
  class: LocalArtifactStorage
  config:
    base_dir: {artifacts}
compute_logs:
  module: dagster.core.storage.local_compute_log_manager
  class: LocalComputeLogManager
  config:
    base_dir: {compute_logs}
run_coordinator:
  module: stt_dagster.runtime.run_coordinator  # it limits runs as MAX_CONCURRENT_RUNS and MAX_CONCURRENT_BACKFILLS say
  class: LaneRunCoordinator
  config:
    dequeue_interval_seconds: 1  # the default, 5 s, is most of what a short recording takes
sensors:
  use_threads: true  # the queue sensor waits on Redis; the others must not wait for it
  num_workers: 8
retention:
  sensor:
    purge_after_days: {{skipped: 1, success: 30, failure: 30}}  # of ticks: the queue sensor's come every few seconds
telemetry:
  enabled: false
nux:
  enabled: false
"""

_WORKSPACE = """\
load_from:
  - grpc_server: {{host: 127.0.0.1, port: {port}, location_name: {location}}}
"""


def write_dagster_home(home: StackHome, *, code_server_port: int) -> Path:
    """Write dagster.yaml and workspace.yaml; return the path of the workspace."""
    folder = home.dagster
    parts = ("storage", "artifacts", "compute_logs")
    instance = _INSTANCE.format(**{part: json.dumps(str(folder / part), ensure_ascii=False) for part in parts})
    (folder / "dagster.yaml").write_text(instance, encoding="utf-8")
    workspace = folder / "workspace.yaml"
    workspace.write_text(_WORKSPACE.format(port=code_server_port, location=LOCATION), encoding="utf-8")
    return workspace
