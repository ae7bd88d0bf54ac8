"""The command line against the whole stack, as a user has it: `stt up --detach`, then everything else."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result
from dagster import DagsterInstance, DagsterRunStatus
from typer.testing import CliRunner

from stt_cli.local_stack.home import StackHome, free_port
from stt_cli.local_stack.log_file import LogFile
from stt_cli.local_stack.processes import Guard
from stt_cli.main import app
from stt_core.engines.process import find_executable
from stt_core.logs import setup_logging
from tests.cli.conftest import marked
from tests.conftest import wait_until

ROOT = Path(__file__).parents[2]
SPEECH = ROOT / "tests/data/audio/sample-01.mp3"


#: There is no network: `stt demo` takes the bundled recording and the smallest model, at once.
AWAY = "http://127.0.0.1:1"


class Stack:
    """A home with ports of its own, and the commands run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = StackHome.at(folder / "home")
        self.environment = {
            **os.environ,
            "STT_HOME": str(self.home.path),
            "STT_API_PORT": str(free_port()),
            "STT_DAGSTER_PORT": str(free_port()),
            "COLUMNS": "200",
            "WHISPER_MODELS_DIR": str(folder / "models"),
            "WHISPER_MODELS_URL": AWAY,
            "PIP_INDEX_URL": AWAY,
            "PIP_EXTRA_INDEX_URL": AWAY,
            "PIP_CONFIG_FILE": os.devnull,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "stt_cli", *arguments],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a process of its own."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def stt(self, *arguments: str) -> Result:
        """Run a command in this process, which starts at once."""
        with chdir(self.folder):
            return CliRunner(env=self.environment).invoke(app, arguments)

    def upload(self, **fields: str) -> str:
        """Send the recording to the API; return the address of the job."""
        url = f"http://127.0.0.1:{self.environment['STT_API_PORT']}/api/v1/tasks"
        with SPEECH.open("rb") as recording:
            accepted = httpx.post(f"{url}/upload", files={"file": recording}, data=fields, timeout=30)
        return f"{url}/{accepted.json()['job_id']}"

    def state(self) -> dict[str, Any]:
        return self.home.read(self.home.state_file)


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """Give a stack that may be started; see to it that nothing of it outlives the block, whatever fails in it."""
    stack = Stack(folder)
    with Guard(stack.home):
        try:
            yield stack
        finally:
            stack.stt("down")
            setup_logging(sink=sys.stderr)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("cli")) as stack:
        started = stack.run("up", "--detach")
        assert started.returncode == 0, started.stderr
        assert "warning: The model base is not downloaded. Run `stt models download base`" in started.stderr
        yield stack


@pytest.fixture(scope="module")
def job(stack: Stack) -> str:
    done = stack.stt("transcribe", str(SPEECH), "--model", "demo", "--priority", "high", "--language", "en")
    assert done.exit_code == 0, done.stderr
    return next(line.split()[1].rstrip(",") for line in done.stderr.splitlines() if line.startswith("job "))


def test_ps_when_the_stack_runs_then_shows_every_part_ready_and_the_addresses(stack: Stack) -> None:
    done = stack.stt("ps")
    parts = {line.split()[0] for line in done.stdout.splitlines() if " ready " in line}
    assert parts == {"redis", "s3", "mongo", "api", "code", "daemon", "webserver"}
    assert f"http://127.0.0.1:{stack.environment['STT_API_PORT']}/docs" in done.stdout
    assert f"http://127.0.0.1:{stack.environment['STT_DAGSTER_PORT']}" in done.stdout


def test_up_when_it_runs_already_then_says_so_and_changes_nothing(stack: Stack) -> None:
    files = [stack.home.path / name for name in ("ports.json", "dagster/workspace.yaml", "stack.json")]
    before = [file.read_text() for file in files]
    for options in ([], ["--detach"]):
        done = stack.run("up", *options)
        assert done.returncode == 1
        assert done.stderr.count("already runs") == 1
        assert "Traceback" not in done.stderr
    assert stack.stt("doctor").exit_code == 1
    assert [file.read_text() for file in files] == before


