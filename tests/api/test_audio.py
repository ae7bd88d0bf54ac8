"""The recording of a job, for a player, and its chunks."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.recordings import parse_range
from stt_core import object_keys
from stt_core.errors import RangeNotSatisfiableError, StoreUnavailableError
from stt_core.jobs.job import ChunkModel, JobCreate, JobOptions
from stt_core.services import Services
from stt_core.stores.object_store import ObjectStore
from tests.api.conftest import UPLOAD, kind_of, upload, wav

#: More than two blocks of the store.
RECORDING = wav(80)


@pytest.fixture(scope="module")
def audio(client: httpx.Client) -> str:
    """Where a recording is played from."""
    return f"/api/v1/tasks/{upload(client, RECORDING, 'Straße “1”.wav').json()['job_id']}/audio"


def test_audio_when_asked_for_whole_then_is_what_was_uploaded(client: httpx.Client, audio: str) -> None:
    response = client.get(audio)

    assert response.status_code == 200
    assert response.content == RECORDING
    assert response.headers["content-type"] in ("audio/wav", "audio/x-wav")
    assert response.headers["content-length"] == str(len(RECORDING))
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["content-disposition"] == "inline; filename*=UTF-8''Stra%C3%9Fe%20%E2%80%9C1%E2%80%9D.wav"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-1500000", 100, 1_500_001),
        ("bytes=2000000-", 2_000_000, len(RECORDING)),
        ("bytes=-500", len(RECORDING) - 500, len(RECORDING)),
        ("bytes=5-99999999999", 5, len(RECORDING)),
        ("bytes=-99999999999", 0, len(RECORDING)),
    ],
)
def test_audio_when_a_range_is_asked_for_then_206_with_those_bytes(
    client: httpx.Client, audio: str, asked: str, start: int, end: int
) -> None:
    response = client.get(audio, headers={"Range": asked})

    assert response.status_code == 206
    assert response.content == RECORDING[start:end]
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{len(RECORDING)}"
    assert response.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", [f"bytes={len(RECORDING)}-", "bytes=99999999999-", "bytes=-0"])
def test_audio_when_the_range_is_outside_then_416_says_how_long_it_is(
    client: httpx.Client, audio: str, asked: str
) -> None:
    response = client.get(audio, headers={"Range": asked})

    assert (response.status_code, kind_of(response)) == (416, "range-not-satisfiable")
    assert response.headers["content-range"] == f"bytes */{len(RECORDING)}"


@pytest.mark.parametrize("asked", ["bytes=5-1", "bytes=-", "lines=1-2", "bytes=0-1,3-4", "bytes=a-b", "x"])
def test_audio_when_the_range_is_not_understood_then_it_is_ignored(
    client: httpx.Client, audio: str, asked: str
) -> None:
    with client.stream("GET", audio, headers={"Range": asked}) as response:
        assert response.status_code == 200
        assert response.headers["content-length"] == str(len(RECORDING))


def test_audio_when_the_range_is_of_a_version_then_counts_only_for_that(client: httpx.Client, audio: str) -> None:
    with client.stream("GET", audio) as whole:
        version = whole.headers["etag"]

    assert client.get(audio, headers={"Range": "bytes=0-9", "If-Range": version}).status_code == 206
    assert client.get(audio, headers={"Range": "bytes=0-9", "If-Range": '"other"'}).status_code == 200


def test_audio_when_the_recording_has_not_arrived_then_409(client: httpx.Client, services: Services) -> None:
    job = services.jobs.create_job(JobCreate(filename="a.wav", options=JobOptions(model="demo")))
    response = client.get(f"/api/v1/tasks/{job.job_id}/audio")

    assert (response.status_code, kind_of(response)) == (409, "recording-gone")


def test_audio_when_its_object_is_gone_then_404_by_name(client: httpx.Client, services: Services) -> None:
    job_id = upload(client).json()["job_id"]
    services.store.remove_prefix(object_keys.source_prefix(job_id))
    response = client.get(f"/api/v1/tasks/{job_id}/audio")

    assert (response.status_code, kind_of(response)) == (404, "object-not-found")


@pytest.mark.parametrize(
    "name", ['a"; filename="evil.exe', "a\r\nSet-Cookie: b=c", "ü/../\\ä.wav", "a%22;b'c*.wav", "\u202egpj.wav"]
)
def test_audio_when_its_name_is_hostile_then_the_header_holds_it_escaped(
    client: httpx.Client, services: Services, name: str
) -> None:
    job_id = client.put(UPLOAD, content=wav(), params={"filename": name}).json()["job_id"]
    response = client.get(f"/api/v1/tasks/{job_id}/audio")

    assert "set-cookie" not in response.headers
    begin, escaped = response.headers["content-disposition"].split("''")
    assert begin == "inline; filename*=UTF-8"
    assert re.fullmatch(r"[A-Za-z0-9._~%-]+", escaped)  # RFC 5987, 3.2.1
    assert unquote(escaped) == services.jobs.get_job(job_id).filename


def test_audio_when_the_store_fails_midway_then_the_connection_breaks_and_one_line_says_why(
    client: httpx.Client, audio: str, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ObjectStore.get_range

    def fail_later(store: ObjectStore, key: str, offset: int, *rest: Any, **options: Any) -> bytes:
        if offset:
            raise StoreUnavailableError("The object store is away.")  # between two blocks, as a named fault
        return read(store, key, offset, *rest, **options)

    monkeypatch.setattr(ObjectStore, "get_range", fail_later)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(audio)
    assert [line for line in log if "a recording breaks off" in line]
    assert not [line for line in log if "Traceback" in line]


def test_chunks_when_planned_then_are_listed_in_order(client: httpx.Client, services: Services) -> None:
    job_id = upload(client).json()["job_id"]
    path = f"/api/v1/tasks/{job_id}/chunks"
    assert client.get(path).json() == {"job_id": job_id, "chunks": []}

    services.chunks.replace_chunks(
        job_id,
        [
            ChunkModel(
                chunk_id=f"{job_id}:{i}", job_id=job_id, index=i, attempt=1,
                start_seconds=i, end_seconds=i + 1, speech_seconds=0.5,
            )
            for i in (1, 0)
        ],
    )  # fmt: skip
    chunks = client.get(path).json()["chunks"]

    assert [(chunk["index"], chunk["status"], chunk["start_seconds"]) for chunk in chunks] == [
        (0, "pending", 0.0), (1, "pending", 1.0),
    ]  # fmt: skip
    assert "result_key" not in chunks[0]


@given(st.text() | st.from_regex(r"bytes=\d*-\d*", fullmatch=True), st.integers(1, 10**12))
def test_range_when_the_header_is_anything_then_lies_in_the_file(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except RangeNotSatisfiableError:
        return
    assert found is None or 0 <= found.start < found.stop <= size


def test_range_when_asked_for_to_its_end_then_ends_there() -> None:
    assert parse_range("bytes=1-", 10) == range(1, 10)
