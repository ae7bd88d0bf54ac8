"""`stt backfill`: transcribe what lies in a bucket, and choose which of several transcripts is the current one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from typer.core import TyperGroup

from stt_cli.client import ApiClient
from stt_cli.console import err, note, write_result
from stt_cli.dagster import BackfillState, DagsterClient, DagsterUnreachableError
from stt_cli.tasks import ApiUrl
from stt_core.backfill.objects import ObjectState
from stt_core.backfill.views import ObjectView
from stt_core.errors import InvalidInputError, ModelNotFoundError, PermanentError
from stt_core.logs import get_logger, logged
from stt_core.settings import Settings, load_settings

logger = get_logger(__name__)

#: How often a backfill is looked at, seconds: Dagster's daemon itself looks at it every few seconds.
_INTERVAL = 2.0
#: How long a Dagster that went away (a restart) is waited for, seconds.
_PATIENCE = 60.0
#: Objects that failed, of which the end of a backfill tells why.
_TOLD = 5


class Which(StrEnum):
    """Which of the objects are transcribed."""

    MISSING = "missing"
    FAILED = "failed"
    ALL = "all"


#: The states of the objects that are taken. Those that are being transcribed are in none.
_STATES = {
    Which.MISSING: (ObjectState.MISSING, ObjectState.STALE),
    Which.FAILED: (ObjectState.FAILED,),
    Which.ALL: tuple(state for state in ObjectState if state is not ObjectState.RUNNING),
}

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


class _RunByDefault(TyperGroup):
    """Takes `stt backfill BUCKET` for `stt backfill run BUCKET`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Put the command's name before what has none."""
        named = not args or args[0] in self.commands or args[0] == "--help"
        return super().parse_args(ctx, args if named else ["run", *args])


app = typer.Typer(
    cls=_RunByDefault,
    help="Transcribe what lies in a bucket: `stt backfill BUCKET`, or `BUCKET/PREFIX`.",
    no_args_is_help=True,
)
Where = Annotated[
    str, typer.Argument(metavar="BUCKET[/PREFIX]", help="The objects: those of a bucket whose keys begin so.")
]


@app.command()
@logged
def run(
    where: Where,
    missing: Annotated[
        bool, typer.Option("--missing", help="Those never transcribed, or changed since (default).")
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Those that failed.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="All of them, transcribed or not.")] = False,
    model: Annotated[
        str | None, typer.Option(help="Another model than that of the source; states are as of it.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Wait for the end, with a progress bar.")] = False,
    api_url: ApiUrl = None,
) -> None:
    """Launch a backfill in Dagster, and write its id to standard output."""
    settings = load_settings()
    bucket, prefix = _split(where)
    which = _only_one(missing, failed, all_)
    with _api(api_url, settings) as api, closing(DagsterClient(settings.dagster_url)) as dagster:
        if model is not None and model not in (there := api.models()):
            raise ModelNotFoundError(
                f"The model {model} is not there.",
                mend=f"There are {', '.join(sorted(there))}; `stt models download NAME` fetches one.",
            )
        partitions = _select(api, bucket, prefix, which, model)
        if not partitions:
            return
        under_way = dagster.under_way(model)
        chosen = [partition for partition in partitions if partition not in under_way]
        if len(chosen) < len(partitions):
            note(f"{len(partitions) - len(chosen)} of them are in a backfill under way already.")
        if not chosen:
            return
        backfill_id = dagster.launch(chosen, title=f"{where}, {which}" + (f", {model}" if model else ""), model=model)
        url = dagster.backfill_url(backfill_id)
        write_result(f"{backfill_id}\n")
        try:
            note(f"Backfill of {_count(len(chosen))} launched: {url}")
            if watch:
                _ensure_done(_watch(dagster, backfill_id), api, bucket, prefix, url)
        except KeyboardInterrupt:
            logger.info("watching {} was interrupted", backfill_id)
            note(f"The backfill goes on: {url}")
            raise


