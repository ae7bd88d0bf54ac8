"""The process that `uvicorn api.main:app` starts: its start, its end, its memory and its temporary files."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from stt_cli.local_stack.home import StackHome
from stt_cli.local_stack.processes import Guard
from stt_cli.local_stack.servers import EmbeddedS3
from stt_core.jobs.job import JobStatus
from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.conftest import (
    UPLOAD,
    ApiProcess,
    api_process,
    environment_of,
    everything,
    multipart,
    upload,
    wav,
)
from tests.conftest import start_server, wait_until

MIB = 1024**2


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Where the process keeps uploads under way."""
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
def api(settings: Settings, services: Services, tmp_path: Path, spool: Path) -> Iterator[ApiProcess]:
    with api_process(environment_of(settings) | {"TMPDIR": str(spool)}, tmp_path) as api:
        yield api


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"MONGODB_URL": "localhost:27017"}, "MONGODB_URL: must look like mongodb://"),
        ({"MAX_UPLOAD_BYTES": "0", "REDIS_PORT": "99999"}, "REDIS_PORT: "),
        ({"WHISPER_MODEL": "/no/such/model.bin"}, "WHISPER_MODEL: nothing at /no/such/model.bin"),
        ({}, "MINIO_ACCESS_KEY and MINIO_SECRET_KEY are not set."),
    ],
)
def test_start_when_the_configuration_is_wrong_then_ends_with_one_line_that_names_the_variable(
    tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    with api_process({**environment}, tmp_path) as api:
        assert api.process.wait(timeout=20) != 0

    assert any(said in line for line in api.text.splitlines() if "ERROR" in line)
    assert "Traceback" not in api.text
    assert len(api.text.splitlines()) < 10


def test_life_when_started_and_stopped_then_logged_in_one_format(
    settings: Settings, services: Services, tmp_path: Path
) -> None:
    with api_process(environment_of(settings), tmp_path) as api:
        httpx.get(f"{api.url}/nowhere")
        wait_until(lambda: "API is ready" in api.text, "readiness logged")
        api.process.terminate()
        assert api.process.wait(timeout=20) in (0, -15)

    for milestone in ("API starts", "API is ready", "GET /nowhere -> 404", "API shuts down", "API is closed"):
        assert api.text.count(milestone) == 1, milestone
    line = re.compile(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d (INFO|WARNING)\s+\S+ (uvicorn|api|stt_core)\."
    )
    assert [text for text in api.text.splitlines() if not line.match(text)] == []


def test_log_when_asked_for_json_then_every_line_of_the_running_app_is_json(
    settings: Settings, services: Services, tmp_path: Path
) -> None:
    with api_process(environment_of(settings) | {"LOG_JSON": "true"}, tmp_path) as api:
        request_id = httpx.get(f"{api.url}/nowhere").headers["x-request-id"]
        wait_until(lambda: request_id in api.text, "the request logged")

    lines = api.text.splitlines()
    started = next(index for index, line in enumerate(lines) if "API starts" in line)
    assert [line for line in lines[started:] if not isinstance(json.loads(line), dict)] == []


def spooled(api: ApiProcess, spool: Path) -> list[str]:
    """Return the temporary files of the process: those with a name, and those only it has open."""
    descriptors = Path(f"/proc/{api.process.pid}/fd")
    opened = (str(descriptor.readlink()) for descriptor in descriptors.iterdir())
    return [*map(str, spool.iterdir()), *(path for path in opened if path.startswith(str(spool)))]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_upload_when_the_client_goes_away_midway_then_nothing_is_left(
    api: ApiProcess, services: Services, spool: Path
) -> None:
    before = everything(services)
    address = urlsplit(api.url)
    headers, body = multipart(wav(100))
    head = [f"POST {UPLOAD} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body[: 2 * MIB])
        wait_until(lambda: spooled(api, spool), "the upload spooled to disk")
    wait_until(lambda: f"POST {UPLOAD} -> 499" in api.text, "the broken upload logged")

    assert spooled(api, spool) == []
    assert everything(services) == before
    assert "Traceback" not in api.text
    with httpx.Client(base_url=api.url) as client:
        assert upload(client).status_code == 202


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_upload_when_100_mb_then_memory_stays_bounded_and_no_temporary_file_is_left(
    api: ApiProcess, services: Services, spool: Path
) -> None:
    content = wav(100 * MIB / 32_000)
    process = psutil.Process(api.process.pid)
    done = threading.Event()
    peak = 0

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, process.memory_info().rss)

    with httpx.Client(base_url=api.url, timeout=120) as client:
        assert upload(client).status_code == 202  # everything is imported and connected from here on
        before = process.memory_info().rss
        watcher = threading.Thread(target=watch)
        watcher.start()
        response = upload(client, content)
        done.set()
        watcher.join()

    assert response.status_code == 202
    source = services.jobs.get_job(response.json()["job_id"]).source
    assert source is not None and source.size_bytes == len(content) > 100 * MIB
    assert (peak - before) / MIB < 50
    assert spooled(api, spool) == []


def test_upload_when_the_api_is_told_to_end_while_the_store_hangs_then_its_job_says_so_at_once(
    settings: Settings, services: Services, tmp_path: Path
) -> None:
    home, before = StackHome.at(tmp_path / "own"), {job.job_id for job in services.jobs.list_jobs(limit=1000).jobs}

    def begun() -> list[str]:  # the newest comes first; to read them all takes as long as the store for the bytes
        return [job.job_id for job in services.jobs.list_jobs(limit=1).jobs if job.job_id not in before]

    with Guard(home), ThreadPoolExecutor(1) as threads:
        store = EmbeddedS3(home)
        process = start_server(store)
        with api_process(environment_of(settings) | store.settings_environment(), tmp_path) as api:
            answer = threads.submit(httpx.post, api.url + UPLOAD, files={"file": ("a.wav", wav(7500))}, timeout=60)
            wait_until(begun, "bytes on their way")
            process.send_signal(signal.SIGSTOP)
            [job_id] = begun()
            assert services.jobs.get_job(job_id).status is JobStatus.PENDING
            api.process.terminate()
            try:
                wait_until(lambda: services.jobs.get_job(job_id).status is JobStatus.FAILED, "the job told", 5)
                assert api.process.wait(timeout=20) in (
                    0,
                    -signal.SIGTERM,
                )  # 1 s grace, 3 s to tidy up, 8 s of the store's
            finally:
                process.send_signal(signal.SIGCONT)
        assert answer.exception() or answer.result().is_server_error

    error = services.jobs.get_job(job_id).error
    assert error is not None and error.kind == "upload-broken" and error.mend
