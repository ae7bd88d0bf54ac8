"""The whole system from outside: what a user uploads, what becomes of it, and what is left behind."""

from __future__ import annotations

import io
import json
import re
import subprocess
import wave
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import imageio_ffmpeg
import psutil
import pytest
import redis

from stt_core.cores import cores_folder
from stt_core.services import Services
from tests.core.webhooks.conftest import Receiver
from tests.system.conftest import DATA, FINAL, Stack

Waiter = Callable[..., None]


def wav(seconds: float) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(16_000)
        audio.writeframes(bytes(round(seconds * 16_000) * 2))
    return buffer.getvalue()


def video_without_sound(folder: Path) -> bytes:
    path = folder / "silent.mp4"
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "color=s=64x64:d=1", "-y", str(path)],
        check=True,
    )
    return path.read_bytes()


@pytest.fixture(scope="module")
def accepted(stack: Stack, tmp_path_factory: pytest.TempPathFactory, wait_until: Waiter) -> dict[str, dict[str, Any]]:
    """Upload what passes the door, bad and good together, and wait for the end of all of it."""
    mp3 = (DATA / "sample-01.mp3").read_bytes()
    recordings = {
        "sound.mp3": mp3,
        "truncated.mp3": mp3[: len(mp3) * 6 // 10],
        "header-only.wav": wav(0),
        "silence.wav": wav(4),
        "instant.wav": wav(0.05),
        "video.mp4": video_without_sound(tmp_path_factory.mktemp("video")),
        "damaged.flac": b"fLaC" + bytes(range(256)) * 20,
    }
    jobs = {}
    for name, content in recordings.items():
        answer = stack.upload(name, content)
        assert answer.status_code == 202, answer.text
        jobs[name] = answer.json()["job_id"]
    return {name: stack.wait(job_id, wait_until) for name, job_id in jobs.items()}


def test_upload_when_recording_is_sound_ends_with_its_text(stack: Stack, accepted: dict[str, Any]) -> None:
    job = accepted["sound.mp3"]
    assert job["status"] == "completed" and job["attempt"] == 1 and job["error"] is None
    assert job["progress"]["chunks_done"] == job["progress"]["chunks_total"] >= 1
    result = stack.client.get(f"/api/v1/tasks/{job['job_id']}/result").raise_for_status().json()
    assert result["text"].split() == (DATA / "sample-01.txt").read_text().split()
    assert result["job_id"] == job["job_id"] and result["model"] == "demo" and result["language"] == "en"
    assert [segment["index"] for segment in result["segments"]] == list(range(len(result["segments"])))
    assert all(0 <= segment["start"] < segment["end"] <= result["duration_seconds"] for segment in result["segments"])


def test_upload_when_recording_is_cut_off_ends_with_what_is_there(stack: Stack, accepted: dict[str, Any]) -> None:
    assert accepted["truncated.mp3"]["status"] == "completed"
    assert [warning["name"] for warning in accepted["truncated.mp3"]["result"]["warnings"]] == ["cut_off"]
    result = stack.client.get(f"/api/v1/tasks/{accepted['truncated.mp3']['job_id']}/result").json()
    assert result["warnings"] == accepted["truncated.mp3"]["result"]["warnings"]
    assert result["text"].startswith("I like coffee and tea in the morning.")


@pytest.mark.parametrize("name", ["silence.wav", "instant.wav"])
def test_upload_when_nobody_speaks_ends_with_an_empty_transcript(
    stack: Stack, accepted: dict[str, Any], name: str
) -> None:
    assert accepted[name]["status"] == "completed"
    result = stack.client.get(f"/api/v1/tasks/{accepted[name]['job_id']}/result").json()
    assert result["text"] == "" and result["segments"] == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [("header-only.wav", "no-audio"), ("video.mp4", "no-audio"), ("damaged.flac", "unreadable-audio")],
)
def test_upload_when_there_is_no_audio_fails_once_with_the_reason(
    stack: Stack, accepted: dict[str, Any], name: str, kind: str
) -> None:
    job = accepted[name]
    assert job["status"] == "failed" and job["attempt"] == 1
    assert job["error"]["kind"] == kind and job["error"]["mend"]
    result = stack.client.get(f"/api/v1/tasks/{job['job_id']}/result")
    assert result.status_code == 409 and result.json()["type"].endswith("job-failed")


@pytest.mark.parametrize(
    ("name", "content", "options", "status"),
    [
        ("empty.mp3", b"", {}, 400),
        ("text.mp3", b"These are words, and no sound at all. " * 50, {}, 415),
        ("model.wav", wav(1), {"model": "no-such-model"}, 400),
        ("language.wav", wav(1), {"language": "klingon"}, 400),
        ("priority.wav", wav(1), {"priority": "urgent"}, 400),
        ("large.wav", wav(100), {}, 413),
    ],
)
def test_upload_when_it_is_not_acceptable_is_refused_with_the_reason(
    stack: Stack, name: str, content: bytes, options: dict[str, str], status: int
) -> None:
    answer = stack.upload(name, content, **options)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_finished_jobs_leave_nothing_behind(stack: Stack, accepted: dict[str, Any], wait_until: Waiter) -> None:
    services = Services.open(stack.settings())
    try:
        jobs = {job.job_id: job for job in services.jobs.list_jobs(limit=200).jobs}
        assert {job.status.value for job in jobs.values()} <= set(FINAL)
        owners = {key.split("/")[1] for key in services.store.list_keys("uploads/")}
        assert owners == set(jobs)
        assert services.store.list_keys("audio/") == []
        assert services.queue.members() == set()
    finally:
        services.close()
    # A run's process ends a moment after its job.
    wait_until(lambda: len(list(stack.temporary.glob("stt-*"))) <= 1, "no temporary folder but the code server's")


