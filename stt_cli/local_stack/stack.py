"""The parts of the local stack, and `running_stack`, which runs them.

    servers     those of Redis, S3 and MongoDB whose address is not given
    services    api (uvicorn), code (Dagster's code server, whose children are the run workers)
    dagster     daemon (sensors, run queue) and webserver (the UI)

Everything learns where the servers are from the same settings, whether they are embedded or the user's own.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from stt_cli.local_stack.dagster_home import LOCATION, write_dagster_home
from stt_cli.local_stack.home import StackHome, is_free
from stt_cli.local_stack.processes import hold, running_state
from stt_cli.local_stack.servers import EmbeddedServer, given_variables, missing_servers, settings_of
from stt_cli.local_stack.supervisor import Part, Supervisor
from stt_core.logs import get_logger
from stt_core.settings import Settings

logger = get_logger(__name__)

_PROBE_SECONDS = 5.0
#: A location that failed to load must be told apart from one that is loading, and a daemon's first heartbeat awaited.
_DAGSTER_HEALTH = """{
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
  workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } }
}"""


@contextmanager
def running_stack(settings: Settings, *, write_line: Callable[[str, str], None]) -> Iterator[Supervisor]:
    """Run the whole stack while the context is open; it is ready when the context is entered, unless told to stop.

    Args:
        settings: Home, ports and limits.
        write_line: Takes the name of a part and a line of its output; called from several threads.

    Raises:
        AlreadyRunningError: A stack already runs in this home.
        PortTakenError: The port of the API or of the Dagster UI is taken.
        StartupError: A part did not become ready.
    """
    home = StackHome.at(settings.stt_home)
    facts = {"api_url": settings.api_url, "dagster_url": settings.dagster_url, "ready": False}
    with hold(home):  # the plan writes into the home
        layers = plan(home, settings, missing_servers(home, given_variables()))
        with Supervisor(home, layers, facts=facts, write_line=write_line) as supervisor:
            supervisor.start()
            yield supervisor


def reached_settings(settings: Settings) -> Settings:
    """Return settings that lead to the servers, the embedded ones of the stack that runs in this home among them."""
    home = StackHome.at(settings.stt_home)
    state = running_state(home)
    if state is None:
        return settings
    return Settings.model_validate(settings_of(missing_servers(home, given_variables(), state)))


def plan(home: StackHome, settings: Settings, servers: list[EmbeddedServer]) -> list[list[Part]]:
    """Return the layers of the stack, with ports chosen and Dagster's home written; only who holds the home may."""
    # Of our own processes: where the servers are, and what the supervisor decided.
    environment = {
        "STT_HOME": str(home.path),
        "STT_API_PORT": str(settings.stt_api_port),
        "STT_DAGSTER_PORT": str(settings.stt_dagster_port),
        "DAGSTER_HOME": str(home.dagster),
        # Programs of this installation (stt-whisper-cli) are found without an activated environment.
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        **settings_of(servers),
    }
    host = settings.stt_api_host
    api_url = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{settings.stt_api_port}"
    dagster_url = f"http://127.0.0.1:{settings.stt_dagster_port}"
    code_port = home.port("code")
    workspace = write_dagster_home(home, code_server_port=code_port)
    dagster = [sys.executable, "-m"]
    return [
        [_server_part(server) for server in servers],
        [
            Part(
                name="api",
                command=[
                    *(sys.executable, "-m", "uvicorn", "api.main:app", "--http", "api.server:HTTP"),
                    *("--host", host),
                    *("--port", str(settings.stt_api_port)),
                    *("--log-level", "warning", "--no-access-log"),  # the application logs its requests itself
                    *("--timeout-graceful-shutdown", "3"),
                ],
                environment=environment,
                is_ready=lambda: _answers(f"{api_url}/ready"),  # and so does everything it depends on
                host=host,
                port=settings.stt_api_port,
                port_variable="STT_API_PORT",
            ),
            Part(
                name="code",
                command=[
                    *(*dagster, "stt_dagster.code_server"),
                    *("--module-name", "stt_dagster.definitions"),
                    *("--host", "127.0.0.1"),
                    *("--port", str(code_port)),
                    *("--location-name", LOCATION),
                    *("--max-workers", "16"),  # a sensor that waits on Redis holds one
                    *("--log-level", "warning"),
                ],
                environment=environment,
                is_ready=lambda: not is_free(code_port),  # it listens once the definitions are loaded
                port=code_port,
            ),
        ],
        [
            Part(
                name="daemon",
                command=[
                    *(*dagster, "stt_dagster.runtime.daemon"),
                    *("run", "--workspace", str(workspace), "--log-level", "warning"),
                ],
                environment=environment,
                is_ready=lambda: _dagster_is_ready(dagster_url, settings.dagster_login),
            ),
            Part(
                name="webserver",
                command=[
                    *(*dagster, "stt_dagster.web_server"),
                    *("--workspace", str(workspace)),
                    *("--host", "127.0.0.1"),
                    *("--port", str(settings.stt_dagster_port)),
                ],
                environment=environment,
                is_ready=lambda: _answers(f"{dagster_url}/server_info"),
                head=re.compile(r"\d{4}-\d\d-\d\d [\d:]+ [+-]\d{4} - \S+ - (?P<level>[A-Z]+) - "),
                port=settings.stt_dagster_port,
                port_variable="STT_DAGSTER_PORT",
            ),
        ],
    ]


def _dagster_is_ready(url: str, login: tuple[str, str] | None) -> bool:
    """Tell whether the code location is loaded and every daemon has sent its first heartbeat."""
    body = {"query": _DAGSTER_HEALTH}
    try:
        answer = httpx.post(f"{url}/graphql", json=body, auth=login, timeout=_PROBE_SECONDS, trust_env=False).json()
        daemons = answer["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
        entries = answer["data"]["workspaceOrError"]["locationEntries"]
        loaded = [(entry["locationOrLoadError"] or {}).get("__typename") for entry in entries]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        logger.debug("Dagster does not tell its health yet: {!r}", error)
        return False
    return all(one["healthy"] for one in daemons if one["required"]) and loaded == ["RepositoryLocation"]


def _server_part(server: EmbeddedServer) -> Part:
    return Part(
        name=server.name,
        command=server.command,
        environment=server.environment,
        is_ready=server.is_ready,
        port=server.port,
        prepare=server.prepare,
        noise=server.noise,
        head=server.head,
        quiet_end=True,
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=_PROBE_SECONDS, trust_env=False).is_success
    except httpx.HTTPError as error:
        logger.debug("{} is not ready: {}", url, error)
        return False
