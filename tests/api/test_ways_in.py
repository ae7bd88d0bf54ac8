"""The other ways in: the recording as the body, from a URL, or put into the object store; repeated requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from stt_core import object_keys
from stt_core.jobs.job import JobStatus
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.stores.documents import utc_now
from tests.api.conftest import UPLOAD, Serve, kind_of, upload, wav
from tests.web import Site

PRESIGN = "/api/v1/tasks/presign"


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("content_type", [None, "audio/wav", "application/octet-stream"])
def test_upload_when_the_recording_is_the_body_then_its_options_are_in_the_query(
    client: httpx.Client, services: Services, method: str, content_type: str | None
) -> None:
    content = wav(0.2)
    headers = {"Content-Type": content_type} if content_type else {}
    options = {"filename": "Gespräch.wav", "priority": "low", "metadata": '{"a.b": [1, null]}'}
    response = client.request(method, UPLOAD, content=content, headers=headers, params=options)

    assert response.status_code == 202
    view = response.json()
    assert (view["filename"], view["priority"], view["metadata"]) == ("Gespräch.wav", "low", {"a.b": [1, None]})
    assert services.store.get_bytes(object_keys.source(view["job_id"], "wav")) == content


def test_upload_when_the_body_has_no_name_then_it_is_given_one(client: httpx.Client) -> None:
    assert client.put(UPLOAD, content=iter([wav()[:30], wav()[30:]])).json()["filename"] == "recording"


@pytest.mark.parametrize(
    ("content", "query", "status", "kind"),
    [
        (b"", {}, 400, "empty-file"),
        (b"Dear diary", {}, 415, "unsupported-format"),
        (wav(), {"langauge": "en"}, 400, "invalid-input"),
        (wav(), {"source_url": "http://127.0.0.1/a.wav"}, 400, "invalid-input"),
        (wav(), {"metadata": "[1]"}, 400, "invalid-input"),
        (wav(), {"metadata": "{"}, 400, "invalid-input"),
        (wav(), {"metadata": '{"a": NaN}'}, 400, "invalid-input"),
        (wav(), {"metadata": '{"a": "\\ud800"}'}, 400, "invalid-input"),
        (wav(), {"metadata": json.dumps({"a": "x" * 8192})}, 400, "invalid-input"),
        (wav(), {"temperature": "2"}, 400, "invalid-input"),
        (wav(), {"prompt": "x" * 2001}, 400, "invalid-input"),
        (wav(), {"callback_url": "ftp://example.org/"}, 400, "invalid-input"),
        (wav(), {"callback_url": "https://me:secret@example.org/"}, 400, "invalid-input"),
        (wav(), {"translate": "true"}, 400, "translation-unsupported"),  # the demo model speaks English
    ],
)
@pytest.mark.usefixtures("assert_nothing_left")
def test_upload_when_a_body_or_its_query_is_wrong_then_refused_and_nothing_is_left(
    client: httpx.Client, content: bytes, query: dict[str, str], status: int, kind: str
) -> None:
    response = client.put(UPLOAD, content=content, params=query)

    assert (response.status_code, kind_of(response)) == (status, kind)


@pytest.mark.usefixtures("assert_nothing_left")
def test_upload_when_a_body_exceeds_the_limit_then_413(serve: Serve, settings: Settings) -> None:
    with serve(settings.model_copy(update={"max_upload_bytes": 100_000})) as small:
        response = small.put(UPLOAD, content=iter([wav(1.0)] * 20))  # chunked: nothing is announced

    assert (response.status_code, kind_of(response)) == (413, "file-too-large")


def test_upload_when_options_decide_about_the_text_then_the_job_keeps_them(
    client: httpx.Client, services: Services
) -> None:
    response = upload(client, prompt="-Ada\0 \n Lovelace", temperature="0.3", word_timestamps="false")
    kept = services.jobs.get_job(response.json()["job_id"]).options

    assert (kept.prompt, kept.temperature, kept.word_timestamps) == ("-Ada Lovelace", 0.3, False)


# Idempotency keys


def keyed(client: httpx.Client, key: str, content: bytes | None = None, **query: str) -> httpx.Response:
    return client.put(
        UPLOAD, content=wav() if content is None else content, params=query, headers={"Idempotency-Key": key}
    )


def test_upload_when_repeated_with_its_key_then_answered_with_the_first_job(client: httpx.Client) -> None:
    key = uuid4().hex
    first, again = keyed(client, key), keyed(client, key)

    assert "idempotent-replayed" not in first.headers
    assert (again.status_code, again.headers["idempotent-replayed"]) == (first.status_code, "true")
    assert again.json()["job_id"] == first.json()["job_id"]
    assert again.headers["location"] == first.headers["location"]


@pytest.mark.parametrize("other", [{"content": wav(0.3)}, {"priority": "high"}, {"filename": "b.wav"}])
def test_upload_when_its_key_was_another_request_s_then_422(client: httpx.Client, other: dict[str, Any]) -> None:
    key = uuid4().hex
    assert keyed(client, key).status_code == 202

    assert kind_of(keyed(client, key, **other)) == "idempotency-mismatch"


def test_upload_when_it_was_refused_then_its_key_is_free(client: httpx.Client) -> None:
    key = uuid4().hex
    assert keyed(client, key, language="klingon").status_code == 400

    assert keyed(client, key).status_code == 202


def test_upload_when_many_come_at_once_with_one_key_then_there_is_one_job(client: httpx.Client) -> None:
    key = uuid4().hex
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: keyed(client, key, wav(2.0)), range(8)))

    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json()["job_id"] for answer in answers if answer.status_code == 202}) == 1
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 409)
    assert keyed(client, key, wav(2.0)).headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256])
def test_upload_when_its_key_is_none_then_400(client: httpx.Client, key: str) -> None:
    assert kind_of(client.put(UPLOAD, content=wav(), headers={"Idempotency-Key": key.encode()})) == "invalid-input"


# The same bytes


def test_upload_when_deduplicated_then_answered_with_the_job_of_the_same_bytes_and_options(
    client: httpx.Client, services: Services
) -> None:
    content = wav(0.7)
    first = client.put(UPLOAD, content=content).json()["job_id"]
    other = client.put(UPLOAD, content=content, params={"deduplicate": "true", "channels": "split"})
    again = client.put(UPLOAD, content=content, params={"deduplicate": "true", "filename": "other.wav"})

    assert "deduplicated" not in other.headers
    assert (again.status_code, again.headers["deduplicated"], again.json()["job_id"]) == (202, "true", first)
    client.post(f"/api/v1/tasks/{first}/cancel")
    assert client.put(UPLOAD, content=content, params={"deduplicate": "true"}).json()["job_id"] != first


# Straight into the object store


def test_presign_when_put_and_completed_then_the_job_is_queued_with_its_bytes(
    client: httpx.Client, services: Services
) -> None:
    content = wav(0.4)
    announced = client.post(PRESIGN, json={"filename": "talk.wav", "size": len(content), "metadata": {"n": 1}})
    assert announced.status_code == 201
    job, target = announced.json()["job"], announced.json()["upload"]
    assert (job["status"], job["metadata"]) == ("pending", {"n": 1})
    complete = f"{announced.headers['location']}/complete"
    assert kind_of(client.post(complete)) == "upload-missing"

    httpx.request(target["method"], target["url"], content=content).raise_for_status()
    done = client.post(complete)
    httpx.put(target["url"], content=b"something else").raise_for_status()  # too late to change anything

    assert (done.status_code, done.json()["status"]) == (202, "queued")
    assert client.post(complete).json()["job_id"] == job["job_id"]
    stored = services.jobs.get_job(job["job_id"])
    assert stored.source is not None
    assert services.store.get_bytes(stored.source.key) == content
    assert stored.source.size_bytes == len(content)
    assert stored.member in services.queue.members()


def test_recording_when_behind_a_long_tag_then_its_format_is_found_whichever_way_it_comes(
    client: httpx.Client, services: Services
) -> None:
    cover = bytes(200_000)
    lengths = bytes(len(cover) >> shift & 0x7F for shift in (21, 14, 7, 0))
    content = b"ID3\x04\0\0" + lengths + cover + wav(0.2)
    announced = client.post(PRESIGN, json={"filename": "talk.mp3", "size": len(content)}).json()
    httpx.request("PUT", announced["upload"]["url"], content=content).raise_for_status()
    put = client.post(f"/api/v1/tasks/{announced['job']['job_id']}/complete").json()

    for job_id in (put["job_id"], upload(client, content, "talk.mp3").json()["job_id"]):
        source = services.jobs.get_job(job_id).source
        assert source is not None and source.format == "wav"


def test_presign_when_tags_have_no_end_then_refused(client: httpx.Client) -> None:
    content = (b"ID3\x03" + bytes(6)) * 6000
    announced = client.post(PRESIGN, json={"filename": "tags.mp3", "size": len(content)}).json()
    httpx.request("PUT", announced["upload"]["url"], content=content).raise_for_status()
    assert kind_of(client.post(f"/api/v1/tasks/{announced['job']['job_id']}/complete")) == "unsupported-format"


def test_presign_when_repeated_with_its_key_then_answered_with_the_same_job_and_a_url_that_works(
    client: httpx.Client,
) -> None:
    headers, body = {"Idempotency-Key": uuid4().hex}, {"filename": "talk.wav", "size": len(wav())}
    first, again = (client.post(PRESIGN, json=body, headers=headers) for _ in range(2))

    assert "idempotent-replayed" not in first.headers
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.json()["job"] == first.json()["job"]
    assert again.json().keys() == {"job", "upload"}
    assert again.json()["upload"]["expires_at"] == first.json()["upload"]["expires_at"]
    httpx.put(again.json()["upload"]["url"], content=wav()).raise_for_status()
    assert client.post(f"{again.headers['location']}/complete").json()["status"] == "queued"
    assert kind_of(client.post(PRESIGN, json=body | {"size": 1}, headers=headers)) == "idempotency-mismatch"


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [(b"", 400, "empty-file"), (b"Dear diary", 415, "unsupported-format"), (wav(4.0), 413, "file-too-large")],
)
def test_complete_when_what_was_put_is_not_usable_then_refused_until_it_is(
    serve: Serve, settings: Settings, services: Services, content: bytes, status: int, kind: str
) -> None:
    with serve(settings.model_copy(update={"max_upload_bytes": 100_000})) as small:
        announced = small.post(PRESIGN, json={"filename": "talk.wav"})
        url, complete = announced.json()["upload"]["url"], f"{announced.headers['location']}/complete"
        httpx.put(url, content=content).raise_for_status()
        refused = small.post(complete)
        httpx.put(url, content=wav()).raise_for_status()

        assert (refused.status_code, kind_of(refused)) == (status, kind)
        assert small.post(complete).json()["status"] == "queued"


@pytest.mark.parametrize("wrong", [{"filename": "a", "size": 3 * 1024**3}, {"filename": "a", "model": "none"}, {}])
@pytest.mark.usefixtures("assert_nothing_left")
def test_presign_when_wrong_then_refused_and_nothing_is_left(client: httpx.Client, wrong: dict[str, Any]) -> None:
    assert client.post(PRESIGN, json=wrong).status_code in (400, 413)


def test_complete_when_the_job_ended_before_then_says_so(client: httpx.Client, services: Services) -> None:
    announced = client.post(PRESIGN, json={"filename": "talk.wav"})
    httpx.put(announced.json()["upload"]["url"], content=wav()).raise_for_status()
    client.post(f"{announced.headers['location']}/cancel")

    assert kind_of(client.post(f"{announced.headers['location']}/complete")) == "job-failed"


# From elsewhere


@pytest.fixture
def site() -> Iterator[Site]:
    """A web site on this machine, which counts as public where it is allowed."""
    with Site() as site:
        yield site


@pytest.fixture
def fetching(serve: Serve, settings: Settings) -> Iterator[httpx.Client]:
    changed = {"source_url_allow": ("127.0.0.1",), "source_url_seconds": 2.0, "max_upload_bytes": 100_000}
    with serve(settings.model_copy(update=changed)) as client:
        yield client


def test_upload_when_the_recording_is_elsewhere_then_it_is_fetched(
    fetching: httpx.Client, services: Services, site: Site
) -> None:
    content = wav(0.3)
    site.pages["/talks/Gr%C3%BC%C3%9Fe.wav"] = content
    site.moved["/old"] = "/talks/Gr%C3%BC%C3%9Fe.wav"
    answers = [
        fetching.post(UPLOAD, json={"source_url": f"{site.url}/old", "metadata": {"n": [1]}, "allow_partial": True}),
        fetching.post(UPLOAD, files={"source_url": (None, f"{site.url}/talks/Gr%C3%BC%C3%9Fe.wav")}),
    ]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert [answer.json()["metadata"] for answer in answers] == [{"n": [1]}, {}]
    assert answers[1].json()["filename"] == "Grüße.wav"
    assert services.store.get_bytes(object_keys.source(answers[0].json()["job_id"], "wav")) == content


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/missing", 422, "source-unavailable"),
        ("/loop", 422, "source-unavailable"),
        ("/slow", 422, "source-unavailable"),
        ("/cut-off", 422, "source-unavailable"),
        ("/inside", 400, "forbidden-address"),
        ("/large", 413, "file-too-large"),
        ("/endless", 413, "file-too-large"),
        ("/text", 415, "unsupported-format"),
        ("/empty", 400, "empty-file"),
    ],
)
@pytest.mark.usefixtures("assert_nothing_left")
def test_upload_when_it_cannot_be_fetched_then_says_why_and_nothing_is_left(
    fetching: httpx.Client, site: Site, path: str, status: int, kind: str
) -> None:
    site.pages |= {"/large": wav(4.0), "/text": b"Dear diary", "/empty": b""}
    site.moved |= {"/loop": "/loop", "/inside": "http://127.0.0.2/a.wav"}
    response = fetching.post(UPLOAD, json={"source_url": f"{site.url}{path}"})

    assert (response.status_code, kind_of(response)) == (status, kind)


@pytest.mark.parametrize(
    "source_url", ["http://127.0.0.1:9/a.wav", "http://[::1]/", "http://169.254.169.254/latest", "http://localhost/"]
)
@pytest.mark.usefixtures("assert_nothing_left")
def test_upload_when_its_url_leads_inside_then_it_is_refused(client: httpx.Client, source_url: str) -> None:
    assert kind_of(client.post(UPLOAD, json={"source_url": source_url})) == "forbidden-address"


@pytest.mark.parametrize(
    "body",
    [b"{}", b"", b"{", b"[]", b"[" * 5000, b'{"source_url": 1}', b'{"source_url": "file:///etc/passwd"}',
     b'{"source_url": "http://me:secret@example.org/"}', b'{"file": "a"}', b'{"a": "' + b"x" * 70_000 + b'"}'],
)  # fmt: skip
@pytest.mark.usefixtures("assert_nothing_left")
def test_upload_when_its_json_is_wrong_then_400(client: httpx.Client, body: bytes) -> None:
    response = client.post(UPLOAD, content=body, headers={"Content-Type": "application/json"})

    assert (response.status_code, kind_of(response)) == (400, "invalid-input")


def test_upload_when_the_same_url_comes_again_with_its_key_then_the_first_job_is_answered(
    fetching: httpx.Client, site: Site
) -> None:
    body, headers = {"source_url": f"{site.url}/live.wav"}, {"Idempotency-Key": uuid4().hex}
    site.pages["/live.wav"] = wav(0.2)
    first = fetching.post(UPLOAD, json=body, headers=headers).json()["job_id"]
    site.pages["/live.wav"] = wav(0.3)  # the request is the URL, whatever is there

    assert fetching.post(UPLOAD, json=body, headers=headers).json()["job_id"] == first


def test_keys_when_a_first_request_died_before_it_wrote_its_job_then_the_next_writes_it(
    client: httpx.Client, services: Services
) -> None:
    key = uuid4().hex
    first = keyed(client, key).json()["job_id"]
    services.jobs.delete_job(first)
    again = keyed(client, key)

    assert (again.status_code, again.json()["job_id"]) == (202, first)
    assert "idempotent-replayed" not in again.headers


def test_keys_when_a_first_request_died_while_it_stored_the_bytes_then_the_next_replaces_it_after_a_while(
    client: httpx.Client, services: Services
) -> None:
    key = uuid4().hex
    first = services.jobs.get_job(keyed(client, key).json()["job_id"])
    pending = first.model_copy(update={"status": JobStatus.PENDING, "source": None, "updated_at": utc_now()})
    services.database.jobs.replace_one({"_id": first.job_id}, pending.to_document())
    early = keyed(client, key)
    assert (early.status_code, kind_of(early)) == (409, "request-in-progress")
    assert early.headers["retry-after"]

    long_ago = pending.model_copy(update={"updated_at": utc_now() - timedelta(minutes=6)})
    services.database.jobs.replace_one({"_id": first.job_id}, long_ago.to_document())
    late = keyed(client, key)
    assert late.status_code == 202
    assert late.json()["job_id"] != first.job_id
    assert services.jobs.get_job(first.job_id).status is JobStatus.FAILED
    assert keyed(client, key).json()["job_id"] == late.json()["job_id"]


def test_keys_when_a_day_is_over_then_they_are_forgotten(client: httpx.Client, services: Services) -> None:
    key = uuid4().hex
    first = keyed(client, key).json()["job_id"]
    record = services.database.idempotency.find_one({"job_id": first})
    assert record is not None
    old = record | {"created_at": utc_now() - timedelta(hours=25)}
    services.database.idempotency.replace_one({"_id": record["_id"]}, old)

    assert keyed(client, key, priority="high").json()["job_id"] != first
