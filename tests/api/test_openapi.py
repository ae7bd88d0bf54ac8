"""The API's description of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from api.app import create_app
from api.openai.schemas import ModelList
from api.schemas import Alive, Problem, Ready
from stt_core.backfill.promoting import Promotion
from stt_core.backfill.views import ObjectList
from stt_core.jobs.job import JobView
from stt_core.tasks.views import ChunkList, JobList
from stt_core.transcript.document import Transcript
from stt_core.transcript.verbose import VerboseTranscript

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app().openapi()


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_operations_when_described_then_have_a_readable_id_a_summary_and_a_description(
    document: dict[str, Any],
) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]

    assert sorted(ids) == [
        "cancel_task", "complete_task", "create_session", "create_transcription", "create_translation",
        "delete_session", "delete_task", "get_openai_model", "get_session", "get_task_audio", "get_task_chunks",
        "get_task_events", "get_task_result",
        "get_task_status", "health", "list_bucket_objects", "list_openai_models", "list_tasks", "metrics",
        "presign_task", "promote_transcripts", "put_task", "ready", "retry_task", "upload_task",
    ]  # fmt: skip
    assert all(operation["summary"] and operation["description"] for _, _, operation in operations(document))


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/api/v1/tasks/upload", "post", {"202", "400", "409", "410", "413", "415", "422", "503", "507", "default"}),
        ("/api/v1/tasks/upload", "put", {"202", "400", "409", "410", "413", "415", "422", "503", "507", "default"}),
        ("/api/v1/tasks/presign", "post", {"201", "400", "409", "410", "413", "422", "503", "default"}),
        (
            "/api/v1/tasks/{job_id}/complete",
            "post",
            {"202", "400", "404", "409", "410", "413", "415", "503", "507", "default"},
        ),
        ("/api/v1/tasks", "get", {"200", "400", "503", "default"}),
        ("/api/v1/tasks/{job_id}", "get", {"200", "400", "404", "410", "503", "default"}),
        ("/api/v1/tasks/{job_id}", "delete", {"204", "400", "404", "409", "410", "503", "default"}),
        ("/api/v1/tasks/{job_id}/result", "get", {"200", "400", "404", "406", "409", "410", "503", "default"}),
        ("/api/v1/tasks/{job_id}/chunks", "get", {"200", "400", "404", "410", "503", "default"}),
        (
            "/api/v1/tasks/{job_id}/audio",
            "get",
            {"200", "206", "400", "404", "409", "410", "416", "503", "default"},
        ),
        ("/api/v1/tasks/{job_id}/events", "get", {"200", "400", "404", "410", "503", "default"}),
        ("/api/v1/tasks/{job_id}/cancel", "post", {"200", "400", "404", "409", "410", "503", "default"}),
        ("/api/v1/backfill/objects", "get", {"200", "400", "404", "503", "default"}),
        ("/api/v1/backfill/promote", "post", {"200", "400", "404", "409", "503", "default"}),
        ("/api/v1/tasks/{job_id}/retry", "post", {"202", "400", "404", "409", "410", "503", "default"}),
    ],
)
def test_answers_when_described_then_each_status_has_its_errors(
    document: dict[str, Any], path: str, method: str, statuses: set[str]
) -> None:
    responses = document["paths"][path][method]["responses"]

    assert set(responses) == statuses | {"401", "403", "429"}  # which every route has that is not open to all
    for status, response in responses.items():
        if status.startswith("2"):
            continue
        content = response["content"]["application/problem+json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        for example in content.get("examples", {}).values():
            assert Problem.model_validate(example["value"]).status == int(status)


def test_routes_when_described_then_all_but_the_open_ones_take_a_key(document: dict[str, Any]) -> None:
    open_to_all = {path for path, _, operation in operations(document) if "security" not in operation}

    assert open_to_all == {"/health", "/ready", "/api/v1/session"}
    assert set(document["components"]["securitySchemes"]) == {"key", "header"}


def test_references_when_followed_then_lead_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    wanted = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert wanted <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_examples_when_shown_then_are_what_the_models_say(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    assert [JobView.model_validate(example).status for example in schemas["JobView"]["examples"]] == [
        "queued",
        "completed",
    ]
    for model in (Transcript, VerboseTranscript, JobList, ChunkList, ObjectList, Promotion, ModelList, Alive, Ready):
        [example] = schemas[model.__name__]["examples"]
        assert model.model_validate(example).model_dump(mode="json") == example


def test_answers_when_they_are_text_then_each_has_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def is_shown(content: dict[str, Any]) -> bool:
        schema = content.get("schema", {})
        names = [one.get("$ref", "").rpartition("/")[2] for one in (schema, *schema.get("anyOf", []))]
        return bool(
            {"example", "examples"} & content.keys()
            or any(schemas.get(name, {}).get("examples") for name in names)
            or "example" in str(schemas.get(names[0], {}).get("properties"))
        )

    without = [
        (path, method, media_type)
        for path, method, operation in operations(document)
        for status, answer in operation["responses"].items()
        if status.startswith("2")
        for media_type, content in answer.get("content", {}).items()
        if not media_type.startswith(("audio/", "video/")) and not is_shown(content)
    ]
    assert without == []


def test_upload_form_when_described_then_has_the_fields_others_rely_on(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["UploadForm"]

    assert list(schema["properties"]) == [
        "model", "language", "languages", "priority", "track", "channels", "strategy", "allow_partial", "prompt",
        "translate", "temperature", "word_timestamps", "metadata", "callback_url", "filename", "deduplicate", "file",
        "source_url",
    ]  # fmt: skip
    assert "required" not in schema


@pytest.mark.parametrize("method", ["post", "put"])
def test_upload_when_described_then_has_every_kind_of_body_and_its_options(
    document: dict[str, Any], method: str
) -> None:
    operation = document["paths"]["/api/v1/tasks/upload"][method]

    assert set(operation["requestBody"]["content"]) == {
        "multipart/form-data", "application/json", "application/octet-stream",
    }  # fmt: skip
    assert {"filename", "metadata", "idempotency-key"} <= {parameter["name"] for parameter in operation["parameters"]}
