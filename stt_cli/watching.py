"""Watching a backfill to its end, which is that of its objects: a run that failed may be followed by another.

Dagster ends a backfill when no run of it is under way. What became of the objects that it counts as failed is asked of
the API from then on, until no job of theirs is at work or waits for its next attempt.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from rich.progress import MofNCompleteColumn, Progress, TaskID

from stt_cli.client import ApiClient, ApiUnreachableError
from stt_cli.console import add_bar, note, progress_bars
from stt_cli.dagster import BackfillState, DagsterClient, DagsterUnreachableError
from stt_core.backfill.views import ObjectView
from stt_core.errors import PermanentError
from stt_core.jobs.job import JobStatus
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: How often a backfill is looked at, seconds: Dagster's daemon itself looks at it every few seconds.
_INTERVAL = 2.0
#: How long a Dagster or an API that went away (a restart) is waited for, seconds.
_PATIENCE = 60.0
#: How long it may take until what a run left undone is noticed, seconds: by default sensors look for it every 15.
_NOTICE_SECONDS = 60.0
#: Objects without a transcript, of which the end of a backfill tells why.
_TOLD = 5

#: What Dagster's states of a backfill are called.
_WORDS = {
    "REQUESTED": "running",
    "CANCELING": "cancelling",
    "CANCELED": "cancelled",
    "FAILING": "failing",
    "COMPLETED": "done",
    "COMPLETED_SUCCESS": "done",
    "COMPLETED_FAILED": "failed",
}


class BackfillFailedError(PermanentError):
    """Some of the objects of a backfill have no transcript."""

    kind = "backfill-failed"
    expected = True


@dataclass(frozen=True)
class LaunchedBackfill:
    """A backfill, and its objects as they were before it, by partition."""

    backfill_id: str
    url: str
    bucket: str
    prefix: str
    model: str | None
    before: Mapping[str, ObjectView]


class _Fate(StrEnum):
    """Whether an object that has no new transcript will have one."""

    AT_WORK = "at work"
    #: Its run left it without a job, or its transcript at the job; a sensor sees to that, if anybody can.
    UNNOTICED = "unnoticed"
    FAILED = "failed"


@dataclass(frozen=True)
class _Left:
    """An object without a new transcript."""

    key: str
    fate: _Fate
    reason: str


def watch_backfill(backfill: LaunchedBackfill, dagster: DagsterClient, api: ApiClient) -> None:
    """Show how a backfill comes on until nothing more is to come of it, and say what became of its objects.

    Raises:
        BackfillFailedError: Some have no new transcript.
        DagsterUnreachableError: Dagster was away for more than a minute.
        ApiUnreachableError: The API was.
    """
    state, left = _await_end(backfill, dagster, api)
    note(f"{count_of(len(backfill.before) - len(left))} transcribed." + (f" {state.error}" if state.error else ""))
    if not left:
        return
    for one in left[:_TOLD]:
        note(f"  {one.key}: {one.reason}")
    raise BackfillFailedError(
        f"{count_of(len(left))} {'has' if len(left) == 1 else 'have'} no new transcript; "
        f"the backfill is over ({_word(state)}).",
        mend=f"{backfill.url} shows why; "
        f"`stt backfill {backfill.bucket}/{backfill.prefix} --failed` tries those again that failed.",
    )


def count_of(objects: int) -> str:
    """Return a number of objects in words."""
    return "1 object" if objects == 1 else f"{objects} objects"


def _await_end(backfill: LaunchedBackfill, dagster: DagsterClient, api: ApiClient) -> tuple[BackfillState, list[_Left]]:
    targeted = len(backfill.before)
    with progress_bars(MofNCompleteColumn()) as progress:
        bar = add_bar(progress, "launched", total=targeted)
        last_answer = last_at_work = time.monotonic()
        while True:
            try:
                state = dagster.state(backfill.backfill_id)
                left = _find_left(backfill, api) if state.is_over and state.done < targeted else []
                last_answer = time.monotonic()
                fates = Counter(one.fate for one in left)
                _show(state, fates, targeted, progress, bar)
                if not state.is_over or fates[_Fate.AT_WORK]:
                    last_at_work = last_answer
                elif not (state.failed and fates[_Fate.UNNOTICED]) or last_answer - last_at_work > _NOTICE_SECONDS:
                    return state, left
            except (DagsterUnreachableError, ApiUnreachableError) as error:
                if time.monotonic() - last_answer > _PATIENCE:
                    raise
                logger.debug("waiting for an answer: {}", error)
                missing = "Dagster" if isinstance(error, DagsterUnreachableError) else "the API"
                progress.update(bar, description="waiting", facts=f"for {missing}")
            time.sleep(_INTERVAL)


def _find_left(backfill: LaunchedBackfill, api: ApiClient) -> list[_Left]:
    """Return the objects that have no new transcript, in the order of their keys."""
    seen = {one.partition: one for one in api.objects(bucket=backfill.bucket, prefix=backfill.prefix)}
    found = (_why_left(before, seen.get(name), backfill.model) for name, before in backfill.before.items())
    return [one for one in found if one is not None]


def _why_left(before: ObjectView, now: ObjectView | None, model: str | None) -> _Left | None:
    """Return why an object has no new transcript; None where it has one."""
    if now is None:
        return _Left(before.key, _Fate.FAILED, "It is not in its bucket any more.")
    known = [(version.job_id, version.status, version.error) for version in before.versions]
    of_model = [version for version in now.versions if model in (None, version.model)]
    news = [version for version in of_model if (version.job_id, version.status, version.error) not in known]
    if any(version.passed_on for version in news):
        return None
    if any(not version.status.is_final for version in news):
        return _Left(now.key, _Fate.AT_WORK, "It is at work.")
    if not news:
        return _Left(now.key, _Fate.UNNOTICED, "No run got as far as a job for it.")
    if news[0].status is JobStatus.COMPLETED:
        return _Left(now.key, _Fate.UNNOTICED, "Its transcript is not in the output: `backfill_sensor` logs why.")
    return _Left(now.key, _Fate.FAILED, news[0].error.message if news[0].error else "cancelled")


def _show(state: BackfillState, fates: Counter[_Fate], targeted: int, progress: Progress, bar: TaskID) -> None:
    """Show where it stands: by Dagster's account while that is at it, then by the objects'."""
    done, failed, under_way, word = state.done, state.failed, state.running, _word(state)
    if state.is_over:
        under_way = fates[_Fate.AT_WORK]
        failed = fates.total() - under_way
        done = targeted - fates.total()
        word = "retrying" if under_way else word if failed else "done"
    facts = [f"{under_way} under way"] if under_way else []
    facts += [f"{failed} failed"] if failed else []
    progress.update(bar, description=word, completed=done + failed, facts=", ".join(facts))


def _word(state: BackfillState) -> str:
    return _WORDS.get(state.status, state.status.lower())
