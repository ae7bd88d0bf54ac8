"""Runs that are to end before their job is done: cancelled, terminated, killed, stopped and woken again.

Each run is a process of its own with a hanging decoder or engine below it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from dagster import DagsterInstance, DagsterRunStatus

from stt_core.audio.ffmpeg import find_ffmpeg
from stt_core.engines.process import find_executable
from stt_core.jobs.job import JobStatus
from stt_core.jobs.recovery import cancel_job
from stt_core.retention import sweep
from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.conftest import environment_of
from tests.conftest import wait_until
from tests.dagster.conftest import RunJob, Upload, run_of, script

#: What a cancelled job started ends within this, seconds.
PROMISED_SECONDS = 5.0
STEP_PROCESS = "transcribing in a process of the step"


@dataclass(frozen=True)
class Workers:
    """Starts run workers on the servers and the Dagster instance of the tests."""

    services: Services
    instance: DagsterInstance
    starter: subprocess.Popen[str]
    #: While it is there the decoder hangs, and the engine otherwise.
    decoder_hangs: Path

    def launch(self, job_id: str, *, slots: int = 1) -> tuple[str, psutil.Process]:
        """Start a run of the job's attempt, spread over processes where it has slots."""
        from stt_dagster.definitions import defs
        from stt_dagster.jobs import run_request

        request = run_request(self.services.jobs.get_job(job_id), self.services.settings)
        config = dict(request.run_config)
        if slots > 1:
            executor = {"multiprocess": {"max_concurrent": slots, "start_method": {"forkserver": {}}}}
            config |= {"execution": {"config": executor}}
        job = defs.resolve_job_def(request.job_name or "")
        run = self.instance.create_run_for_job(job, run_config=config, tags=dict(request.tags))
        assert self.starter.stdin and self.starter.stdout
        self.starter.stdin.write(f"{run.run_id}\n")
        self.starter.stdin.flush()
        return run.run_id, psutil.Process(int(self.starter.stdout.readline()))

    def hanging(self, worker: psutil.Process) -> psutil.Process:
        """Wait for the program that hangs below a run worker."""
        found: list[psutil.Process] = []

        def find() -> bool:
            try:
                found[:] = [child for child in worker.children(recursive=True) if child.name() == "sleep"]
            except psutil.NoSuchProcess:
                return False
            return bool(found)

        wait_until(find, "the program that hangs", 120)
        return found[0]

    def status(self, run_id: str) -> DagsterRunStatus:
        return run_of(self.instance, run_id).status

    def settle(self, run_id: str) -> None:
        """Do what the sensor of a run's end does."""
        from stt_dagster.runs import settle_run

        run = run_of(self.instance, run_id)
        assert run.is_finished
        settle_run(self.instance, self.services, run)


