"""A server is away in the middle of a run: it hangs, or it is killed and comes back. The job does not notice."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import imageio_ffmpeg
import pytest

from stt_cli.local_stack.home import StackHome
from stt_cli.local_stack.processes import Guard
from stt_cli.local_stack.servers import SERVERS, EmbeddedServer
from stt_core.errors import TransientError
from stt_core.jobs.job import JobModel
from stt_core.logs import get_logger
from stt_core.services import Services
from tests.conftest import start_server
from tests.system.conftest import DATA, FINAL, Stack, running_stack

logger = get_logger(__name__)

Waiter = Callable[..., None]

#: How long a server is away, seconds. OUTAGE_SECONDS=60 is for hands: the mechanisms are the same.
AWAY_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "6"))

pytestmark = pytest.mark.timeout(300 + 2 * AWAY_SECONDS)


@dataclass
class Rig:
    """A stack on servers that a test takes away, and the core beside it to look at the truth."""

    stack: Stack
    services: Services
    servers: dict[str, EmbeddedServer]
    processes: dict[str, subprocess.Popen[bytes]]

    @contextmanager
    def hanging(self, name: str) -> Iterator[None]:
        """Let a server accept and never answer while the block runs."""
        self.processes[name].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.processes[name].send_signal(signal.SIGCONT)

    @contextmanager
    def killed(self, name: str) -> Iterator[None]:
        """Kill a server, and start it again after the block on the same port and data."""
        self.processes[name].kill()
        self.processes[name].wait(timeout=10)
        try:
            yield
        finally:
            self.processes[name] = start_server(self.servers[name])

    def job(self, job_id: str) -> JobModel:
        return self.services.jobs.get_job(job_id)

    def parts(self) -> dict[str, tuple[int, int]]:
        """Pid and restarts of each part of the stack."""
        home = StackHome(self.stack.home)
        return {name: (part["pid"], part["restarts"]) for name, part in home.read(home.state_file)["parts"].items()}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    home = StackHome.at(tmp_path_factory.mktemp("servers"))
    servers = {kind.name: kind(home) for kind in SERVERS}
    with Guard(home):
        processes = {name: start_server(server) for name, server in servers.items()}
        addresses = {key: value for server in servers.values() for key, value in server.settings_environment().items()}
        # Each step in a process of its own, as for long recordings.
        with running_stack(tmp_path_factory.mktemp("outages"), IN_PROCESS_MAX_SECONDS="0", **addresses) as stack:
            services = Services.open(stack.settings())
            yield Rig(stack, services, servers, processes)
            services.close()
        for process in processes.values():
            process.kill()
            process.wait(timeout=10)


def recording(gain_db: float) -> bytes:
    """Return a recording that no other test has: what is transcribed already would not be transcribed again."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(DATA / "sample-01.mp3")]
    command += ["-af", f"volume={gain_db}dB", "-f", "flac", "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


#: What a server's absence keeps the API from doing, and what it goes on doing: the status of each answer.
ANSWERS = {
    "redis": {"status": 200, "result": 200, "upload": 503},
    "mongo": {"status": 503, "result": 503, "upload": 503},
    "s3": {"status": 200, "result": 503, "upload": 503},
}
MISSING = {"redis": "redis", "mongo": "mongodb", "s3": "object_store"}


def assert_serves_what_it_can(client: httpx.Client, server: str, running: str, finished: str) -> None:
    asked: dict[str, Callable[[], httpx.Response]] = {
        "status": partial(client.get, f"/api/v1/tasks/{running}"),
        "result": partial(client.get, f"/api/v1/tasks/{finished}/result"),
        "upload": partial(client.post, "/api/v1/tasks/upload", files={"file": ("a.flac", recording(0))}),
    }
    for what, ask in asked.items():
        started = time.monotonic()
        answer = ask()
        assert (what, answer.status_code) == (what, ANSWERS[server][what]), answer.text
        assert time.monotonic() - started < 15
        if answer.status_code == 503:
            assert int(answer.headers["Retry-After"]) > 0
            assert "password" not in answer.text.lower() and "secret" not in answer.text.lower()
    assert client.get("/health", timeout=2).status_code == 200
    readiness = client.get("/ready", timeout=8)
    assert readiness.status_code == 503
    assert [name for name, one in readiness.json()["dependencies"].items() if not one["ok"]] == [MISSING[server]]


@pytest.fixture(scope="module")
def finished(rig: Rig, wait_until: Waiter) -> dict[str, Any]:
    """A job of an undisturbed run."""
    job_id = rig.stack.upload("undisturbed.flac", recording(0)).json()["job_id"]
    return rig.stack.wait(job_id, wait_until)


@pytest.mark.parametrize(
    ("number", "server", "how", "stage"),
    [
        (1, "redis", Rig.hanging, None),
        (2, "redis", Rig.killed, "preparing"),
        (3, "mongo", Rig.hanging, "transcribing"),
        (4, "mongo", Rig.killed, "preparing"),
        (5, "s3", Rig.hanging, "preparing"),
        (6, "s3", Rig.killed, "transcribing"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_server_when_away_in_the_middle_of_a_run_costs_time_and_nothing_else(
    rig: Rig,
    finished: dict[str, Any],
    wait_until: Waiter,
    number: int,
    server: str,
    how: Any,
    stage: str | None,
) -> None:
    parts = rig.parts()
    job_id = rig.stack.upload("talk.flac", recording(-number / 10)).json()["job_id"]
    wait_until(lambda: rig.job(job_id).stage == stage, f"stage {stage}", 120)  # it lasts until the next step's start
    with how(rig, server):
        back_at = time.monotonic() + AWAY_SECONDS
        assert_serves_what_it_can(rig.stack.client, server, job_id, finished["job_id"])
        wait_until(lambda: time.monotonic() > back_at, "the end of the outage", AWAY_SECONDS + 1)

    def is_over() -> bool:
        try:
            return rig.job(job_id).status in FINAL
        except TransientError:
            return False

    back_at = time.monotonic()
    wait_until(is_over, f"the end of job {job_id}", 180)
    job = rig.job(job_id)
    took = time.monotonic() - back_at
    logger.info(
        "{} {}, {}: completed {:.1f} s after its return in attempt {}", server, how.__name__, stage, took, job.attempt
    )
    assert (job.status, job.failures, job.error) == ("completed", 0, None)
    wait_until(lambda: rig.stack.client.get("/ready").status_code == 200, "the API ready again")
    result = rig.stack.client.get(f"/api/v1/tasks/{job_id}/result").raise_for_status().json()
    assert result["text"].split() == (DATA / "sample-01.txt").read_text().split()
    assert rig.parts() == parts  # nothing had to be restarted: the same processes take the next test's job
