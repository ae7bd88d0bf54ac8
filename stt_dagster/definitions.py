"""Everything Dagster loads: `workspace.yaml` points here."""

from __future__ import annotations

from dagster import Definitions

from stt_dagster import logs
from stt_dagster.assets import bucket_objects, bucket_transcripts
from stt_dagster.backfill_sensors import discovery_sensor
from stt_dagster.comparison import model_comparison
from stt_dagster.io_manager import JsonIOManager
from stt_dagster.jobs import transcribe_recording
from stt_dagster.resources import SttResource
from stt_dagster.runtime.executor import run_executor
from stt_dagster.schedules import nightly_retention, retention
from stt_dagster.sensors import (
    backfill_sensor,
    cancellation_sensor,
    failure_sensor,
    queue_sensor,
    reconciler_sensor,
    webhook_sensor,
)

logs.install()

_stt = SttResource()

defs = Definitions(
    assets=[bucket_objects, bucket_transcripts, model_comparison],
    executor=run_executor,  # of runs for assets; jobs name their own
    jobs=[transcribe_recording, retention],
    schedules=[nightly_retention],
    sensors=[
        queue_sensor,
        failure_sensor,
        cancellation_sensor,
        reconciler_sensor,
        backfill_sensor,
        webhook_sensor,
        discovery_sensor,
    ],
    resources={"stt": _stt, "io_manager": JsonIOManager(stt=_stt)},
)
