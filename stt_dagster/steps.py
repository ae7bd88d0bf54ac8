"""What every op does around its one core function: claim the job, log to the run, tell what may be retried.

A transient error is raised as it is, and the op's retry policy tries again with exponential backoff and jitter; when
its tries are used up the error is kept with the job, and the failure sensor decides on the next attempt. A permanent
error ends the job at once, and nothing tries again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import Backoff, Failure, Jitter, MetadataValue, OpExecutionContext, RetryPolicy

from stt_core.errors import EngineStoppedError, SttError, SupersededError
from stt_core.jobs.claims import Claim, describe_error, ensure_claim
from stt_core.jobs.models import JobError, JobStage
from stt_core.logs import get_logger, log_context, log_exception, logged
from stt_core.services import Services
from stt_core.settings import get_settings
from stt_dagster.logs import run_event_log
from stt_dagster.tags import ATTEMPT, run_tags

logger = get_logger(__name__)

RETRY_POLICY = RetryPolicy(
    max_retries=get_settings().step_retries,
    delay=get_settings().retry_backoff_seconds,
    backoff=Backoff.EXPONENTIAL,
    jitter=Jitter.PLUS_MINUS,
)


@logged
def is_last_try(context: OpExecutionContext) -> bool:
    """Return whether the step's retries are used up."""
    return context.retry_number >= RETRY_POLICY.max_retries


@contextmanager
def job_step(
    context: OpExecutionContext, services: Services, stage: JobStage, job_id: str, attempt: int | None = None
) -> Iterator[Claim]:
    """Run the block as a step of the job: claimed, in `stage`, its errors sorted (see the module's text).

    Raises:
        Failure: The step cannot succeed when tried again.
        TransientError: It may.
    """
    claim: Claim | None = None
    with run_event_log(), log_context(job_id=job_id, run_id=context.run_id):
        try:
            claim = ensure_claim(
                services.jobs,
                job_id,
                context.run_id,
                attempt=attempt,
                is_reexecution=context.run.parent_run_id is not None,
            )
            job = claim.enter_stage(stage)
            if context.run.tags.get(ATTEMPT) != str(job.attempt):  # launched by hand, or re-executed: with old tags
                context.instance.add_run_tags(context.run_id, run_tags(job))
            with services.heartbeats.beating(job_id):
                yield claim
        except (SupersededError, EngineStoppedError) as error:
            logger.warning("the run gives up: {}", error)
            raise Failure(str(error), allow_retries=False) from error
        except Exception as error:
            log_exception(logger, f"step {context.op.name}", error)
            problem = describe_error(error, stage)
            if problem.transient and not is_last_try(context):
                logger.warning(
                    "try {} of {} failed, trying again", context.retry_number + 1, RETRY_POLICY.max_retries + 1
                )
                raise
            if claim is not None:
                _keep(claim, problem)
            raise Failure(
                problem.message,
                metadata={
                    "kind": problem.kind,
                    "transient": problem.transient,
                    "mend": MetadataValue.text(problem.mend or ""),
                },
                allow_retries=False,
            ) from error


def _keep(claim: Claim, problem: JobError) -> None:
    try:
        claim.fail(problem)
    except SttError as error:
        # The failure sensor sees the run fail and asks the truth again when it is back.
        logger.error("the job could not be told: {}", error)
