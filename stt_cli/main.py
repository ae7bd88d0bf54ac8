"""`stt`: the commands, and what all of them share: how errors look, and how much is logged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from stt_cli import backfill, demo, doctor, keys, logs, models, stack, tasks
from stt_cli.console import show_error, write_result
from stt_cli.transcribe import transcribe
from stt_core.errors import InvalidInputError, SttError
from stt_core.logs import get_logger, setup_logging

logger = get_logger(__name__)


class _Commands(TyperGroup):
    """Shows an error as two lines, what is wrong and how to mend it, and ends with exit status 1, of usage with 2."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read what stands before the command."""
        with _errors_shown():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _errors_shown():
            return super().invoke(ctx)


@contextmanager
def _errors_shown() -> Iterator[None]:
    try:
        yield
    except SttError as error:
        logger.debug("the command ended with {!r}", error)
        show_error(error)
        raise SystemExit(1) from error
    except typer.TyperException as error:
        logger.debug("the command cannot be called so: {!r}", error)
        if not error.format_message():  # where its help is the answer, which stands there by now
            raise
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "stt"
        show_error(InvalidInputError(error.format_message(), mend=f"`{command} --help` shows what there is."))
        raise SystemExit(error.exit_code) from error


app = typer.Typer(name="stt", cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        write_result(f"stt {version('stt-dagster')}\n")
        raise typer.Exit


@app.callback()
def main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every call to standard error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Speech to text on your own machine: whisper.cpp, orchestrated by Dagster, behind a REST API."""
    # What goes wrong is told by the command itself: by `_Commands`, or as Python tells it.
    setup_logging("DEBUG" if verbose else "CRITICAL")


app.command()(stack.up)
app.command()(stack.down)
app.command()(stack.ps)
app.command()(logs.logs)
app.command()(transcribe)
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