def test_up_when_a_port_is_taken_then_names_port_and_variable(stack: Stack, tmp_path: Path) -> None:
    other = Stack(tmp_path)
    other.environment["STT_DAGSTER_PORT"] = stack.environment["STT_DAGSTER_PORT"]
    done = other.run("up")
    assert done.returncode == 1
    assert f"STT_DAGSTER_PORT: somebody else listens on port {stack.environment['STT_DAGSTER_PORT']}" in done.stderr
    assert marked(other.home) == []


def test_log_when_it_grows_then_is_begun_anew_and_no_line_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_cli.local_stack.log_file._LOG_BYTES", 2000)
    log = tmp_path / "stack.log"
    file = LogFile(log)
    for number in range(100):
        file.write("api", f"line {number} " + "x" * 20)
    before, now = (tmp_path / "stack.log.1").read_text().splitlines(), log.read_text().splitlines()
    assert len("".join(before)) < 2200 and len("".join(now)) < 2200
    numbers = [int(line.split(" line ")[1].split()[0]) for line in before + now]
    assert numbers == list(range(numbers[0], 100))


def test_doctor_when_the_stack_runs_then_tells_the_latency_of_each_server(stack: Stack) -> None:
    done = stack.stt("doctor")
    assert done.stdout.count("answers in") == 3
    assert "stack" in done.stdout


def test_transcribe_when_piped_then_standard_output_is_the_transcript_alone(stack: Stack, job: str) -> None:
    done = stack.run("transcribe", str(SPEECH), "--model", "demo", "--output", "json")
    transcript = json.loads(done.stdout)
    assert transcript["segments"]
    assert transcript["model"] == "demo"
    assert "266" in done.stderr  # whoever selects the demo model is told


@pytest.mark.parametrize(
    ("output", "sign"),
    [("text", "\n"), ("srt", " --> "), ("vtt", "WEBVTT"), ("tsv", "start\tend\ttext"), ("json", '"job_id"')],
)
def test_result_when_asked_in_a_format_then_writes_it(stack: Stack, job: str, output: str, sign: str) -> None:
    done = stack.stt("result", job, "--output", output)
    assert done.exit_code == 0
    assert sign in done.stdout


def test_result_when_subtitles_have_a_width_then_no_line_is_longer_and_no_cue_higher(stack: Stack, job: str) -> None:
    done = stack.stt("result", job, "--output", "srt", "--max-line-width", "20", "--max-line-count", "1")
    cues = [cue.splitlines()[2:] for cue in done.stdout.strip().split("\n\n")]
    assert all(len(lines) == 1 and len(lines[0]) <= 20 for lines in cues)
    assert len(cues) > stack.stt("result", job, "--output", "srt").stdout.count(" --> ")


def test_status_when_the_job_is_done_then_shows_it_with_its_run(stack: Stack, job: str) -> None:
    done = stack.stt("status", job)
    assert "completed" in done.stdout
    assert "high" in done.stdout
    assert f":{stack.environment['STT_DAGSTER_PORT']}/runs/" in done.stdout


def test_status_when_the_job_is_unknown_then_shows_detail_and_mend(stack: Stack) -> None:
    done = stack.stt("status", "0" * 32)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")


def test_transcribe_when_the_file_is_no_audio_then_shows_the_refusal(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "letter.mp3").write_text("Dear all, this is a letter. " * 50)
    done = stack.stt("transcribe", str(tmp_path / "letter.mp3"), "--model", "demo")
    assert done.exit_code == 1
    assert "error: " in done.stderr
    assert done.stdout == ""


