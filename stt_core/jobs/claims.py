"""A run's claim of a job: taking it, and writing to it as long as it is one's own.

Every write checks that the job still belongs to this run, so that a run that was given up and wakes again changes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from stt_core.errors import JobNotFoundError, ObjectNotFoundError, SttError, SupersededError, UnexpectedError
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs import transitions
from stt_core.jobs.job import JobError, JobModel, JobResult, JobStage, JobUpdate
from stt_core.jobs.repository import JobRepository
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: A run that was re-executed from its failure finds nothing where earlier steps wrote, days after them.
MEND_SWEPT = "What earlier steps wrote is swept by now: re-execute the whole run, or send the job again (`stt retry`)."


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

    failpoint(Failpoint.RUN_STARTED)
    claim = partial(transitions.claim, run_id=run_id, attempt=attempt, is_reexecution=is_reexecution)
    job = jobs.modify_job(job_id, claim)
    failpoint(Failpoint.JOB_CLAIMED)
    return Claim(jobs, job_id, job.attempt, run_id)


@dataclass(frozen=True)
class Claim:
    """The right of one run to write to one job."""

    jobs: JobRepository
    job_id: str
    attempt: int
    run_id: str

    def job(self) -> JobModel:
        """Return the job as it is now.

        Raises:
            SupersededError: It is no longer this run's, or cancelled.
        """
        job = self.jobs.get_job(self.job_id)
        if not transitions.is_completed_by(job, self.run_id):
            self._ensure_held(job)
        return job

    def is_lost(self) -> bool:
        """Return whether the job was cancelled, taken over or deleted; what the run does is then of no use any more."""
        try:
            self.job()
        except (SupersededError, JobNotFoundError) as error:
            logger.warning("{}", error)
            return True
        return False

    def update(self, update: JobUpdate) -> JobModel:
        """Write to the job.

        Raises:
            SupersededError: It is no longer this run's, or cancelled.
        """

        def change(job: JobModel) -> JobUpdate:
            self._ensure_held(job)
            return update

        return self.jobs.modify_job(self.job_id, change)

    def enter_stage(self, stage: JobStage) -> JobModel:
        """Say what the run is doing now; several steps may say the same at once."""
        return self._change(transitions.enter_stage, stage=stage)

    def complete(self, result: JobResult) -> JobModel:
        """Finish the job: the one write that makes a transcript visible. Repeating it changes nothing."""
        return self._change(transitions.complete, result=result)

    def fail(self, error: JobError) -> JobModel:
        """Write down why the run fails; a permanent error ends the job, a transient one is left to the sensor."""
        return self._change(transitions.fail, error=error)

    def _change(self, transition: Callable[..., JobUpdate | None], **told: object) -> JobModel:
        return self.jobs.modify_job(self.job_id, partial(transition, run_id=self.run_id, attempt=self.attempt, **told))

    def _ensure_held(self, job: JobModel) -> None:
        transitions.ensure_held(job, run_id=self.run_id, attempt=self.attempt)


def _storable(message: str) -> str:
    """Return a message as MongoDB takes it: of a sane length, without half characters from broken file names."""
    return message[:2000].encode("utf-8", "replace").decode()
