"""`STT_HOME`: the one folder that holds everything the local stack keeps.

    secrets.json   generated passwords (0600)        ports.json    ports of the embedded servers
    redis/ s3/ mongo/ dagster/   data of each part   stack.json    what is running (see `stack`)
    stack.log(.1)  the log of every part             stack.lock    held by the supervisor while it lives

The folder is readable by its owner alone: the embedded MongoDB knows no password.
"""

from __future__ import annotations

import json
import random
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stt_core.errors import ConfigurationError
from stt_core.logs import get_logger, unlogged

logger = get_logger(__name__)

#: Below the range from which kernels take the ports of outgoing connections (Linux 32768, macOS 49152), so that
#: nothing but another server can take one between the moment it is chosen and the moment it is bound.
_PORTS = range(20_000, 32_000)


@dataclass(frozen=True)
class StackHome:
    """The folder of one local stack; two stacks side by side have two."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> StackHome:
        """Return the home at `path`, created when it is not there.

        Raises:
            ConfigurationError: The folder cannot be made.
        """
        resolved = path.expanduser().resolve()
        try:
            resolved.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"STT_HOME: {resolved} cannot be made ({error.strerror}).", mend="Point STT_HOME at a writable folder."
            ) from error
        return cls(resolved)

    @property
    def state_file(self) -> Path:
        """What runs here, for `stt ps`: parts, ports, addresses."""
        return self.path / "stack.json"

    @property
    def processes_file(self) -> Path:
        """The processes started here, to end those that a killed supervisor left behind."""
        return self.path / "processes.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the supervisor while it lives."""
        return self.path / "stack.lock"

    @property
    def log_file(self) -> Path:
        """Where the lines of all parts are written."""
        return self.path / "stack.log"

    @property
    def dagster(self) -> Path:
        """`DAGSTER_HOME`."""
        return self.folder("dagster")

    def folder(self, name: str) -> Path:
        """Return the data folder of a part, created when it is not there."""
        folder = self.path / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def secret(self, name: str) -> str:
        """Return a generated secret that stays the same for the life of this home: 32 hexadecimal digits."""
        return str(self._remember("secrets.json", name, lambda known: known or secrets.token_hex(16)))

    def port(self, name: str) -> int:
        """Return a free port of 127.0.0.1: the one used last under this name where it is free, else a new one."""
        return int(self._remember("ports.json", name, lambda known: known if known and is_free(known) else free_port()))

    # What is written and read are secrets, too.
    @unlogged
    def write(self, file: Path, content: Any) -> None:
        """Write JSON, whole or not at all, readable by the owner alone."""
        draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}.new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(content, indent=2), encoding="utf-8")
        draft.replace(file)

    @unlogged
    def read(self, file: Path) -> dict[str, Any]:
        """Read a JSON file of this home; a missing or damaged one is empty."""
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            logger.debug("{} is not there yet", file)
            return {}
        except ValueError as error:
            logger.warning("{} is damaged ({}), starting afresh", file, error)
            return {}
        return content if isinstance(content, dict) else {}

    @unlogged
    def _remember(self, file_name: str, name: str, choose: Any) -> Any:
        file = self.path / file_name
        known = self.read(file)
        value = choose(known.get(name))
        if known.get(name) != value:
            self.write(file, known | {name: value})
        return value


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on this port now."""
    with socket.socket() as probe:
        # As servers do: connections of a former server that linger in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            logger.debug("port {} is taken: {}", port, error)
            return False
    return True


def free_port() -> int:
    """Return a port of 127.0.0.1 that no server listens on.

    Raises:
        ConfigurationError: A hundred tries found none.
    """
    for port in random.sample(_PORTS, 100):
        if is_free(port):
            return port
    raise ConfigurationError(
        f"No free port found between {_PORTS.start} and {_PORTS.stop} on 127.0.0.1.", mend="Stop some servers."
    )
