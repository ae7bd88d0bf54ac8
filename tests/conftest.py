"""Fixtures that every room shares: real embedded servers and the settings that lead to them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stt_cli.local_stack.home import StackHome
from stt_cli.local_stack.processes import MARK, Guard, enlist, marked_environment
from stt_cli.local_stack.servers import EmbeddedServer, missing_servers
from stt_core.logs import setup_logging
from stt_core.settings import Settings

#: What takes longest is begun first, so that no worker is left with it at the end.
_LONGEST = ("core/engines/test_native", "system", "chaos", "cli", "dagster", "speech", "crash", "core/processing")

Waiter = Callable[[Callable[[], object], str, float], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        name = item.path.relative_to(Path(__file__).parent).as_posix()
        return next((n for n, start in enumerate(_LONGEST) if name.startswith(start)), len(_LONGEST))

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the developer's variables and `.env` away from the tests."""
    patch = pytest.MonkeyPatch()
    # MONGODB_URL stays: it names a real MongoDB for the repository's contract tests.
    for name in {MARK, *map(str.upper, Settings.model_fields)} - {"MONGODB_URL"}:
        patch.delenv(name, raising=False)
    patch.setitem(Settings.model_config, "env_file", None)
    patch.setenv("WHISPER_MODELS_DIR", str(tmp_path_factory.mktemp("models")))
    patch.setenv("CORES_DIR", str(tmp_path_factory.mktemp("cores")))  # workers do not wait for each other
    yield
    patch.undo()
    setup_logging(sink=sys.__stderr__)  # pytest closes what it captures before the process ends


def wait_until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Wait for a condition; fail with `what` when it does not come in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)


@pytest.fixture(scope="session", name="wait_until")
def _wait_until() -> Callable[..., None]:
    """Hand `wait_until(condition, what, seconds=20)` to a test."""
    return wait_until


def start_server(server: EmbeddedServer) -> subprocess.Popen[bytes]:
    """Start one embedded server; ready when this returns."""
    server.prepare()
    log = (server.home.path / f"{server.name}.log").open("ab")
    process = subprocess.Popen(
        server.command,
        env=marked_environment(server.home, server.environment),
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    enlist(server.home, server.name, process.pid)
    wait_until(server.is_ready, f"{server.name} ready ({log.name})")
    return process


@pytest.fixture(scope="session")
def embedded_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run an embedded Redis, S3 and MongoDB for this pytest worker; gives the variables that lead to them."""
    home = StackHome.at(tmp_path_factory.mktemp("stack"))
    servers = missing_servers(home, {})
    with Guard(home):  # also ends them when pytest is killed
        processes = [start_server(server) for server in servers]
        yield {name: value for server in servers for name, value in server.settings_environment().items()}
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=10)


@pytest.fixture(scope="session")
def server_settings(embedded_servers: dict[str, str]) -> Settings:
    """Settings that lead to this worker's servers: one database, queue and bucket for the whole session."""
    return Settings.model_validate(embedded_servers)


@pytest.fixture
def settings(embedded_servers: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """Settings of one test: this worker's servers, with a database, a queue and a bucket that are the test's own."""
    own = f"t{os.urandom(6).hex()}"
    return Settings.model_validate(
        embedded_servers
        | {"MONGODB_DATABASE": own, "QUEUE_NAME": own, "MINIO_BUCKET": own, "STT_HOME": str(tmp_path / "home")}
    )
