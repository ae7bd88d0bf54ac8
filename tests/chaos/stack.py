"""The stack under test: `stt up --detach` in a folder of its own, with settings that make the long waits short."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psutil

from stt_cli.local_stack.home import StackHome
from stt_cli.local_stack.processes import MARK
from stt_core.services import Services
from tests.system.conftest import Stack, running_stack

#: What a user leaves at minutes is seconds here, so that a round fits into one; nothing else differs from `stt up`.
SHORT_WAITS = {
    "START_TIMEOUT_SECONDS": "25",
    "RECONCILE_SECONDS": "3",
    "RUN_SILENCE_SECONDS": "10",
    "QUEUE_LEASE_SECONDS": "10",
    "MONGODB_TIMEOUT_SECONDS": "2",
    "REDIS_TIMEOUT_SECONDS": "2",
    # By their size, recordings of more than about ten seconds fan out over step processes, the others do not.
    "IN_PROCESS_MAX_SECONDS": "8",
    "MAX_CONCURRENT_STEPS": "2",
}
_UNFINISHED_RUNS = (
    "{ runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, MANAGED, STARTING, STARTED, CANCELING]}) "
    "{ ... on Runs { results { runId status } } } }"
)
_STARTED_RUNS = (
    "{ runsOrError(filter: {statuses: [STARTED]}) "
    "{ ... on Runs { results { eventConnection(limit: 20) { events { ... on MessageEvent { message } } } } } } }"
)


@dataclass(frozen=True)
class ChaosStack(Stack):
    """A running system, seen from outside and, through its own settings, from inside."""

    @cached_property
    def services(self) -> Services:
        """The core, connected to the stack's servers."""
        return Services.open(self.settings())

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """What the supervisor tells of each part: pid, readiness, restarts."""
        home = StackHome(self.home)
        parts: dict[str, dict[str, Any]] = home.read(home.state_file).get("parts", {})
        return parts

    def marked_processes(self) -> dict[int, str]:
        """Return the command line of every process that carries the stack's mark, whoever its parent is by now."""
        return {
            process.pid: " ".join(process.info["cmdline"] or [])
            for process in psutil.process_iter(["environ", "cmdline", "status"])  # None where it is gone, or not ours
            if process.info["status"] != psutil.STATUS_ZOMBIE
            and (process.info["environ"] or {}).get(MARK) == str(self.home)
        }

    def unfinished_runs(self) -> list[str]:
        """Return the runs that Dagster does not know to be over."""
        return [f"run {run['runId']} is {run['status']}" for run in self._ask_for_runs(_UNFINISHED_RUNS)]

    def run_workers(self) -> set[int]:
        """Return the processes that execute runs, as Dagster was told of them."""
        runs = self._ask_for_runs(_STARTED_RUNS)
        messages = [event.get("message", "") for run in runs for event in run["eventConnection"]["events"]]
        return {int(pid) for pid in re.findall(r"Started process for run \(pid: (\d+)\)", " ".join(messages))}

    def _ask_for_runs(self, query: str) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.dagster_url}/graphql", json={"query": query}, timeout=10).json()
        runs: list[dict[str, Any]] = answer["data"]["runsOrError"]["results"]
        return runs

    @property
    def dagster_url(self) -> str:
        """Address of the Dagster UI."""
        return f"http://127.0.0.1:{self.environment['STT_DAGSTER_PORT']}"


@contextmanager
def running_chaos_stack(folder: Path) -> Iterator[ChaosStack]:
    """Run a stack in an empty folder while the block runs.

    Raises:
        AssertionError: It does not start, or leaves processes behind when it stops.
    """
    with running_stack(folder, **SHORT_WAITS) as running:
        stack = ChaosStack(running.environment, running.home, running.temporary, running.client)
        try:
            yield stack
        finally:
            if "services" in vars(stack):
                stack.services.close()
    alive = stack.marked_processes()
    assert not alive, f"still there after `stt down`: {alive}"