def test_example_script_when_run_without_our_packages_then_prints_the_transcript(stack: Stack, job: str) -> None:
    url = f"http://127.0.0.1:{stack.environment['STT_API_PORT']}"
    command = [sys.executable, "-I", "-S", str(ROOT / "scripts/test_upload.py"), str(SPEECH), "--model", "demo"]
    done = subprocess.run([*command, "--url", url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_demo_when_a_stack_runs_then_uses_it_and_leaves_it_running(stack: Stack) -> None:
    done = stack.stt("demo")
    assert done.exit_code == 0, done.stderr
    assert "Using the stack that runs" in done.stderr
    assert stack.stt("ps").exit_code == 0


@pytest.mark.timeout(240)
def test_part_when_terminated_while_a_job_is_under_way_then_is_back_and_the_job_ends_with_its_transcript(
    stack: Stack,
) -> None:
    job_url = stack.upload(model="demo")
    for name in ("daemon", "redis", "mongo", "s3"):
        before = stack.state()["parts"][name]
        os.kill(before["pid"], signal.SIGTERM)

        def is_back(name: str = name, restarts: int = before["restarts"]) -> bool:
            part = stack.state()["parts"][name]
            return bool(part["ready"]) and part["restarts"] == restarts + 1

        wait_until(is_back, f"{name} back", 30)

    def status() -> str:
        answer = httpx.get(job_url, timeout=30)
        return str(answer.json()["status"]) if answer.is_success else ""

    wait_until(lambda: status() in ("completed", "failed"), "the end of the job", 150)
    assert status() == "completed"


#: Transcribes two files of a batch and hangs, until it may go on: then it does all it is given. Notes what that was.
ENGINE = """#!{python}
import os, subprocess, sys, time
from pathlib import Path
first = sys.argv.index("-f")
whole, some = sys.argv[1:], sys.argv[1 : first + 8]
with open("{calls}", "a") as calls:
    calls.write(" ".join(Path(file).name for file in whole if file.endswith(".wav")) + "\\n")
if Path("{go}").exists():
    os.execv("{real}", ["{real}", *whole])
subprocess.run(["{real}", *some], check=True)
time.sleep(600)
"""


@pytest.mark.timeout(300)  # it starts the stack twice
def test_stack_when_terminated_in_the_middle_of_a_run_then_ends_and_later_goes_on_where_it_was(tmp_path: Path) -> None:
    temporary, calls, go, engine = (tmp_path / name for name in ("tmp", "calls", "go", "engine"))
    temporary.mkdir()
    engine.write_text(ENGINE.format(python=sys.executable, calls=calls, go=go, real=find_executable("stt-whisper-cli")))
    engine.chmod(0o755)
    with running(tmp_path) as stack:
        stack.environment |= {
            "TMPDIR": str(temporary),
            "WHISPER_CPP_EXECUTABLE": str(engine),
            "WHISPER_MODEL": "demo",
            "CHUNK_MAX_SECONDS": "5",
            "MAX_ATTEMPTS": "1",  # one that counts would be the last
        }
        assert stack.run("up", "--detach").returncode == 0
        job_url = stack.upload()
        wait_until(lambda: httpx.get(job_url).json()["progress"]["chunks_done"] == 1, "a chunk is done", 60)

        begun = time.monotonic()
        assert stack.stt("down").exit_code == 0
        assert time.monotonic() - begun < 5
        assert marked(stack.home) == []
        log = stack.home.log_file.read_text()
        assert not re.search("Traceback|killing", log), log[-5000:]
        assert list(temporary.iterdir()) == []

        go.touch()
        assert stack.run("up", "--detach").returncode == 0
        wait_until(lambda: httpx.get(job_url).json()["status"] in ("completed", "failed"), "the end", 55)
        job = httpx.get(job_url).json()
        assert (job["status"], job["attempt"], job["error"]) == ("completed", 2, None)
        first, again, *_ = calls.read_text().splitlines()
        assert again.split() == first.split()[1:]
        os.kill(stack.state()["pid"], signal.SIGINT)
        wait_until(lambda: marked(stack.home) == [], "the end of everything", 15)
        assert stack.stt("down").exit_code == 0


def test_demo_when_one_before_was_killed_then_runs_and_leaves_nothing_running(tmp_path: Path) -> None:
    with running(tmp_path) as stack:
        killed = stack.start("demo")
        wait_until(lambda: stack.state().get("ready"), "the stack of the demo is ready", 60)
        killed.kill()
        killed.communicate()
        done = stack.run("demo")
        assert done.returncode == 0, done.stderr
        assert marked(stack.home) == []
        with DagsterInstance.from_config(str(stack.home.dagster)) as instance:
            assert instance.get_runs(limit=1)[0].status is DagsterRunStatus.SUCCESS
    assert "word error rate" in done.stdout
    assert "/transcript.{json,txt,srt,vtt,tsv}" in done.stdout
    assert "/runs/" in done.stdout
    reference = (files("stt_cli") / "data" / "demo.txt").read_text(encoding="utf-8")
    assert reference.splitlines()[0] in done.stdout
