"""`stt backfill`: transcribe what lies in a bucket, and choose which of several transcripts is the current one."""

from __future__ import annotations

from contextlib import closing
from enum import StrEnum
from typing import Annotated

import typer
from typer.core import TyperGroup

from stt_cli.client import ApiClient, ApiUrl, open_api
from stt_cli.console import note, write_result
from stt_cli.dagster import DagsterClient
from stt_cli.watching import LaunchedBackfill, count_of, watch_backfill
from stt_core.backfill.objects import ObjectState
from stt_core.backfill.views import ObjectView
from stt_core.errors import InvalidInputError, ModelNotFoundError, PermanentError
from stt_core.logs import get_logger
from stt_core.settings import load_settings

logger = get_logger(__name__)


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


class PromotionFailedError(PermanentError):
    """Some of the objects that have a transcript by the model did not get it."""

    kind = "promotion-failed"
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
    bucket, prefix = _split(where)
    which = _only_one(missing, failed, all_)
    settings = load_settings()
    with open_api(api_url) as api, closing(DagsterClient(settings.dagster_url, settings.dagster_login)) as dagster:
        if model is not None and model not in (there := api.models()):
            raise ModelNotFoundError(
                f"The model {model} is not there.",
                mend=f"There are {', '.join(sorted(there))}; `stt models download NAME` fetches one.",
            )
        selected = _select(api, bucket, prefix, which, model)
        if not selected:
            return
        under_way = dagster.under_way(model)
        chosen = {one.partition: one for one in selected if one.partition not in under_way}
        if len(chosen) < len(selected):
            note(f"{len(selected) - len(chosen)} of them are in a backfill under way already.")
        if not chosen:
            return
        title = f"{where}, {which}" + (f", {model}" if model else "")
        backfill_id = dagster.launch(list(chosen), title=title, model=model)
        url = dagster.backfill_url(backfill_id)
        write_result(f"{backfill_id}\n")
        try:
            note(f"Backfill of {count_of(len(chosen))} launched: {url}")
            if watch:
                launched = LaunchedBackfill(backfill_id, url, bucket, prefix, model, chosen)
                watch_backfill(launched, dagster, api)
        except KeyboardInterrupt:
            logger.info("watching {} was interrupted", backfill_id)
            note(f"The backfill goes on: {url}")
            raise


@app.command()
def promote(
    where: Where,
    model: Annotated[str, typer.Option(help="Whose transcripts become the current ones.")],
    api_url: ApiUrl = None,
) -> None:
    """Make the transcripts of a model the current ones, of the objects that have one by it."""
    bucket, prefix = _split(where)
    with open_api(api_url) as api:
        pages = list(api.promote(bucket=bucket, prefix=prefix, model=model))
    promoted, current, without = (
        sum(numbers) for numbers in zip(*((page.promoted, page.current, page.without) for page in pages), strict=True)
    )
    note(f"{count_of(promoted)} promoted to {model}; {current} had it before, {without} have no transcript by it.")
    failed = [one for page in pages for one in page.failed]
    for one in failed:
        note(f"  {one.key}: {one.error.message}" + (f" {one.error.mend}" if one.error.mend else ""))
    if failed:
        raise PromotionFailedError(
            f"{count_of(len(failed))} could not be promoted.",
            mend="Put right what stands there, and promote again: what is promoted already stays so.",
        )


def _split(where: str) -> tuple[str, str]:
    bucket, _, prefix = where.removeprefix("s3://").partition("/")
    return bucket, prefix


def _only_one(missing: bool, failed: bool, all_: bool) -> Which:
    if missing + failed + all_ > 1:
        raise InvalidInputError("--missing, --failed and --all exclude each other.", mend="Give one of them.")
    return Which.FAILED if failed else Which.ALL if all_ else Which.MISSING


def _select(api: ApiClient, bucket: str, prefix: str, which: Which, model: str | None) -> list[ObjectView]:
    """Return the objects to transcribe; where there are none, say why."""
    known = 0
    selected: list[ObjectView] = []
    for seen in api.objects(bucket=bucket, prefix=prefix):
        known += 1
        if (seen.state_with(model) if model else seen.state) in _STATES[which]:
            selected.append(seen)
    if not known:
        raise InvalidInputError(
            f"No object of {bucket} is known whose key begins with {prefix!r}."
            if prefix
            else f"No object of {bucket} is known.",
            mend="discovery_sensor looks for them: the Dagster UI, Automation, shows when and what it found.",
        )
    if not selected:
        note(f"Nothing to do: of {count_of(known)} none is {' or '.join(_STATES[which])}.")
    return selected
