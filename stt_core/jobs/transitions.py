"""The state machine of a job: each change of its status by name, as the write that makes it.

    pending -> queued -> processing -> completed | failed | cancelled
    processing -> queued      next attempt
    failed -> queued          sent again
    failed -> processing      re-executed from the Dagster UI
    any unfinished state -> failed | cancelled

Each is given the job as it is now and returns what to write, or None where there is nothing to do any more; where it
may not be done, it raises. `JobRepository.modify_job` reads the job, asks, and writes, and starts over where another
writer came between: so every change is a compare-and-set, and repeating one changes nothing.

`attempt` fences the runs of a job off from each other: what a run writes is refused once the job is not its own.
"""

from __future__ import annotations

import platform
from datetime import timedelta

from stt_core.errors import InvalidTransitionError, JobFailedError, SupersededError
from stt_core.jobs.job import Attempt, JobError, JobModel, JobResult, JobStage, JobStatus, JobUpdate, Source
from stt_core.logs import get_logger
from stt_core.stores.documents import utc_now

logger = get_logger(__name__)

#: The steps of the state machine. `queued` and `processing` may follow themselves: the next attempt, a re-execution.
TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PENDING: frozenset({JobStatus.QUEUED, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.QUEUED: frozenset({JobStatus.QUEUED, JobStatus.PROCESSING, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.PROCESSING: frozenset(
        {JobStatus.PROCESSING, JobStatus.QUEUED, JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}
    ),
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset({JobStatus.QUEUED, JobStatus.PROCESSING}),
    JobStatus.CANCELLED: frozenset(),
}


def queue(job: JobModel, *, source: Source) -> JobUpdate | None:
    """A recording that arrived waits for its run; None where another request of the client was first.

    Raises:
        JobFailedError: The job ended while its bytes arrived.
    """
    if job.source is not None:
        return None
    if job.status.is_final:
        raise ended_error(job)
    return JobUpdate(status=JobStatus.QUEUED, source=source, attempt=1, queued_at=utc_now())


def give_up(job: JobModel, *, error: JobError, even_queued: bool = False) -> JobUpdate | None:
    """A job whose recording did not arrive fails; with `even_queued`, whatever it waits for."""
    if job.status.is_final or not (even_queued or job.status is JobStatus.PENDING):
        return None
    return JobUpdate(status=JobStatus.FAILED, error=error, completed_at=utc_now())


def claim(job: JobModel, *, run_id: str, attempt: int | None, is_reexecution: bool = False) -> JobUpdate | None:
    """A run takes the job; None where it has it.

    A run takes a queued job of its own attempt. A re-execution from the Dagster UI, and a run without an attempt that
    finds the job failed, take any that did not end well by bumping the attempt, once.

    Raises:
        SupersededError: The job is finished, cancelled, or another run's.
    """
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


def enter_stage(job: JobModel, *, run_id: str, attempt: int, stage: JobStage) -> JobUpdate | None:
    """A run says what it is doing now; several of its steps may say the same at once.

    Raises:
        SupersededError: The job is not that run's any more.
    """
    if is_completed_by(job, run_id):  # its last step is tried again, over what comes after that
        return None
    ensure_held(job, run_id=run_id, attempt=attempt)
    return None if job.stage is stage else JobUpdate(stage=stage)


def complete(job: JobModel, *, run_id: str, attempt: int, result: JobResult) -> JobUpdate | None:
    """The one write that makes a transcript visible.

    Raises:
        SupersededError: The job is not that run's any more.
    """
    if is_completed_by(job, run_id):
        return None
    ensure_held(job, run_id=run_id, attempt=attempt)
    return JobUpdate(
        status=JobStatus.COMPLETED,
        stage=None,
        result=result,
        error=None,
        language=result.language,
        completed_at=utc_now(),
        attempts=job.ended_attempts(run_id, None),
    )


def fail(job: JobModel, *, run_id: str, attempt: int, error: JobError) -> JobUpdate:
    """A run says why it fails: a permanent error ends the job, a transient one is kept until the run is over.

    Raises:
        SupersededError: The job is not that run's any more.
    """
    ensure_held(job, run_id=run_id, attempt=attempt)
    attempts = job.ended_attempts(run_id, error)
    if error.transient:
        return JobUpdate(error=error, attempts=attempts)
    return JobUpdate(status=JobStatus.FAILED, error=error, completed_at=utc_now(), attempts=attempts)


def fail_for_good(job: JobModel, *, failures: int, error: JobError) -> JobUpdate:
    """A job whose run is over without a transcript, and whose attempts are used up, ends."""
    return JobUpdate(
        status=JobStatus.FAILED,
        failures=failures,
        error=error,
        completed_at=utc_now(),
        attempts=job.ended_attempts(job.run_id or "", error),
    )


def cancel(job: JobModel, *, run_id: str | None = None, attempt: int | None = None) -> JobUpdate | None:
    """A job that is not finished is not wanted any more.

    With `run_id`, only if that run has the job, or was launched for its waiting `attempt` and had not claimed it yet.
    """
    is_its_own = job.run_id == run_id or (job.status is JobStatus.QUEUED and job.attempt == attempt)
    if job.status.is_final or (run_id is not None and not is_its_own):
        return None
    return JobUpdate(
        status=JobStatus.CANCELLED,
        stage=None,
        error=None,  # that of an earlier attempt is not why it ended
        completed_at=utc_now(),
        attempts=job.ended_attempts(job.run_id or "", None),
    )


def requeue(
    job: JobModel, *, failures: int, error: JobError, attempts: list[Attempt], delay_seconds: float
) -> JobUpdate:
    """A job whose run is over without a transcript waits for its next attempt, for `delay_seconds` at least."""
    return JobUpdate(
        status=JobStatus.QUEUED,
        stage=None,
        attempt=job.attempt + 1,
        failures=failures,
        attempts=attempts,
        run_id=None,
        error=error,
        not_before=utc_now() + timedelta(seconds=delay_seconds),
    )


def send_again(job: JobModel) -> JobUpdate:
    """A failed job waits for its next attempt, with all of `MAX_ATTEMPTS` before it; why it failed is in its history.

    Raises:
        InvalidTransitionError: The job did not fail.
    """
    if job.status is not JobStatus.FAILED:
        raise InvalidTransitionError(
            f"Job {job.job_id} is {job.status}: only a failed job can be sent again.",
            mend="Upload the recording again." if job.status is JobStatus.CANCELLED else None,
            job_status=job.status.value,
        )
    return JobUpdate(
        status=JobStatus.QUEUED,
        attempt=job.attempt + 1,
        failures=0,
        attempts=job.ended_attempts(job.run_id, job.error) if job.run_id else job.attempts,
        run_id=None,
        stage=None,
        error=None,
        queued_at=utc_now(),
        not_before=None,
        completed_at=None,
    )


def is_completed_by(job: JobModel, run_id: str) -> bool:
    """Tell whether a run completed the job."""
    return job.status is JobStatus.COMPLETED and job.run_id == run_id


def ensure_held(job: JobModel, *, run_id: str, attempt: int) -> None:
    """Refuse what a run says of a job that is not its own.

    Raises:
        SupersededError: The job is finished, cancelled, in another attempt, or another run's.
    """
    if job.status is not JobStatus.PROCESSING or job.run_id != run_id or job.attempt != attempt:
        raise SupersededError(
            f"Job {job.job_id} is {job.status} in attempt {job.attempt} of run {job.run_id}: "
            f"attempt {attempt} of run {run_id} has no say any more."
        )


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
