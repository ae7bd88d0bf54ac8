"""What every op does around its one core function: claim the job, watch the claim, tell what may be retried.

A transient error is raised as it is, and the op's retry policy tries again with exponential backoff and jitter; when
its tries are used up the error is kept with the job, and the failure sensor decides on the next attempt. A permanent
error ends the job at once, and nothing tries again.

A job that is cancelled, deleted or taken over interrupts its step wherever it is, decoding or waiting for a server as
much as transcribing, and its run ends as cancelled.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from tempfile import gettempdir

from dagster import DagsterExecutionInterruptedError, DagsterRunStatus, OpExecutionContext, RetryPolicy

from stt_core.disk import disk_errors
from stt_core.errors import (
    EngineStoppedError,
    InvalidInputError,
    JobNotFoundError,
    ObjectNotFoundError,
    PreparedAudioGoneError,
    RunInterruptedError,
    SttError,
    SupersededError,
)
from stt_core.jobs.claims import Claim, describe_error, ensure_claim
from stt_core.jobs.job import JOB_ID_PATTERN, JobError, JobModel, JobStage, JobStatus, Lane
from stt_core.jobs.recovery import backoff_seconds
from stt_core.logs import get_logger, is_told_without_trace, log_context, log_exception
from stt_core.processing.lanes import lower_priority
from stt_core.services import Services
from stt_core.settings import get_settings
from stt_dagster.failures import failure_of
from stt_dagster.logs import run_event_log
from stt_dagster.runtime.orphans import step_process
from stt_dagster.tags import ATTEMPT, JOB_ID, run_tags

logger = get_logger(__name__)

#: How often a step looks whether the job is still its own, seconds: what a cancelled job started is to end within 5 s.
_LOOK_SECONDS = 2.0


class _CappedRetryPolicy(RetryPolicy):
    """Waits as the next attempt of a job does; Dagster's own exponential backoff knows no longest wait."""

    def calculate_delay(self, attempt_num: int) -> float:
        return backoff_seconds(attempt_num, get_settings())


RETRY_POLICY = _CappedRetryPolicy(max_retries=get_settings().step_retries)


def is_last_try(context: OpExecutionContext) -> bool:
    """Return whether the step's retries are used up."""
    return context.retry_number >= RETRY_POLICY.max_retries


_HOW_TO_NAME = "Set job_id to the id that the upload was answered with: 32 hexadecimal digits."


@contextmanager
def job_step(
    context: OpExecutionContext,
    services: Services,
    stage: JobStage,
    job: str | Callable[[], tuple[str, int | None]],
    attempt: int | None = None,
) -> Iterator[Claim]:
    """Run the block as a step of the job: claimed, in `stage`, its errors sorted (see the module's text).

    Args:
        context: The step.
        services: The core.
        stage: What the job is doing in the block.
        job: The id of the job, or what finds the job and the attempt that the run was launched for.
        attempt: That attempt, where the job is given.

    Raises:
        Failure: The step cannot succeed when tried again.
        TransientError: It may.
    """
    job_id: str | None = None
    claim: Claim | None = None
    with step_process(), run_event_log(), ExitStack() as logging_context:
        logging_context.enter_context(log_context(run_id=context.run_id))
        try:
            if isinstance(job, str) and not re.fullmatch(JOB_ID_PATTERN, job):  # nor repeated: it may be a secret
                raise InvalidInputError("What the run was launched for is no job.", mend=_HOW_TO_NAME)
            job_id, attempt = (job, attempt) if isinstance(job, str) else job()
            logging_context.enter_context(log_context(job_id=job_id))
            claim = ensure_claim(
                services.jobs,
                job_id,
                context.run_id,
                attempt=attempt,
                is_reexecution=context.run.parent_run_id is not None,
            )
            model = claim.enter_stage(stage)
            if _is_tagged_otherwise(context, model):  # launched by hand, or re-executed: with old tags
                context.instance.add_run_tags(context.run_id, run_tags(model))
            if model.lane is Lane.BACKFILL:
                lower_priority()
            with _watched(claim), disk_errors(f"in {gettempdir()}", mend="Free space there."):
                yield claim
        except (SupersededError, EngineStoppedError, JobNotFoundError) as error:
            logger.warning("the run gives up: {}", error)
            if job_id is not None:
                _end_as_cancelled(context, services, job_id)
            raise failure_of(describe_error(error, stage)) from error
        except (DagsterExecutionInterruptedError, KeyboardInterrupt) as interrupt:
            # Dagster itself would try an interrupted step again.
            problem = describe_error(RunInterruptedError("The run was told to end in the middle of a step."), stage)
            logger.warning("interrupted: {}", problem.message)
            if claim is not None and not _end_as_cancelled(context, services, claim.job_id):
                _keep(claim, problem)
            raise failure_of(problem) from interrupt
        except Exception as error:
            log_exception(logger, f"step {context.op.name}", error)
            # A run that is re-executed from its failure has no step that would prepare again.
            is_lost = isinstance(error, ObjectNotFoundError) and stage is not JobStage.PREPARING
            is_lost = is_lost and context.run.parent_run_id is None
            if is_lost:
                error = PreparedAudioGoneError(str(error), mend="The next attempt prepares it again.")
            problem = describe_error(error, stage)
            if problem.transient and not is_lost and not is_last_try(context):
                logger.warning(
                    "try {} of {} failed, trying again", context.retry_number + 1, RETRY_POLICY.max_retries + 1
                )
                raise
            logger.opt(exception=error if is_told_without_trace(error) else None).error(
                "step {} failed: {}", context.op.name, error
            )
            if claim is not None:
                _keep(claim, problem)
            raise failure_of(problem) from error


def _is_tagged_otherwise(context: OpExecutionContext, job: JobModel) -> bool:
    tags = context.run.tags
    return (tags.get(JOB_ID), tags.get(ATTEMPT)) != (job.job_id, str(job.attempt))


@contextmanager
def _watched(claim: Claim) -> Iterator[None]:
    """Interrupt the block, which the main thread runs, when the job is not this run's any more."""
    done = threading.Event()
    worker = threading.main_thread().ident

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            try:
                if not claim.is_lost():
                    continue
            except SttError as error:
                log_exception(logger, "looking after the claim", error)
                continue
            if worker is not None and not done.is_set():
                signal.pthread_kill(worker, signal.SIGINT)
            return

    watcher = threading.Thread(target=watch, name=f"watch-{claim.job_id}", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _end_as_cancelled(context: OpExecutionContext, services: Services, job_id: str) -> bool:
    """Let the run end as cancelled where that was asked for, or another run has the job; return whether it will."""
    run = context.instance.get_run_by_id(context.run_id)
    if run is None or run.is_finished or run.status is DagsterRunStatus.CANCELING:
        return True
    try:
        job = services.jobs.get_job(job_id)
        has_it = job.run_id == context.run_id and job.status in (JobStatus.PROCESSING, JobStatus.FAILED)
        state = job.status.value
    except JobNotFoundError as gone:
        logger.warning("the run has no job any more: {}", gone)
        has_it, state = False, "deleted"
    except SttError as error:
        log_exception(logger, "asking why the run ends", error)
        return False
    if not has_it:
        context.instance.report_run_canceling(run, f"The job is {state}: there is nothing left for this run to do.")
    return not has_it


def _keep(claim: Claim, problem: JobError) -> None:
    try:
        claim.fail(problem)
    except SttError as error:
        # The run fails with the error in its events, where the failure sensor finds it.
        logger.error("the job could not be told: {}", error)
