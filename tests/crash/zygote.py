"""The hosts of the crash tests: for each order, a line of JSON on standard input, forks a process that may die of it.

    {"do": "run", "run_id": …}   a run worker: what Dagster's code server starts for a launched run
    {"do": "recover"}            the daemon's sensors that see to runs that failed, and the reconciler
    {"do": "launch"}             the daemon's sensors that launch; a run is created for each of their requests
    {"do": "discover"}           the daemon's discovery sensor: what lies in the bucket becomes partitions
    {"do": "materialize", …}     the Dagster UI: a run for a `partition` is launched
    {"do": "promote", …}         the API: transcripts by a `model` of objects in a `bucket` become the current ones

`"clock": seconds` sets the clock of that process ahead (or behind). The exit code of the process is answered as a line
of JSON; negative, it is the signal that ended it. Everything is imported once, here, so that a process costs little.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    RunRequest,
    RunsFilter,
    build_run_status_sensor_context,
    build_sensor_context,
)
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._grpc.impl import core_execute_run

from stt_core.backfill.promoting import promote_model
from stt_core.stores import documents
from stt_dagster import sensors
from stt_dagster.assets import bucket_transcripts
from stt_dagster.backfill_sensors import discovery_sensor
from stt_dagster.definitions import defs
from stt_dagster.resources import SttResource
from stt_dagster.runtime.names import PARTITION, RUN_KEY
from tests.crash.clock import clock_off_by

#: Failed runs that the failure sensor was told of: its cursor.
_TOLD = "crash-tests/told"


def run(instance: DagsterInstance, run_id: str) -> None:
    launched = instance.get_run_by_id(run_id)
    assert launched is not None
    job = ReconstructableRepository.for_module("stt_dagster.definitions", "defs").get_reconstructable_job(
        launched.job_name
    )
    for _ in core_execute_run(job, launched, instance, inject_env_vars=False):
        pass


def recover(instance: DagsterInstance) -> None:
    for failed in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.FAILURE])):
        if _TOLD in failed.tags:
            continue
        [event, *_] = instance.all_logs(failed.run_id, of_type=DagsterEventType.RUN_FAILURE)
        assert event.dagster_event is not None
        sensors.failure_sensor(
            build_run_status_sensor_context(
                "failure_sensor", event.dagster_event, instance, failed, resources={"stt": SttResource()}
            )
        )
        instance.add_run_tags(failed.run_id, {_TOLD: "yes"})
    cursor = Path(os.environ["DAGSTER_HOME"]) / "reconciler-cursor"
    seen = cursor.read_text() if cursor.exists() else None
    with build_sensor_context(instance, cursor=seen) as context:
        sensors.reconciler_sensor(context)
        cursor.write_text(context.cursor or "")


def launch(instance: DagsterInstance) -> None:
    sensors.QUEUE_WAIT_SECONDS = 0.1
    with build_sensor_context(instance) as context:
        recordings = sensors.queue_sensor(context)
    with build_sensor_context(instance) as context:
        objects = sensors.backfill_sensor(context)
    for request in requests_of(recordings) + requests_of(objects):
        if instance.get_runs_count(RunsFilter(tags={RUN_KEY: request.run_key})):
            continue
        tags = request.tags | {RUN_KEY: request.run_key}
        if request.partition_key:
            materialize(instance, request.partition_key, tags)
        else:
            instance.create_run_for_job(defs.get_job_def(request.job_name), run_config=request.run_config, tags=tags)


def requests_of(answer: Any) -> list[RunRequest]:
    return answer if isinstance(answer, list) else []


def discover(instance: DagsterInstance) -> None:
    with build_sensor_context(instance) as context:
        discovery_sensor(context)


def materialize(instance: DagsterInstance, partition: str, tags: dict[str, str] | None = None) -> None:
    instance.create_run_for_job(
        defs.get_implicit_global_asset_job_def(),
        asset_selection=frozenset({bucket_transcripts.key}),
        tags=(tags or {}) | {PARTITION: partition},
    )


def promote(instance: DagsterInstance, bucket: str, model: str) -> None:
    promote_model(SttResource().services, bucket=bucket, model=model)


def obey(instance: DagsterInstance, do: str, clock: float = 0, **details: Any) -> None:
    documents.datetime = clock_off_by(clock)  # type: ignore[misc, assignment]
    orders = (run, recover, launch, discover, materialize, promote)
    {order.__name__: order for order in orders}[do](instance, **details)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    instance = DagsterInstance.get()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                obey(instance, **json.loads(line))
            except Exception:  # noqa: BLE001
                traceback.print_exc()
                os._exit(1)
            os._exit(0)  # an orderly end of the interpreter takes longer than most orders
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    main()
