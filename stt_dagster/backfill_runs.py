"""Runs for the objects of buckets: which are asked for next, and what is told in the name of those that died."""

from __future__ import annotations

from dagster import (
    AssetCheckEvaluation,
    AssetMaterialization,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRequest,
    RunsFilter,
)

from stt_core.backfill.exporting import release_transcript
from stt_core.errors import PermanentError
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs.job import JobModel, JobUpdate
from stt_core.jobs.leasing import is_held_back
from stt_core.jobs.recovery import cancel_job
from stt_core.logs import get_logger, log_exception
from stt_core.services import Services
from stt_dagster.assets import bucket_transcripts
from stt_dagster.jobs import job_of, partition_request
from stt_dagster.metadata import describe_checks, describe_transcript
from stt_dagster.partitions import BUCKET_OBJECTS
from stt_dagster.resources import SttResource
from stt_dagster.runs import latest_run, may_launch, settle_run
from stt_dagster.runtime.names import SENSOR, UNFINISHED
from stt_dagster.runtime.run_events import report_in_name_of_run
from stt_dagster.tags import UNTOLD

logger = get_logger(__name__)

#: Runs for waiting jobs of objects that are asked for beyond the capacity, so that it has always some to go on with.
_RUNS_AHEAD = 8
#: The sensor that asks for them.
BACKFILL_SENSOR = "backfill_sensor"


def next_runs(instance: DagsterInstance, services: Services) -> list[RunRequest]:
    """Return requests for the jobs of objects that wait for a run, never many more than there is capacity for.

    A job whose object has no partition any more is cancelled.
    """
    asked_for = {SENSOR: BACKFILL_SENSOR}
    unfinished = instance.get_runs_count(RunsFilter(tags=asked_for, statuses=UNFINISHED))
    free = services.settings.max_concurrent_backfills + _RUNS_AHEAD - unfinished
    requests: list[RunRequest] = []
    for job in services.jobs.find_waiting_backfills() if free > 0 else []:
        if len(requests) == free:
            break
        if not instance.has_dynamic_partition(BUCKET_OBJECTS.name or "", job.partition or ""):
            logger.warning("job {} is cancelled: {} is gone", job.job_id, job.partition)
            cancel_job(services.jobs, job.job_id)
        elif not is_held_back(job) and _is_free(instance, services, job) and may_launch(instance, services, job):
            requests.append(partition_request(job, _run_before(instance, job)))
    return requests


def release_transcripts(
    instance: DagsterInstance, services: Services, cursor: str | None = None
) -> tuple[int, str | None]:
    """Pass on the transcripts of jobs whose run ended after it had completed them, and before it had.

    Their partitions then are materialised by no run. The others have been told of by their runs. One that cannot be
    passed on, since its output is not there or refuses its name, is tried again when its turn comes round, and keeps
    back no other.

    Returns:
        How many were passed on, and where the next look goes on: its `cursor`.
    """
    page = services.jobs.find_jobs_to_release(cursor)
    run_ids = [job.run_id or "" for job in page.jobs]
    runs = {run.run_id: run for run in instance.get_runs(RunsFilter(run_ids=run_ids))} if run_ids else {}
    released = 0
    for job in page.jobs:
        run = runs.get(job.run_id or "")
        if run is not None and not run.is_finished:
            continue
        if run is None or run.status is not DagsterRunStatus.SUCCESS:
            logger.warning("job {} completed, and its run {} ended before it had told", job.job_id, job.run_id)
            try:
                is_current = release_transcript(services, job)
            except PermanentError as error:
                log_exception(logger, f"passing on the transcript of job {job.job_id}", error)
                continue
            _report(instance, job, is_current)
            failpoint(Failpoint.CHECKS_TOLD)
            released += 1
        services.jobs.modify_job(job.job_id, lambda _: JobUpdate(release_due=False))
    return released, page.next_cursor


def _report(instance: DagsterInstance, job: JobModel, is_current: bool) -> None:
    """Tell Dagster of a transcript and its checks, in the name of the run that completed the job.

    Without a run, Dagster takes what a check found of a partition once, and refuses it for ever after.
    """
    run_id = job.run_id or ""
    shown = describe_transcript(job, SttResource()) | {"current": is_current}
    transcript = AssetMaterialization(bucket_transcripts.key, partition=job.partition, metadata=shown)
    report_in_name_of_run(instance, run_id, transcript)
    failpoint(Failpoint.TRANSCRIPT_TOLD)
    for check in describe_checks(job):
        evaluation = AssetCheckEvaluation(
            asset_key=bucket_transcripts.key,
            check_name=check.check_name or "",
            passed=check.passed,
            metadata=check.metadata,
            severity=check.severity,
            description=check.description,
            partition=job.partition,
        )
        report_in_name_of_run(instance, run_id, evaluation)


def _is_free(instance: DagsterInstance, services: Services, job: JobModel) -> bool:
    """Return whether no run is about to claim the job, nor was cancelled while it was, before anybody was told."""
    run = latest_run(instance, job.partition or "")
    if run is None or job_of(run) is not None:
        return True
    if run.status is DagsterRunStatus.CANCELED and run.tags.get(UNTOLD) != "false":
        settle_run(instance, services, run)
        return False
    return run.is_finished


def _run_before(instance: DagsterInstance, job: JobModel) -> DagsterRun | None:
    """Return the run of the job's latest attempt; where none had claimed it, the latest for its object."""
    if job.attempts:
        return instance.get_run_by_id(job.attempts[-1].run_id)
    return latest_run(instance, job.partition or "")
