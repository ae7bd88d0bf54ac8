"""`stt`: the commands, and what all of them share: how errors look, and how much is logged."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from stt_cli import backfill, demo, doctor, keys, logs, models, stack, tasks
from stt_cli.console import show_error
from stt_core.errors import SttError
from stt_core.logs import get_logger, setup_logging

logger = get_logger(__name__)


class _Commands(TyperGroup):
    """Shows a named error as two lines, what is wrong and how to mend it, and ends with exit status 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SttError as error:
            logger.debug("{} ended with {!r}", ctx.invoked_subcommand, error)
            show_error(error)
            raise SystemExit(1) from error


app = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


@app.callback()
def main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every call to standard error.")] = False,
) -> None:
    """Speech to text on your own machine: whisper.cpp, orchestrated by Dagster, behind a REST API."""
    # What goes wrong is told by the command itself: by `_Commands`, or as Python tells it.
    setup_logging("DEBUG" if verbose else "CRITICAL")


app.command()(stack.up)
app.command()(stack.down)
app.command()(stack.ps)
app.command()(logs.logs)
app.command()(tasks.transcribe)
app.command("list")(tasks.list_jobs)
app.command()(tasks.status)
app.command()(tasks.result)
app.command()(tasks.cancel)
app.command()(tasks.retry)
app.command()(tasks.delete)
app.add_typer(backfill.app, name="backfill")
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.command()(doctor.doctor)
app.command()(demo.demo)
