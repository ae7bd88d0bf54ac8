"""The objects of the sources over HTTP: their states, their versions, and promoting one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stt_core.access.api_key import Scope
from stt_core.backfill.objects import BucketObjects
from stt_core.backfill.partitions import partition_key
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.sources import BackfillSource
from tests.api.backfills import complete_version, discover, open_version
from tests.api.conftest import Serve, kind_of, opened, own_settings
from tests.api.documentation import example, run

OBJECTS = "/api/v1/backfill/objects"
PROMOTE = "/api/v1/backfill/promote"


@pytest.fixture
def settings(server_settings: Settings) -> Settings:
    return own_settings(
        server_settings, backfill_sources=(BackfillSource(bucket="calls"), BackfillSource(bucket="gone"))
    )


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    with opened(settings) as services:
        services.store.in_bucket("calls").ensure_bucket()
        yield services


@pytest.fixture
def client(serve: Serve, settings: Settings, services: Services) -> Iterator[httpx.Client]:
    with serve(settings) as client:
        yield client


def test_objects_when_listed_then_each_has_its_state_and_its_versions(client: httpx.Client, services: Services) -> None:
    discover(services, "a missing.wav")
    running = open_version(services, discover(services, 'b/ü "running".wav'))
    complete_version(services, discover(services, "c.wav", etag="e2"), etag="e1")
    done = discover(services, "d.wav")
    current = complete_version(services, done, model="base")
    candidate = complete_version(services, done, model="large")
    failed = open_version(services, discover(services, "e%2F...wav"))
    services.tasks.cancel_task(failed)

    answer = client.get(OBJECTS, params={"bucket": "calls"}).raise_for_status().json()

    assert answer["next_cursor"] is None
    assert {item["key"]: item["state"] for item in answer["objects"]} == {
        "a missing.wav": "missing",
        'b/ü "running".wav': "running",
        "c.wav": "stale",
        "d.wav": "done",
        "e%2F...wav": "failed",
    }
    by_key = {item["key"]: item for item in answer["objects"]}
    assert by_key['b/ü "running".wav']["versions"][0]["url"] == f"/api/v1/tasks/{running}"
    versions = by_key["d.wav"]["versions"]
    assert [(version["job_id"], version["is_current"], version["model"]) for version in versions] == [
        (candidate, False, "large"),
        (current, True, "base"),
    ]
    assert client.get(f"{versions[0]['url']}/result").json()["text"] == "Guten Morgen."
    assert by_key["e%2F...wav"]["partition"] == "calls/e%252F..%2Ewav"
    assert by_key["e%2F...wav"]["dagster_url"].endswith("partition=calls%2Fe%25252F..%252Ewav")


def test_objects_when_asked_for_by_prefix_state_and_page_then_no_other_comes(
    client: httpx.Client, services: Services
) -> None:
    for key in ("2026/1.wav", "2026/2.wav", "2026/3.wav", "2027/1.wav"):
        discover(services, key)
    complete_version(services, partition_key("calls", "2026/2.wav"))
    wanted = {"bucket": "calls", "prefix": "2026/", "state": "missing", "limit": "1"}

    first = client.get(OBJECTS, params=wanted).json()
    second = client.get(OBJECTS, params=wanted | {"cursor": first["next_cursor"]}).json()

    assert [item["key"] for item in first["objects"] + second["objects"]] == ["2026/1.wav", "2026/3.wav"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize("path", [f"{OBJECTS}?bucket=nowhere", PROMOTE])
def test_bucket_when_no_source_is_in_it_then_404_that_names_those_there_are(client: httpx.Client, path: str) -> None:
    refused = client.post(path, json={"bucket": "nowhere", "model": "base"}) if path == PROMOTE else client.get(path)
    assert (refused.status_code, kind_of(refused)) == (404, "bucket-not-configured")
    assert "BACKFILL_SOURCES has calls" in refused.json()["mend"]


def test_model_when_promoted_then_its_transcripts_are_the_current_ones_and_in_the_output(
    client: httpx.Client, services: Services, settings: Settings
) -> None:
    both, one = discover(services, "both.wav"), discover(services, "one.wav")
    complete_version(services, one, model="base")
    complete_version(services, both, model="base")
    better = complete_version(services, both, model="large")
    wanted = {"bucket": "calls", "model": "large"}

    first = client.post(PROMOTE, json=wanted).raise_for_status().json()
    again = client.post(PROMOTE, json=wanted | {"prefix": "bo"}).raise_for_status().json()

    assert first == {"promoted": 1, "current": 0, "without": 1, "failed": [], "next_cursor": None}
    assert again == {"promoted": 0, "current": 1, "without": 0, "failed": [], "next_cursor": None}
    assert BucketObjects.of(services).get(both).current_job_id == better
    assert better.encode() in services.store.get_bytes("transcripts/calls/both.wav.json")


def test_object_when_its_output_is_not_there_then_fails_by_itself(
    serve: Serve, services: Services, settings: Settings
) -> None:
    sources = [BackfillSource(bucket="calls", prefix="a"), BackfillSource(bucket="calls", prefix="b", output="nowhere")]
    for key in ("a.wav", "b.wav"):
        complete_version(services, discover(services, key), model="large")
    with serve(settings.model_copy(update={"backfill_sources": tuple(sources)})) as client:
        answer = client.post(PROMOTE, json={"bucket": "calls", "model": "large"}).raise_for_status().json()

    [failed] = answer["failed"]
    assert (failed["key"], failed["error"]["kind"]) == ("b.wav", "bucket-not-found")
    assert "BACKFILL_SOURCES" in failed["error"]["mend"]
    assert answer["current"] == 1


def test_object_when_changed_then_the_transcript_of_its_old_bytes_is_not_promoted(
    client: httpx.Client, services: Services
) -> None:
    partition = discover(services, "a.wav")
    complete_version(services, partition, model="large", etag="e0")
    current = complete_version(services, partition, model="base")

    answer = client.post(PROMOTE, json={"bucket": "calls", "key": "a.wav", "model": "large"}).json()

    assert (answer["promoted"], answer["without"]) == (0, 1)
    assert BucketObjects.of(services).get(partition).current_job_id == current


def test_object_when_not_known_then_promoting_it_is_404_as_the_description_says(client: httpx.Client) -> None:
    refused = client.post(PROMOTE, json={"bucket": "calls", "key": "absent.wav", "model": "base"})
    assert (refused.status_code, kind_of(refused)) == (404, "partition-not-found")
    answers = client.get("/openapi.json").json()["paths"][PROMOTE]["post"]["responses"]
    assert "partition-not-found" in answers["404"]["content"]["application/problem+json"]["examples"]


def test_examples_of_the_documentation_when_executed_then_each_is_answered(
    client: httpx.Client, services: Services, tmp_path: Path
) -> None:
    partition = discover(services, "2026/a.wav")
    base = complete_version(services, partition, model="base")
    complete_version(services, partition, model="large-v3-turbo")
    printed = run(example(client, "Backfills", "sh"), tmp_path)

    answers = [json.loads(line) for line in printed.splitlines()]
    assert [len(answer["objects"]) for answer in answers[:2]] == [1, 0]
    assert [answer["promoted"] for answer in answers[2:]] == [1, 1]
    assert BucketObjects.of(services).get(partition).current_job_id == base


def test_objects_when_keys_are_asked_for_then_admin_alone_sees_them(
    serve: Serve, settings: Settings, services: Services
) -> None:
    keys = {scope: services.keys.create(scope, [scope]).token.get_secret_value() for scope in Scope}
    with serve(settings.model_copy(update={"api_keys": "required"})) as client:
        for scope, token in keys.items():
            headers = {"Authorization": f"Bearer {token}"}
            seen = client.get(OBJECTS, params={"bucket": "calls"}, headers=headers)
            promoted = client.post(PROMOTE, json={"bucket": "calls", "model": "base"}, headers=headers)
            expected = 200 if scope is Scope.ADMIN else 403
            assert (seen.status_code, promoted.status_code) == (expected, expected), scope


def test_objects_when_the_bucket_of_the_source_is_not_there_then_says_so(client: httpx.Client) -> None:
    refused = client.get(OBJECTS, params={"bucket": "gone", "prefix": "nothing/"})
    assert (refused.status_code, kind_of(refused)) == (404, "bucket-missing")
    assert "There is no bucket gone." in refused.json()["detail"]
    assert "BACKFILL_SOURCES" in refused.json()["mend"]
