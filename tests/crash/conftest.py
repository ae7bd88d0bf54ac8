"""A system whose processes die where a test says, and the hosts that start what died again.

Servers, engine, API and runs are real, and each of them is a process of its own; the test decides when the daemon's
sensors are asked, so that what it sees does not hang on the moment.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from stt_cli.local_stack.home import StackHome
from stt_core.engines.process import find_executable
from stt_core.failpoints import VARIABLE, Failpoint
from stt_core.jobs.job import JobModel
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.sources import BackfillSource
from tests.api.conftest import environment_of
from tests.conftest import wait_until
from tests.dagster.conftest import DATA, script

REPOSITORY = Path(__file__).parents[2]
#: The smallest recording whose speech fills three chunks of 5 s.
RECORDING = DATA / "sample-08.ogg"
#: One event log for all runs: the default, a database for each, takes longer to make than a run takes.
DAGSTER = """
run_storage: {{module: dagster._core.storage.runs, class: SqliteRunStorage, config: {{base_dir: {folder}}}}}
event_log_storage:
  module: dagster._core.storage.event_log
  class: ConsolidatedSqliteEventLogStorage
  config: {{base_dir: {folder}}}
schedule_storage:
  module: dagster._core.storage.schedules
  class: SqliteScheduleStorage
  config: {{base_dir: {folder}}}
telemetry: {{enabled: false}}
"""
KILLED = -signal.SIGKILL


@dataclass
class System:
    """The core beside the processes, and the orders that the test gives to their hosts."""

    services: Services
    instance: DagsterInstance
    zygote: subprocess.Popen[str]
    environment: dict[str, str]
    folder: Path

    def arm(self, point: Failpoint) -> None:
        """Let the next process that passes the failpoint die."""
        self.fuse.write_text(point)

    @property
    def fuse(self) -> Path:
        return Path(self.environment[VARIABLE])

    @property
    def temporary(self) -> Path:
        """Where the processes keep temporary files."""
        return Path(self.environment["TMPDIR"])

    @property
    def engine_calls(self) -> list[set[str]]:
        """The recordings of chunks that each call of the engine was given."""
        lines = (self.folder / "engine-calls").read_text().splitlines()
        return [{Path(word).name for word in line.split() if word.endswith(".wav")} for line in lines]

    def order(self, do: str, **details: object) -> int:
        """Have a process do something and return its exit code."""
        assert self.zygote.stdin and self.zygote.stdout
        self.zygote.stdin.write(json.dumps({"do": do, **details}) + "\n")
        self.zygote.stdin.flush()
        return int(self.zygote.stdout.readline())

    def upload(self) -> str:
        """Upload the recording through the core, as the API does."""
        data = RECORDING.read_bytes()
        return self.services.submissions.create_task(
            io.BytesIO(data), filename="talk.ogg", size_bytes=len(data), language="en"
        ).job.job_id

    def work(self, *, clock: float = 0) -> list[int]:
        """Run what was launched, and tell Dagster of processes that died, as its code server does."""
        codes = []
        for run in self.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.NOT_STARTED])):
            codes.append(self.order("run", run_id=run.run_id, clock=clock))
            ended = self.instance.get_run_by_id(run.run_id)
            assert ended is not None
            if not ended.is_finished:
                self.instance.report_run_failed(ended, f"Run execution process exited with code {codes[-1]}.")
        return codes

    def settle(self, job_id: str, *, wiped: bool = False, daemon_clock: float = 0, worker_clock: float = 0) -> JobModel:
        """Let the daemon and the run workers do what they find to do until the job has ended, and return it.

        With `wiped`, Redis loses everything now, and once more when the daemon has put right what it saw. Clocks are
        ahead by so many seconds.
        """
        if wiped:
            self.wipe_redis()

        def has_ended() -> bool:
            assert self.order("recover", clock=daemon_clock) == 0
            if wiped and next(wipes, None):
                self.wipe_redis()
            assert self.order("launch", clock=daemon_clock) == 0
            assert all(code == 0 for code in self.work(clock=worker_clock))
            return self.services.jobs.get_job(job_id).status.is_final

        wipes = iter([True])
        wait_until(has_ended, f"the end of job {job_id}", 60)
        return self.services.jobs.get_job(job_id)

    def wipe_redis(self) -> None:
        settings = self.services.settings
        assert settings.redis_password is not None
        with redis.Redis(
            host=settings.redis_host, port=settings.redis_port, password=settings.redis_password.get_secret_value()
        ) as server:
            server.flushall()

    def forget_texts(self) -> None:
        """Empty the cache of chunks and the list of the engine's calls."""
        self.services.store.remove_prefix("chunks/")
        (self.folder / "engine-calls").write_text("")

    def transcript(self, job_id: str) -> dict[str, Any]:
        """Return what a job's owner reads, without what names the job."""
        return self.services.tasks.get_task_result(job_id).model_dump(exclude={"job_id"})


@pytest.fixture(scope="module")
def system(server_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("crash")
    (folder / "tmp").mkdir()
    own = f"crash{os.urandom(6).hex()}"
    source = BackfillSource(bucket=f"{own}-calls", language="en")
    engine = f'echo "$@" >> {folder}/engine-calls; exec {find_executable("stt-whisper-cli")} "$@"'
    settings = server_settings.model_copy(
        update={
            "mongodb_database": own,
            "queue_name": own,
            "minio_bucket": own,
            "stt_home": folder / "home",
            "whisper_model": "demo",
            "whisper_cpp_executable": script(folder / "engine", engine),
            "whisper_beam_size": 1,
            "whisper_best_of": 1,
            "chunk_max_seconds": 5.0,
            "queue_lease_seconds": 5,
            "retry_backoff_seconds": 0.05,
            "backfill_sources": (source,),
        }
    )
    home = StackHome.at(settings.stt_home)
    home.dagster.mkdir(parents=True, exist_ok=True)
    (home.dagster / "dagster.yaml").write_text(DAGSTER.format(folder=home.dagster))
    environment = environment_of(settings) | {
        "BACKFILL_SOURCES": f"[{source.model_dump_json(exclude_none=True)}]",
        "DAGSTER_HOME": str(home.dagster),
        "TMPDIR": str(folder / "tmp"),
        VARIABLE: str(folder / "failpoint"),
    }
    services = Services.open(settings)
    services.prepare()
    with (
        (folder / "zygote.log").open("wb") as log,
        DagsterInstance.from_config(str(home.dagster)) as instance,
        subprocess.Popen(
            [sys.executable, "-m", "tests.crash.zygote"],
            cwd=REPOSITORY,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as zygote,
    ):
        yield System(services, instance, zygote, environment, folder)
    assert zygote.returncode == 0  # its input was closed
    services.close()


@pytest.fixture(scope="module")
def undisturbed(system: System) -> dict[str, Any]:
    """The transcript of the recording where nothing goes wrong."""
    system.forget_texts()
    job_id = system.upload()
    assert system.settle(job_id).attempt == 1
    return system.transcript(job_id)