@app.command()
@logged
def promote(
    where: Where,
    model: Annotated[str, typer.Option(help="Whose transcripts become the current ones.")],
    api_url: ApiUrl = None,
) -> None:
    """Make the transcripts of a model the current ones, of the objects that have one by it."""
    bucket, prefix = _split(where)
    promoted = current = without = 0
    cursor: str | None = ""
    with _api(api_url, load_settings()) as api:
        while cursor is not None:
            page = api.promote(bucket=bucket, prefix=prefix, model=model, cursor=cursor)
            promoted, current, without = promoted + page.promoted, current + page.current, without + page.without
            cursor = page.next_cursor
    note(f"{_count(promoted)} promoted to {model}; {current} had it before, {without} have no transcript by it.")


def _split(where: str) -> tuple[str, str]:
    bucket, _, prefix = where.removeprefix("s3://").partition("/")
    return bucket, prefix


def _only_one(missing: bool, failed: bool, all_: bool) -> Which:
    if missing + failed + all_ > 1:
        raise InvalidInputError("--missing, --failed and --all exclude each other.", mend="Give one of them.")
    return Which.FAILED if failed else Which.ALL if all_ else Which.MISSING


def _api(api_url: str | None, settings: Settings) -> ApiClient:
    return ApiClient(api_url or settings.api_url, settings.stt_api_key)


def _select(api: ApiClient, bucket: str, prefix: str, which: Which, model: str | None) -> list[str]:
    """Return the partitions to run; where there are none, say why."""
    known, partitions = 0, []
    for seen in _objects(api, bucket, prefix):
        known += 1
        if (seen.state_with(model) if model else seen.state) in _STATES[which]:
            partitions.append(seen.partition)
    if not known:
        raise InvalidInputError(
            f"No object of {bucket} is known whose key begins with {prefix!r}."
            if prefix
            else f"No object of {bucket} is known.",
            mend="discovery_sensor looks for them: the Dagster UI, Automation, shows when and what it found.",
        )
    if not partitions:
        note(f"Nothing to do: of {_count(known)} none is {' or '.join(_STATES[which])}.")
    return partitions


def _objects(api: ApiClient, bucket: str, prefix: str, state: ObjectState | None = None) -> Iterator[ObjectView]:
    cursor: str | None = ""
    while cursor is not None:
        page = api.objects(bucket=bucket, prefix=prefix, state=state, cursor=cursor)
        yield from page.objects
        cursor = page.next_cursor


def _watch(dagster: DagsterClient, backfill_id: str) -> BackfillState:
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as progress:
        bar = progress.add_task("launched", total=None, facts="")
        last_answer = time.monotonic()
        while True:
            try:
                state = dagster.state(backfill_id)
                last_answer = time.monotonic()
                _show(state, progress, bar)
                if state.is_over:
                    return state
            except DagsterUnreachableError as error:
                if time.monotonic() - last_answer > _PATIENCE:
                    raise
                logger.debug("waiting for Dagster: {}", error)
                progress.update(bar, description="waiting", facts="for Dagster")
            time.sleep(_INTERVAL)


def _show(state: BackfillState, progress: Progress, bar: TaskID) -> None:
    facts = [f"{state.running} running"] if state.running else []
    facts += [f"{state.failed} failed"] if state.failed else []
    progress.update(
        bar,
        description=_word(state),
        completed=state.done + state.failed,
        total=state.targeted or None,
        facts=", ".join(facts),
    )


def _ensure_done(state: BackfillState, api: ApiClient, bucket: str, prefix: str, url: str) -> None:
    left = state.targeted - state.done
    note(f"{_count(state.done)} transcribed." + (f" {state.error}" if state.error else ""))
    if not left:
        return
    for failed in islice(_objects(api, bucket, prefix, ObjectState.FAILED), _TOLD):
        error = failed.versions[0].error if failed.versions else None
        note(f"  {failed.key}: {error.message if error else 'cancelled'}")
    if waiting := sum(1 for _ in _objects(api, bucket, prefix, ObjectState.RUNNING)):
        note(
            f"{_count(waiting)} there {'has' if waiting == 1 else 'have'} not ended: a next attempt follows by itself."
        )
    raise BackfillFailedError(
        f"{_count(left)} {'has' if left == 1 else 'have'} no new transcript; the backfill is over ({_word(state)}).",
        mend=f"{url} shows why; `stt backfill {bucket}/{prefix} --failed` tries those again that failed.",
    )


def _word(state: BackfillState) -> str:
    return _WORDS.get(state.status, state.status.lower())


def _count(objects: int) -> str:
    return "1 object" if objects == 1 else f"{objects} objects"
