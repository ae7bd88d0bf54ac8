"""Names of Dagster's that it does not export: tags as they stand on its runs, and the states of runs."""

from dagster import DagsterRunStatus

#: The tags of a run: the partition and the backfill that it is for, the sensor that launched it, and by which key.
PARTITION, BACKFILL, SENSOR, RUN_KEY = "dagster/partition", "dagster/backfill", "dagster/sensor_name", "dagster/run_key"
#: Runs that have a process, or should. One that is QUEUED may rightly wait for hours.
AT_WORK = [
    DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING,
]  # fmt: skip
#: Runs that have not ended.
UNFINISHED = [DagsterRunStatus.QUEUED, *AT_WORK]
