"""Dagster's code server, with a fork server for the processes of runs (`stt_dagster.runtime.fork_server`).

    python -m stt_dagster.code_server --module-name stt_dagster.definitions …     as `dagster api grpc` is called

Dagster itself starts each run as a fresh interpreter: most of what a short recording took. So does this one where the
path of TMPDIR leaves no room for that of a socket (107 characters; macOS: 103).
"""

from __future__ import annotations

import sys
from multiprocessing.context import BaseContext
from typing import Any

from dagster._cli import cli
from dagster._grpc import server
from dagster._serdes import ConfigurableClassData

from stt_core.logs import get_logger
from stt_dagster.runtime import is_tested
from stt_dagster.runtime.console import adopt_console
from stt_dagster.runtime.fork_server import start_fork_server
from stt_dagster.runtime.orphans import end_runs_with_code_server

logger = get_logger(__name__)

_DEFINITIONS = "stt_dagster.definitions"
#: What Dagster imports when the first instance of a process is opened: in each step of a run, 30 ms of CPU.
_INSTANCE = ["dagster._core.instance.factory", "dagster._core.secrets.loader", "upath.implementations.local"]


class ForkingServer(server.DagsterApiServer):
    """Dagster's own, but for where it starts processes."""

    _mp_ctx: BaseContext  # type: ignore[assignment]  # Dagster means SpawnContext

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        try:
            self._mp_ctx = start_fork_server([server.__name__, _DEFINITIONS, *_INSTANCE, *self._modules_of_instance()])
        except OSError as error:
            logger.warning("each run takes an interpreter of its own, seconds more: {}. Set a short TMPDIR.", error)

    def _modules_of_instance(self) -> set[str]:
        """Return the modules of the storage and all else that dagster.yaml names."""
        parts = self._instance.get_ref() if self._instance else ()
        return {part.module_name for part in parts if isinstance(part, ConfigurableClassData)}


def main() -> None:
    """Serve our definitions until told to end."""
    end_runs_with_code_server()
    if is_tested():
        server.DagsterApiServer = ForkingServer  # type: ignore[misc]
    adopt_console()
    cli(["api", "grpc", *sys.argv[1:]])
