"""A run's claim of a job: taking it, and writing to it as long as it is one's own.

`attempt` fences the runs of a job off from each other. A run takes a `queued` job of its own attempt; a re-execution
from the Dagster UI takes any job that is not finished well by bumping the attempt, once. Every later write checks that
the job still belongs to this run, so that a run that was given up and wakes again changes nothing.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

from stt_core.errors import (
    JobFailedError,
    JobNotFoundError,
    ObjectNotFoundError,
    SttError,
    SupersededError,
    UnexpectedError,
)
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs.models import Attempt, JobError, JobModel, JobResult, JobStage, JobStatus, JobUpdate, utc_now
from stt_core.jobs.repository import JobRepository
from stt_core.logs import get_logger, logged

logger = get_logger(__name__)

#: A run that was re-executed from its failure finds nothing where earlier steps wrote, days after them.
MEND_SWEPT = "What earlier steps wrote is swept by now: re-execute the whole run, or send the job again (`stt retry`)."


@logged
def describe_error(error: BaseException, stage: JobStage | None = None) -> JobError:
    """Return an exception as the job keeps it. One that nobody named counts as permanent: it is a defect of ours."""
    if isinstance(error, SttError):
        is_swept = isinstance(error, ObjectNotFoundError) and stage not in (None, JobStage.PREPARING)
        return JobError(
            kind=error.kind,
            message=_storable(error.message),
            mend=MEND_SWEPT if is_swept else error.mend,
            transient=error.transient,
            outage=error.outage,
            stage=stage,
        )
    return JobError(kind=UnexpectedError.kind, message=_storable(f"{type(error).__name__}: {error}"), stage=stage)


@logged
def ended_error(job: JobModel) -> JobFailedError:
    """Return the error that tells of a job's end without a transcript."""
    error = job.error
    return JobFailedError(
        f"Job {job.job_id} {'failed' if job.status is JobStatus.FAILED else 'was cancelled'}"
        + (f": {error.message}" if error else "."),
        mend=error.mend if error else None,
        job_status=job.status.value,
        kind=error.kind if error else None,
    )


@logged
def ensure_claim(
    jobs: JobRepository, job_id: str, run_id: str, *, attempt: int | None, is_reexecution: bool = False
) -> Claim:
    """Take the job for a run, or confirm that the run has it; every step of a run begins with this.

    Args:
        attempt: The attempt the run was launched for; None (a run launched by hand) accepts the current one, and takes
            a failed job by the next.
        is_reexecution: The run repeats an earlier one from the Dagster UI; it may take the job by the next attempt.

    Raises:
        SupersededError: The job is finished, cancelled, or another run's.
    """

    def take(job: JobModel) -> JobUpdate | None:
        if job.run_id == run_id and job.status in (JobStatus.PROCESSING, JobStatus.COMPLETED):
            return None
        has_had_it = any(past.run_id == run_id for past in job.attempts)
        by_hand = is_reexecution or (attempt is None and job.status is JobStatus.FAILED)
        if by_hand and not has_had_it and job.status not in (JobStatus.COMPLETED, JobStatus.CANCELLED):
            taken = job.attempt + 1
        elif not has_had_it and job.status is JobStatus.QUEUED and attempt in (None, job.attempt):
            taken = job.attempt
        else:
            raise _refusal(job, run_id)
        return JobUpdate(
            status=JobStatus.PROCESSING,
            stage=JobStage.PREPARING,
            attempt=taken,
            run_id=run_id,
            attempts=job.with_attempt(Attempt(attempt=taken, run_id=run_id, host=platform.node())),
            started_at=utc_now(),
            completed_at=None,
            not_before=None,
            error=None,
        )

    failpoint(Failpoint.RUN_STARTED)
    job = jobs.modify_job(job_id, take)
    failpoint(Failpoint.JOB_CLAIMED)
    return Claim(jobs, job_id, job.attempt, run_id)


