"""`stt keys create`, `stt keys list`, `stt keys revoke`: who may use the API. On the server: they go to MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from stt_cli.console import note, out, write_result
from stt_cli.local_stack.stack import reached_settings
from stt_core.access.api_key import Scope
from stt_core.access.keys import DEFAULT_CONCURRENT, DEFAULT_RATE, ApiKeys
from stt_core.errors import InvalidInputError
from stt_core.logs import get_logger
from stt_core.settings import load_settings
from stt_core.stores.database import Database

logger = get_logger(__name__)

app = typer.Typer(help="API keys: making them, listing and revoking them.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for people.")],
    scopes: Annotated[
        str,
        typer.Option(help="read (jobs, results), write (upload, cancel, delete), admin (everybody's jobs, metrics)."),
    ] = "read,write",
    rate: Annotated[int, typer.Option(min=1, help="Requests a minute.")] = DEFAULT_RATE,
    concurrent: Annotated[int, typer.Option(min=1, help="Uploads under way at once.")] = DEFAULT_CONCURRENT,
) -> None:
    """Make a key and write it to standard output, once: it cannot be shown again."""
    with _keys() as keys:
        new = keys.create(name, _scopes(scopes), rate=rate, concurrent=concurrent)
        write_result(f"{new.token.get_secret_value()}\n")
        note(f"Key {new.key.key_id} of {name}. This is the only time it is shown; STT_API_KEY hands it to `stt`.")


@app.command("list")
def list_() -> None:
    """List the keys, the revoked ones too."""
    headers = ("ID", "NAME", "SCOPES", "REQUESTS A MINUTE", "UPLOADS AT ONCE", "MADE", "REVOKED")
    table = Table(*headers, box=None, header_style="bold")
    with _keys() as keys:
        for key in keys.list_keys():
            dates = [f"{date:%Y-%m-%d}" if date else "" for date in (key.created_at, key.revoked_at)]
            table.add_row(key.key_id, Text(key.name), ",".join(key.scopes), str(key.rate), str(key.concurrent), *dates)
    out.print(table)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="Id of the key (`stt keys list`).")]) -> None:
    """End a key for good, within seconds. Its jobs stay."""
    with _keys() as keys:
        key = keys.revoke(key_id)
        note(f"Key {key.key_id} of {key.name} is revoked.")


@contextmanager
def _keys() -> Iterator[ApiKeys]:
    with closing(Database(reached_settings(load_settings()))) as database:
        yield ApiKeys(database)


def _scopes(text: str) -> list[Scope]:
    try:
        return [Scope(scope.strip()) for scope in text.split(",")]
    except ValueError as error:
        raise InvalidInputError(
            f"{text!r} are no scopes.", mend=f"Give some of {', '.join(Scope)}, with commas between."
        ) from error
