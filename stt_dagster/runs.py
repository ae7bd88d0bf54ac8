"""Dagster's runs, held to the truth about their jobs: what the end of one means, and which will never end.

Dagster's own run monitoring cannot tell the latter: its default launcher does not know whether a run's process lives,
and its timeouts end a slow run as they do a dead one.
"""

from __future__ import annotations

from collections.abc import Mapping

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from stt_core.backfill.opening import open_known_object
from stt_core.errors import JobNotFoundError, PartitionNotFoundError, TransientError
from stt_core.jobs.heartbeats import Observation, has_stood_still, observe, observe_runs
from stt_core.jobs.job import JobError, JobModel, JobStatus
from stt_core.jobs.recovery import cancel_job, recover_failed_run, why_run_is_useless
from stt_core.logs import get_logger
from stt_core.services import Services
from stt_dagster.failures import why_run_ended
from stt_dagster.jobs import is_transcription, job_of, transcribe_recording
from stt_dagster.runtime.names import AT_WORK, PARTITION, RUN_KEY, UNFINISHED
from stt_dagster.tags import MODEL, UNTOLD

logger = get_logger(__name__)

#: A run that gives signs of life, and claims no job, is ended after so many times `START_TIMEOUT_SECONDS`: it is not
#: dead but slow, on a machine under load, and what it has done would be done again.
_LIVING_PATIENCE = 10
#: How runs for objects may end before they have a job.
_WITHOUT_JOB = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
#: Runs that are settled at one look.
_MOST_UNTOLD = 8
#: Jobs that are looked after together; more are never processing at once.
_MOST_JOBS = 1000


def count_unfinished_runs(instance: DagsterInstance) -> int:
    """Return how many runs of the job have not ended."""
    return instance.get_runs_count(RunsFilter(job_name=transcribe_recording.name, statuses=UNFINISHED))


def settle_run(instance: DagsterInstance, services: Services, run: DagsterRun) -> None:
    """Tell the job what became of a run that is over. It changes nothing where the job is not that run's any more.

    Raises:
        TransientError: A server is away. The job, or what else there is, is told later.
    """
    if job := job_of(run):
        _settle(instance, services, run, *job)
    elif is_transcription(run) and run.status in _WITHOUT_JOB and run.tags.get(UNTOLD) != "false":
        try:
            _settle_without_job(instance, services, run)
        except TransientError:
            instance.add_run_tags(run.run_id, {UNTOLD: "true"})  # no job says that there is something to do
            raise


def settle_untold_runs(instance: DagsterInstance, services: Services) -> None:
    """Settle runs for objects whose end nobody could be told of, unless their object had another run since."""
    untold = RunsFilter(statuses=_WITHOUT_JOB, tags={UNTOLD: "true"})
    for run in instance.get_runs(untold, limit=_MOST_UNTOLD):
        latest = latest_run(instance, run.tags[PARTITION])
        if latest is not None and latest.run_id == run.run_id:
            _settle_without_job(instance, services, run)
        instance.add_run_tags(run.run_id, {UNTOLD: "false"})


def _settle(instance: DagsterInstance, services: Services, run: DagsterRun, job_id: str, attempt: int | None) -> None:
    try:
        if run.status is DagsterRunStatus.CANCELED:
            cancel_job(services.jobs, job_id, run_id=run.run_id, attempt=attempt)
        else:
            reason, error = why_run_ended(instance, run)
            _recover(services, job_id, run.run_id, attempt, reason=reason, error=error)
    except JobNotFoundError as gone:
        logger.warning("run {} is over, and so is its job: {}", run.run_id, gone)


def may_launch(instance: DagsterInstance, services: Services, job: JobModel) -> bool:
    """Return whether a run may be launched for the job's attempt; where that had one and is over, the job is told.

    Dagster launches nothing twice under one run key: a run whose end nobody heard of would keep its job for ever.
    """
    runs = instance.get_runs(RunsFilter(tags={RUN_KEY: job.member}))
    if not runs or not all(run.is_finished for run in runs):
        return True
    logger.warning("run {} of {} was over, and the job had not been told", runs[0].run_id, job.member)
    settle_run(instance, services, runs[0])
    return False