@pytest.fixture(scope="module")
def workers(server_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("workers")
    decoder_hangs = folder / "decoder-hangs"
    own = f"t{os.urandom(6).hex()}"
    changes = {"mongodb_database": own, "queue_name": own, "minio_bucket": own, "stt_home": folder / "home"}
    changes |= {"whisper_model": "demo", "whisper_cpp_executable": script(folder / "engine", "exec sleep 120")}
    settings = server_settings.model_copy(update=changes)
    decoder = script(folder / "decoder", f'[ -e {decoder_hangs} ] && exec sleep 120; exec {find_ffmpeg(None)} "$@"')
    settings = settings.model_copy(update={"ffmpeg_executable": decoder})
    (folder / "dagster").mkdir()
    (folder / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    services = Services.open(settings)
    services.prepare()
    command = [sys.executable, "-m", "tests.dagster.run_workers"]
    environment = os.environ | environment_of(settings) | {"DAGSTER_HOME": str(folder / "dagster")}
    with (
        (folder / "log").open("wb") as log,
        DagsterInstance.from_config(str(folder / "dagster")) as instance,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as starter,
    ):
        yield Workers(services, instance, starter, decoder_hangs)
        running = psutil.Process(starter.pid).children(recursive=True)
        for process in running:
            process.kill()
    services.close()


@pytest.fixture
def services(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Services:
    """The core that uploads and runs in this process use: that of the workers."""
    monkeypatch.setattr("stt_dagster.resources.open_services", lambda: workers.services)
    return workers.services


@dataclass(frozen=True)
class HangingRun:
    """A run on its way, with a program that hangs below its process."""

    workers: Workers
    job_id: str
    run_id: str
    worker: psutil.Process
    program: psutil.Process

    def ends_as_cancelled(self) -> None:
        """Wait for its end, in the time that is promised, and do what the sensor of that does."""
        wait_until(ended(self.program), "the end of the program", PROMISED_SECONDS)
        wait_until(ended(self.worker), "the end of the run's process")
        assert self.workers.status(self.run_id) is DagsterRunStatus.CANCELED
        self.workers.settle(self.run_id)


@pytest.fixture
def run(request: pytest.FixtureRequest, workers: Workers, upload: Upload) -> Iterator[HangingRun]:
    """Start a run that hangs in the stage that the test names, or in its engine."""
    stage = getattr(request, "param", "transcribing")
    if stage == "decoding":
        workers.decoder_hangs.touch()
    job_id = upload("sample-01.mp3")
    run_id, worker = workers.launch(job_id, slots=2 if stage == STEP_PROCESS else 1)
    yield HangingRun(workers, job_id, run_id, worker, workers.hanging(worker))
    workers.decoder_hangs.unlink(missing_ok=True)


def stages(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("run", names, indirect=True)


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two questions
        return True


def ended(*processes: psutil.Process) -> Callable[[], bool]:
    def check() -> bool:
        return all(map(_has_ended, processes))

    return check


@stages("decoding", "transcribing", STEP_PROCESS)
def test_job_when_cancelled_ends_its_processes_in_time_and_its_run_as_cancelled(
    workers: Workers, run: HangingRun
) -> None:
    cancel_job(workers.services.jobs, run.job_id)

    run.ends_as_cancelled()
    assert workers.services.jobs.get_job(run.job_id).status is JobStatus.CANCELLED


@stages("decoding", "transcribing")
def test_job_when_deleted_ends_its_run_as_cancelled_and_leaves_no_object(workers: Workers, run: HangingRun) -> None:
    workers.services.tasks.delete_task(run.job_id)

    run.ends_as_cancelled()
    sweep(workers.services)
    assert [key for key in workers.services.store.list_keys("") if run.job_id in key] == []


@stages("decoding")
def test_run_when_terminated_in_the_ui_ends_in_time_and_cancels_its_job(workers: Workers, run: HangingRun) -> None:
    # as the launcher does, which then interrupts the process
    workers.instance.report_run_canceling(run_of(workers.instance, run.run_id))
    run.worker.send_signal(signal.SIGINT)

    run.ends_as_cancelled()
    assert workers.services.jobs.get_job(run.job_id).status is JobStatus.CANCELLED


@stages("transcribing")
def test_run_when_its_host_is_stopped_hands_its_job_back_and_burns_no_attempt(
    workers: Workers, run: HangingRun
) -> None:
    run.worker.terminate()

    wait_until(ended(run.program, run.worker), "the end of the program and of the run's process", 10)
    assert workers.status(run.run_id) is DagsterRunStatus.FAILURE
    workers.settle(run.run_id)
    job = workers.services.jobs.get_job(run.job_id)
    assert (job.status, job.attempt, job.failures) == (JobStatus.QUEUED, 2, 0)
    assert job.error is not None and job.error.kind == "run-interrupted"


@stages("decoding", STEP_PROCESS)
def test_run_when_its_process_is_killed_leaves_no_process(run: HangingRun) -> None:
    others = run.worker.children(recursive=True)

    run.worker.kill()

    wait_until(ended(run.program, *others), "the end of the program", PROMISED_SECONDS)


def test_run_when_stopped_and_woken_after_the_next_attempt_changes_nothing_and_ends(
    workers: Workers, run: HangingRun, run_job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = workers.services
    run.worker.suspend()
    # as the reconciler does
    workers.instance.report_run_failed(run_of(workers.instance, run.run_id), "It gave no sign of life any more.")
    workers.settle(run.run_id)
    real = services.settings.model_copy(
        update={"whisper_cpp_executable": str(find_executable("stt-whisper-cli")), "ffmpeg_executable": None}
    )
    monkeypatch.setattr("stt_dagster.resources.open_services", lambda: replace(services, settings=real))
    assert run_job(run.job_id).success
    done = services.jobs.get_job(run.job_id)
    results = services.store.list_keys(f"results/{run.job_id}/")

    run.program.kill()  # its text would be there the moment the run wakes
    run.worker.resume()

    wait_until(ended(run.worker), "the end of the run's process")
    assert (done.status, done.attempt) == (JobStatus.COMPLETED, 2)
    assert services.jobs.get_job(run.job_id) == done
    assert services.store.list_keys(f"results/{run.job_id}/") == results
    assert workers.status(run.run_id) is DagsterRunStatus.FAILURE
    assert services.tasks.get_task_result(run.job_id).text