def test_log_when_jobs_are_finished_has_no_warning_of_python(stack: Stack, accepted: dict[str, Any]) -> None:
    log = (stack.home / "stack.log").read_text()
    assert "job completed" in log
    assert re.findall(r".*\w+Warning: .*", log) == []


def ask_dagster(run_url: str, query: str) -> Any:
    """Ask the webserver what its UI asks about a run (`$id`); return the answer's one field."""
    base, _, run_id = run_url.partition("/runs/")
    answer = httpx.post(f"{base}/graphql", json={"query": query, "variables": {"id": run_id}}, timeout=30)
    assert answer.status_code == 200, answer.text
    [field] = answer.json()["data"].values()
    return field


def state_of_run(run_url: str) -> tuple[str, dict[str, str]]:
    query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status tags { key value } } } }"
    run = ask_dagster(run_url, query)
    return run["status"], {tag["key"]: tag["value"] for tag in run["tags"]}


def test_run_when_opened_in_dagster_shows_its_job(stack: Stack, accepted: dict[str, Any]) -> None:
    job = accepted["sound.mp3"]
    status, tags = state_of_run(job["run_url"])
    assert status == "SUCCESS"
    assert tags["stt/job_id"] == job["job_id"] and tags["stt/file"] == "sound.mp3" and tags["stt/priority"] == "normal"


def test_failed_run_when_reexecuted_in_dagster_takes_its_job_along(
    stack: Stack, accepted: dict[str, Any], wait_until: Waiter
) -> None:
    job = accepted["damaged.flac"]
    mutation = """mutation($id: String!) {
      launchRunReexecution(reexecutionParams: {parentRunId: $id, strategy: FROM_FAILURE, useParentRunTags: true}) {
        ... on LaunchRunSuccess { run { runId } } } }"""
    wait_until(lambda: state_of_run(job["run_url"])[0] == "FAILURE", "the run's end", 60)  # the job's comes before
    launched = ask_dagster(job["run_url"], mutation)
    wait_until(lambda: stack.status(job["job_id"])["attempt"] == 2, "the next attempt", 60)
    again = stack.wait(job["job_id"], wait_until)
    assert (again["status"], again["run_id"]) == ("failed", launched["run"]["runId"])
    assert again["error"]["message"] == job["error"]["message"]
    assert state_of_run(again["run_url"])[1]["stt/attempt"] == "2"


def test_command_line_when_it_transcribes_writes_only_the_result_to_stdout(stack: Stack) -> None:
    done = stack.stt("transcribe", str(DATA / "sample-01.mp3"), "--output", "srt", "--priority", "high")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1\n00:00:0")
    job_id = next(word for word in done.stderr.replace(",", " ").split() if len(word) == 32)
    again = stack.stt("result", job_id, "--output", "json")
    assert json.loads(again.stdout)["job_id"] == job_id
    assert "completed" in stack.stt("status", job_id).stdout


def test_run_when_its_worker_is_killed_is_made_good_by_the_next_attempt(stack: Stack, wait_until: Waiter) -> None:
    job_id = stack.upload("noisy.ogg", (DATA / "noisy.ogg").read_bytes()).json()["job_id"]

    cores = cores_folder(stack.settings().cores_dir)

    def engines() -> Iterator[psutil.Process]:
        """One that stayed from an earlier run is a child of the stack no more."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if "stt-whisper-cli" in " ".join(process.cmdline()) and process.environ()["STT_HOME"] == str(
                    stack.home
                ):
                    yield process

    def kill_worker() -> bool:
        """Kill who holds a core, while an engine computes for it: one that waits belongs to nobody."""
        try:
            at_work = [one for one in engines() if one.cpu_percent(0.1) > 50]
            holders = {int(file.read_text() or 0) for file in cores.glob("upload-core-*")}
            workers = [one for one in stack.processes() if one.pid in holders]
            if not at_work or not workers:
                return False
            for worker in workers:
                worker.kill()
            _, alive = psutil.wait_procs(at_work, timeout=5)
            assert all(one.status() == psutil.STATUS_ZOMBIE for one in alive)
            return True
        except psutil.NoSuchProcess:
            return False

    wait_until(kill_worker, "an engine at work", 60)
    job = stack.wait(job_id, wait_until)
    assert (job["status"], job["attempt"]) == ("completed", 2)


def test_jobs_when_redis_lost_everything_are_transcribed_all_the_same(stack: Stack, wait_until: Waiter) -> None:
    sample = (DATA / "sample-08.ogg").read_bytes()
    jobs = [stack.upload(f"{number}.ogg", sample).json()["job_id"] for number in range(4)]
    settings = stack.settings()
    assert settings.redis_password is not None
    with redis.Redis(
        host=settings.redis_host, port=settings.redis_port, password=settings.redis_password.get_secret_value()
    ) as server:
        server.flushall()
    for job_id in jobs:
        assert stack.wait(job_id, wait_until)["status"] == "completed"


def test_webhook_when_its_receiver_recovers_then_the_daemon_tells_it_of_the_end_of_the_job(
    stack: Stack, wait_until: Waiter
) -> None:
    with Receiver() as receiver:
        receiver.statuses = [503, 204]
        recording = (DATA / "sample-01.mp3").read_bytes()
        answer = stack.upload("told.mp3", recording, callback_url=receiver.url, metadata='{"order": 7}')
        job_id = answer.raise_for_status().json()["job_id"]
        wait_until(lambda: len(receiver.messages) == 2, "the second try", 120)

    first, second = receiver.messages
    assert first == second
    assert receiver.ids == [f"msg_{job_id}_1"] * 2
    assert (second["type"], second["data"]["job_id"], second["data"]["metadata"]) == (
        "job.completed", job_id, {"order": 7},
    )  # fmt: skip