def look_after_jobs(
    instance: DagsterInstance, services: Services, seen: Mapping[str, Observation]
) -> dict[str, Observation]:
    """Give up the runs of processing jobs that are over, that Dagster does not know, or that are silent.

    Args:
        instance: Dagster.
        services: The core.
        seen: What the look before returned.

    Returns:
        What was seen of each run at this look.
    """
    processing = services.jobs.list_jobs(status=JobStatus.PROCESSING, limit=_MOST_JOBS).jobs
    observed = observe_runs(processing, services.heartbeats, seen)
    for job in processing:
        run_id = job.run_id or ""
        run = instance.get_run_by_id(run_id)
        if run is None:
            reason = "Dagster does not know its run any more."
            _recover(services, job.job_id, run_id, job.attempt, reason=reason)
        elif run.is_finished:
            _settle(instance, services, run, job.job_id, job.attempt)
        elif has_stood_still(observed[run_id], services.settings.run_silence_seconds, services.settings):
            end_run(instance, services, run, "It gave no sign of life any more: its process or its host died.")
    return observed


def end_useless_runs(
    instance: DagsterInstance, services: Services, seen: Mapping[str, Observation]
) -> dict[str, Observation]:
    """End runs that will never claim their job, or whose job is over, so that their slots are free.

    Their process died; a living one ends by itself as soon as it sees its job. Parameters and result as in
    `look_after_jobs`, which watches the runs that have their job, and comes after this: it forgets signs of others.
    """
    reasons: dict[str, str] = {}
    runs = [run for run in instance.get_runs(RunsFilter(statuses=AT_WORK)) if is_transcription(run)]
    for run in runs:
        if reason := _why_useless(services, run):
            reasons[run.run_id] = f"{run.status.value}: {reason}"
    observed, signs = observe(reasons, seen), services.heartbeats.signs()
    for run in runs:
        observation = observed.get(run.run_id)
        seconds = services.settings.start_timeout_seconds * (_LIVING_PATIENCE if run.run_id in signs else 1)
        if observation and has_stood_still(observation, seconds, services.settings):
            end_run(instance, services, run, observation.sign)
    return observed


def end_run(instance: DagsterInstance, services: Services, run: DagsterRun, reason: str) -> None:
    """Mark a run without a process as over, cancelled where somebody wanted that, and tell its job."""
    job = job_of(run)
    logger.warning("run {} of job {} is ended: {}", run.run_id, job, reason)
    if run.status is DagsterRunStatus.CANCELING or (job and _is_cancelled(services, job[0])):
        instance.report_run_canceled(run, reason)
    else:
        instance.report_run_failed(run, reason)
    if ended := instance.get_run_by_id(run.run_id):
        settle_run(instance, services, ended)


def latest_run(instance: DagsterInstance, partition: str) -> DagsterRun | None:
    """Return the latest run for an object."""
    return next(iter(instance.get_runs(RunsFilter(tags={PARTITION: partition}), limit=1)), None)


def _settle_without_job(instance: DagsterInstance, services: Services, run: DagsterRun) -> None:
    """Settle a run for an object that had no job when it ended.

    One that failed is given a job, so that there is a next attempt. One that was cancelled may have opened its job, and
    not have said so yet: that waits for no other run.
    """
    if run.status is DagsterRunStatus.CANCELED:
        for job in services.jobs.find_versions([run.tags[PARTITION]]):
            if job.status is JobStatus.QUEUED:
                logger.warning("job {} is cancelled, as run {} was that was launched for it", job.job_id, run.run_id)
                cancel_job(services.jobs, job.job_id)
        instance.add_run_tags(run.run_id, {UNTOLD: "false"})  # what is queued from now on is none of its business
        return
    reason, error = why_run_ended(instance, run)
    if error is not None and not error.transient:
        return
    try:
        job = open_known_object(services, run.tags[PARTITION], run.run_id, model=run.tags.get(MODEL))
        logger.warning("run {} ended before it opened job {}: {}", run.run_id, job.job_id, reason)
    except PartitionNotFoundError as gone:
        logger.warning("run {} is over, and so is its object: {}", run.run_id, gone)


def _why_useless(services: Services, run: DagsterRun) -> str | None:
    if job := job_of(run):
        return why_run_is_useless(services.jobs, job_id=job[0], run_id=run.run_id, attempt=job[1])
    return "The run did not open a job within START_TIMEOUT_SECONDS."


def _is_cancelled(services: Services, job_id: str) -> bool:
    try:
        return services.jobs.get_job(job_id).status is JobStatus.CANCELLED
    except JobNotFoundError as gone:
        logger.warning("{}", gone)
        return True


def _recover(
    services: Services, job_id: str, run_id: str, attempt: int | None, *, reason: str, error: JobError | None = None
) -> None:
    recover_failed_run(
        services.jobs,
        services.queue,
        services.settings,
        job_id=job_id,
        run_id=run_id,
        attempt=attempt,
        reason=reason,
        error=error,
    )
