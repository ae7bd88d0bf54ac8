"""`stt transcribe` against an API of this process, on real servers; what a run does to a job is done by the test."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from stt_core.jobs.job import JobStatus
from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.conftest import opened, own_settings, publish, serve_app, wav
from tests.cli.conftest import Stt
from tests.conftest import wait_until


@pytest.fixture
def own(settings: Settings) -> Settings:
    return own_settings(settings)


@pytest.fixture
def api(own: Settings) -> Iterator[httpx.Client]:
    with serve_app(create_app(own)) as client:
        yield client


@pytest.fixture
def services(own: Settings) -> Iterator[Services]:
    with opened(own) as services:
        yield services


@contextmanager
def transcribing(services: Services) -> Iterator[None]:
    """Complete every job soon after it came, the latest first."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            for job in services.jobs.list_jobs(status=JobStatus.QUEUED).jobs:
                publish(services, job.job_id)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def at(api: httpx.Client) -> tuple[str, str]:
    return ("--api-url", str(api.base_url))


def filenames(api: httpx.Client) -> list[str]:
    return [job["filename"] for job in reversed(api.get("/api/v1/tasks").json()["tasks"])]


def recording(name: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(wav())
    return name


def test_several_when_two_cannot_be_sent_then_the_others_are_transcribed_and_the_end_says_so(
    stt: Stt, api: httpx.Client, services: Services
) -> None:
    named = [recording("first.wav"), "absent.wav", recording("folder/second.wav"), recording("bad.wav")]
    Path("bad.wav").write_text("Dear all, this is a letter. " * 50)
    with transcribing(services):
        done = stt("transcribe", "first.wav", "absent.wav", "folder", "bad.wav", *at(api))
    assert done.exit_code == 1
    assert done.stdout == ("==> first.wav <==\nGuten Morgen.\n\n==> folder/second.wav <==\nGuten Morgen.\n")
    assert filenames(api) == ["first.wav", "second.wav"]
    assert "Of 4 recordings: 2 transcribed, 2 failed." in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert [name for name in named if any(name in line for line in errors)] == ["absent.wav", "bad.wav"]
    assert done.stderr.count("  mend: ") == 2
    assert "━" not in done.stderr  # no bar where nobody looks


def test_beside_when_run_again_then_sends_what_has_no_transcript_yet(
    stt: Stt, api: httpx.Client, services: Services
) -> None:
    recording("talks/a.wav")
    with transcribing(services):
        assert stt("transcribe", "talks", "--beside", "-o", "srt", *at(api)).stdout == ""
        recording("talks/sub/b.wav")
        again = stt("transcribe", "talks", "--beside", "-o", "srt", *at(api))
    assert again.exit_code == 0
    assert "1 transcribed, 1 there already" in again.stderr
    assert filenames(api) == ["a.wav", "b.wav"]
    assert all("00:00:00,250 --> " in Path(f"talks/{name}.srt").read_text() for name in ("a", "sub/b"))


def test_output_when_a_file_or_a_folder_is_named_then_is_written_there(
    stt: Stt, api: httpx.Client, services: Services
) -> None:
    recording("talk.wav")
    Path("mine.vtt").write_text("an older one")
    with transcribing(services):
        assert stt("transcribe", "talk.wav", "-o", "mine.vtt", *at(api)).stdout == ""
        assert stt("transcribe", "talk.wav", "-o", "out/deep/", "-f", "json", *at(api)).exit_code == 0
    assert Path("mine.vtt").read_text().startswith("WEBVTT")
    assert Path("out/deep/talk.json").read_text() == stt("result", "last", "-o", "json", *at(api)).stdout
    assert stt("result", "last", "-o", "out/deep/", "-f", "tsv", *at(api)).exit_code == 0
    assert Path("out/deep/talk.tsv").read_text().startswith("start\tend\ttext")
    refused = stt("result", "last", "-o", "out/deep/", "-f", "tsv", *at(api))
    assert (refused.exit_code, "is there already" in refused.stderr) == (1, True)


def test_no_wait_when_asked_for_then_standard_output_is_the_ids_alone(stt: Stt, api: httpx.Client) -> None:
    done = stt("transcribe", recording("a.wav"), recording("b.wav"), "a.wav", "--no-wait", *at(api))
    ids = [job["job_id"] for job in reversed(api.get("/api/v1/tasks").json()["tasks"])]
    assert done.stdout == "".join(f"{one}\n" for one in ids)
    assert len(ids) == 2
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (0, "Of 2 recordings: 2 sent.")
    assert stt("transcribe", "a.wav", "--no-wait", "--beside", *at(api)).exit_code == 1


def test_standard_input_when_a_recording_is_piped_then_is_sent(api: httpx.Client, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stt_cli", "transcribe", "-", "--no-wait", *at(api)]
    environment = os.environ | {"STT_HOME": str(tmp_path)}
    done = subprocess.run(command, input=wav(), env=environment, capture_output=True, timeout=60)
    assert (done.returncode, filenames(api)) == (0, ["stdin"]), done.stderr
    silent = subprocess.run(command, input=b"", env=environment, capture_output=True, timeout=60)
    assert silent.returncode == 1
    assert b"Nothing came through standard input" in silent.stderr


def test_interrupt_when_jobs_are_under_way_then_each_is_named_with_what_to_do(
    api: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [recording(f"{number}.wav") for number in range(5)]
    process = subprocess.Popen(
        [sys.executable, "-m", "stt_cli", "transcribe", *names, *at(api)],
        env=os.environ | {"STT_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: len(filenames(api)) == 5, "the uploads")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    for job in api.get("/api/v1/tasks").json()["tasks"][1:]:  # the answer about the last may not have come yet
        assert f"{job['filename']}: The job goes on. Look at it with `stt status {job['job_id']}`" in err
    assert "Traceback" not in err


def test_job_when_it_fails_or_is_deleted_then_the_others_are_waited_for(
    stt: Stt, api: httpx.Client, services: Services
) -> None:
    names = [recording(f"{name}.wav") for name in ("deleted", "cancelled", "sound")]

    def meanwhile() -> None:
        wait_until(lambda: len(filenames(api)) == 3, "the uploads")
        by_name = {job["filename"]: job["job_id"] for job in api.get("/api/v1/tasks").json()["tasks"]}
        api.delete(f"/api/v1/tasks/{by_name['deleted.wav']}")
        api.post(f"/api/v1/tasks/{by_name['cancelled.wav']}/cancel")
        publish(services, by_name["sound.wav"])

    thread = threading.Thread(target=meanwhile)
    thread.start()
    done = stt("transcribe", *names, *at(api))
    thread.join()
    assert (done.exit_code, done.stdout) == (1, "==> sound.wav <==\nGuten Morgen.\n")
    assert failed(done.stderr) == {"deleted.wav", "cancelled.wav"}


def failed(text: str) -> set[str]:
    return {line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith("error: ")}


def test_refusal_when_it_is_the_same_for_all_then_is_said_once(stt: Stt, api: httpx.Client) -> None:
    done = stt("transcribe", recording("a.wav"), recording("b.wav"), "--translate", *at(api))
    assert done.exit_code == 1
    assert done.stderr.count("cannot translate") == 1
    assert "error: a.wav, b.wav: " in done.stderr


def test_model_when_it_is_missing_then_nothing_is_sent_and_the_mend_names_the_download(
    stt: Stt, api: httpx.Client
) -> None:
    done = stt("transcribe", recording("a.wav"), "--model", "small", *at(api))
    assert (done.exit_code, done.stdout, filenames(api)) == (1, "", [])
    assert done.stderr == (
        "error: The model small is not there.\n"
        "  mend: Run `stt models download small`, or choose another: --model NAME.\n"
    )
    assert "`stt models list`" in stt("transcribe", "a.wav", "--model", "nonsense", *at(api)).stderr


def test_model_when_the_api_has_not_its_own_then_says_which_it_is(stt: Stt, own: Settings) -> None:
    with serve_app(create_app(own.model_copy(update={"whisper_model": "medium"}))) as api:
        done = stt("transcribe", recording("a.wav"), *at(api), WHISPER_MODEL="medium")
        assert "The model medium is not there" in done.stderr
        assert filenames(api) == []


def test_model_when_it_is_missing_and_somebody_sits_there_then_is_offered(
    api: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here, there = pty.openpty()
    away = "http://127.0.0.1:1"  # there is no network: what is offered cannot be had, and that is said
    with subprocess.Popen(
        [sys.executable, "-m", "stt_cli", "transcribe", recording("a.wav"), "--model", "small", *at(api)],
        env=os.environ | {"STT_HOME": str(tmp_path / "home"), "WHISPER_MODELS_URL": away, "COLUMNS": "200"},
        stdin=there,
        stdout=there,
        stderr=there,
    ) as process:
        os.close(there)
        shown = b""
        answered = False
        while True:
            try:
                shown += os.read(here, 65536)
            except OSError:  # how Linux tells that the other end is closed
                break
            if not answered and b"Download it now (488 MB)? [Y/n]" in shown:
                os.write(here, b"\n")
                answered = True
        assert process.wait(60) == 1
    os.close(here)
    assert answered, shown
    assert b"The model small could not be downloaded" in shown
    assert filenames(api) == []
