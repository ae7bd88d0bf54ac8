"""Requests of OpenAI's API that wait: what they see meanwhile, how long they do, and who goes away before."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from uuid import uuid4

import httpx
import openai
import pytest
import uvicorn

from api.app import create_app
from stt_core import object_keys
from stt_core.jobs.job import ChunkModel, ChunkStatus, JobStatus
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.transcript.document import ChunkSegment, ChunkTranscript
from tests.api.conftest import Serve, claim, connect, publish, wav
from tests.conftest import wait_until


def test_transcription_when_the_job_takes_too_long_then_told_of_it_once(
    serve: Serve, settings: Settings, services: Services
) -> None:
    with serve(settings.model_copy(update={"openai_wait_seconds": 0.2})) as client:
        before = len(services.jobs.list_jobs(limit=1000).jobs)
        with pytest.raises(openai.InternalServerError) as caught:
            connect(client, retries=2).audio.transcriptions.create(file=("a.wav", wav()), model="whisper-1")

    job_id = caught.value.response.headers["x-job-id"]
    assert (caught.value.status_code, caught.value.code) == (504, "still_at_work")
    assert f"/api/v1/tasks/{job_id}/result" in caught.value.message
    assert services.jobs.get_job(job_id).status is JobStatus.QUEUED
    assert len(services.jobs.list_jobs(limit=1000).jobs) == before + 1


def test_stream_when_a_chunk_is_done_then_its_text_comes_before_the_end(
    client: httpx.Client, services: Services
) -> None:
    stream = connect(client).audio.transcriptions.create(file=("a.wav", wav()), model="whisper-1", stream=True)
    job_id = stream.response.headers["x-job-id"]
    claim(services, job_id)
    chunks = [
        ChunkModel(
            chunk_id=f"{job_id}:{index}",
            job_id=job_id,
            index=index,
            attempt=1,
            start_seconds=index,
            end_seconds=index + 1,
            speech_seconds=1,
        )
        for index in range(2)
    ]
    services.chunks.replace_chunks(job_id, chunks)
    heard = ChunkTranscript(language="de", segments=[ChunkSegment(start=0, end=1, text=" Guten")])
    services.store.put_bytes(key := object_keys.chunk_result(job_id * 2), heard.model_dump_json().encode())
    services.chunks.update_chunk(chunks[0].model_copy(update={"status": ChunkStatus.DONE, "result_key": key}))

    first = next(stream)
    assert first.type == "transcript.text.delta" and first.delta == "Guten"
    assert services.jobs.get_job(job_id).status is JobStatus.PROCESSING
    whole = publish(services, job_id)
    assert [event.text for event in stream if event.type == "transcript.text.done"] == [whole.text]


@pytest.mark.parametrize("stream", ["true", "false"])
def test_transcription_when_the_client_goes_away_then_its_job_is_cancelled(
    client: httpx.Client, services: Services, log: list[str], stream: str
) -> None:
    before = {job.job_id for job in services.jobs.list_jobs(limit=1000).jobs}
    form = {"model": "whisper-1", "stream": stream}
    with (
        pytest.raises(httpx.ReadTimeout),
        httpx.Client(base_url=client.base_url, timeout=0.5) as impatient,
        impatient.stream("POST", "/v1/audio/transcriptions", files={"file": ("a.wav", wav())}, data=form) as answer,
    ):
        assert answer.status_code == 200
        raise httpx.ReadTimeout("a stream says all the time that it is alive")

    [job] = [job for job in services.jobs.list_jobs(limit=1000).jobs if job.job_id not in before]
    wait_until(lambda: services.jobs.get_job(job.job_id).status is JobStatus.CANCELLED, "the job's end")
    wait_until(lambda: any("POST /v1/audio/transcriptions -> " in line for line in log), "the end of the answer")
    assert not [line for line in log if "Error" in line]


def test_transcription_when_the_client_goes_away_and_comes_again_with_its_key_then_it_is_told_of_the_same_job(
    client: httpx.Client, services: Services, log: list[str]
) -> None:
    request = {
        "url": "/v1/audio/transcriptions",
        "headers": {"Idempotency-Key": uuid4().hex},
        "files": {"file": ("a.wav", wav())},
        "data": {"model": "whisper-1", "stream": "true"},
    }
    with (
        httpx.Client(base_url=client.base_url) as impatient,
        impatient.stream("POST", **request) as answer,  # type: ignore[arg-type]
    ):
        job_id = answer.headers["x-job-id"]
    wait_until(lambda: any("went away" in line for line in log), "the API seeing that")

    with client.stream("POST", **request) as again:  # type: ignore[arg-type]
        assert again.headers["x-job-id"] == job_id
        whole = publish(services, job_id)
        assert whole.text in again.read().decode()
    assert services.jobs.get_job(job_id).status is JobStatus.COMPLETED


def test_transcriptions_when_more_wait_than_may_upload_at_once_then_none_keeps_another_out(
    client: httpx.Client, services: Services
) -> None:
    before = {job.job_id for job in services.jobs.list_jobs(limit=1000).jobs}
    connections = 45  # there are 40 slots for uploads

    def new_jobs() -> list[JobStatus]:
        return [job.status for job in services.jobs.list_jobs(limit=1000).jobs if job.job_id not in before]

    form = {"data": {"model": "whisper-1", "stream": "true"}, "files": {"file": ("a.wav", wav())}}
    with ExitStack() as waiting:
        for _ in range(connections):
            client_of_one = waiting.enter_context(httpx.Client(base_url=client.base_url, timeout=10))
            waiting.enter_context(client_of_one.stream("POST", "/v1/audio/transcriptions", **form))  # type: ignore[arg-type]
        assert new_jobs() == [JobStatus.QUEUED] * connections
    wait_until(lambda: new_jobs() == [JobStatus.CANCELLED] * connections, "the end of every job", 30)


def test_transcription_when_mongodb_is_away_then_server_error_with_a_time_to_come_back(
    serve: Serve, settings: Settings
) -> None:
    away = settings.model_copy(update={"mongodb_url": "mongodb://127.0.0.1:1", "mongodb_timeout_seconds": 0.2})
    with serve(away) as client, pytest.raises(openai.InternalServerError) as caught:
        connect(client).audio.transcriptions.create(file=("a.wav", wav()), model="whisper-1")
    assert (caught.value.status_code, caught.value.code) == (503, "database_unavailable")
    assert caught.value.type == "server_error"
    assert caught.value.response.headers["retry-after"]


def test_transcription_when_the_api_is_stopped_then_its_job_goes_on(settings: Settings, services: Services) -> None:
    before = {job.job_id for job in services.jobs.list_jobs(limit=1000).jobs}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(create_app(settings), log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/audio/transcriptions"
        form = {"model": "whisper-1", "stream": "true"}
        with (
            pytest.raises(httpx.TransportError),
            httpx.stream("POST", url, files={"file": ("a.wav", wav())}, data=form, timeout=20) as answer,
        ):
            server.should_exit = True
            answer.read()
        thread.join(timeout=20)

    [job] = [job for job in services.jobs.list_jobs(limit=1000).jobs if job.job_id not in before]
    assert job.status is JobStatus.QUEUED