def _refusal(job: JobModel, run_id: str) -> SupersededError:
    """Return what a run is told that may not have the job; people read it in the Dagster UI."""
    if job.status is JobStatus.COMPLETED:
        return SupersededError(
            f"Job {job.job_id} is completed, and its transcript stays as it is.",
            mend="Upload the recording again to have it transcribed anew.",
        )
    if job.status is JobStatus.CANCELLED:
        return SupersededError(f"Job {job.job_id} was cancelled.", mend="Upload the recording again.")
    return SupersededError(
        f"Job {job.job_id} is {job.status} in attempt {job.attempt} of run {job.run_id}: it is not run {run_id}'s."
    )


@dataclass(frozen=True)
class Claim:
    """The right of one run to write to one job."""

    jobs: JobRepository
    job_id: str
    attempt: int
    run_id: str

    @logged
    def job(self) -> JobModel:
        """Return the job as it is now.

        Raises:
            SupersededError: It is no longer this run's, or cancelled.
        """
        job = self.jobs.get_job(self.job_id)
        if not self._is_completed(job):
            self._check(job)
        return job

    @logged
    def is_lost(self) -> bool:
        """Return whether the job was cancelled, taken over or deleted; what the run does is then of no use any more."""
        try:
            self.job()
        except (SupersededError, JobNotFoundError) as error:
            logger.warning("{}", error)
            return True
        return False

    @logged
    def update(self, update: JobUpdate) -> JobModel:
        """Write to the job.

        Raises:
            SupersededError: It is no longer this run's, or cancelled.
        """

        def change(job: JobModel) -> JobUpdate:
            self._check(job)
            return update

        return self.jobs.modify_job(self.job_id, change)

    @logged
    def enter_stage(self, stage: JobStage) -> JobModel:
        """Say what the run is doing now; several steps may say the same at once."""

        def change(job: JobModel) -> JobUpdate | None:
            if self._is_completed(job):  # its last step is tried again, over what comes after that
                return None
            self._check(job)
            return None if job.stage is stage else JobUpdate(stage=stage)

        return self.jobs.modify_job(self.job_id, change)

    @logged
    def complete(self, result: JobResult) -> JobModel:
        """Finish the job: the one write that makes a transcript visible. Repeating it changes nothing."""

        def change(job: JobModel) -> JobUpdate | None:
            if self._is_completed(job):
                return None
            self._check(job)
            return JobUpdate(
                status=JobStatus.COMPLETED,
                stage=None,
                result=result,
                error=None,
                language=result.language,
                completed_at=utc_now(),
                attempts=job.ended_attempts(self.run_id, None),
            )

        return self.jobs.modify_job(self.job_id, change)

    @logged
    def fail(self, error: JobError) -> JobModel:
        """Write down why the run fails; a permanent error ends the job, a transient one is left to the sensor."""

        def change(job: JobModel) -> JobUpdate:
            self._check(job)
            attempts = job.ended_attempts(self.run_id, error)
            if error.transient:
                return JobUpdate(error=error, attempts=attempts)
            return JobUpdate(status=JobStatus.FAILED, error=error, completed_at=utc_now(), attempts=attempts)

        return self.jobs.modify_job(self.job_id, change)

    def _is_completed(self, job: JobModel) -> bool:
        return job.status is JobStatus.COMPLETED and job.run_id == self.run_id

    def _check(self, job: JobModel) -> None:
        if job.status is not JobStatus.PROCESSING or job.run_id != self.run_id or job.attempt != self.attempt:
            raise SupersededError(
                f"Job {self.job_id} is {job.status} in attempt {job.attempt} of run {job.run_id}: "
                f"attempt {self.attempt} of run {self.run_id} has no say any more."
            )


def _storable(message: str) -> str:
    """Return a message as MongoDB takes it: of a sane length, without half characters from broken file names."""
    return message[:2000].encode("utf-8", "replace").decode()
