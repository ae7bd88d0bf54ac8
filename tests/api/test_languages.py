"""`languages`: the choice of a recording's language is limited, whichever way the recording comes in."""

from __future__ import annotations

import json

import httpx
import pytest

from stt_core.options import JobOptions
from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.conftest import UPLOAD, kind_of, upload, wav
from tests.api.test_ways_in import PRESIGN
from tests.multilingual_model import MODEL, make_multilingual_model

TWO = ("auto", ("de", "en"))


@pytest.fixture(scope="module", autouse=True)
def _multilingual_model(server_settings: Settings) -> None:
    server_settings.whisper_models_dir.mkdir(parents=True, exist_ok=True)
    make_multilingual_model(server_settings.whisper_models_dir / f"ggml-{MODEL}.bin")


def kept(services: Services, response: httpx.Response) -> tuple[str, tuple[str, ...]]:
    """Return the language and the languages of an accepted job."""
    assert response.is_success, response.text
    answer = response.json()
    options: JobOptions = services.jobs.get_job(answer.get("job", answer)["job_id"]).options
    return options.language, options.languages


@pytest.mark.parametrize("languages", ["en,de", " German , en", ["en", "de"], ["en,de", "de"], '["en", "de"]'], ids=str)
def test_upload_when_languages_are_in_the_form_or_the_query_then_the_job_keeps_them_in_order(
    client: httpx.Client, services: Services, languages: str | list[str]
) -> None:
    asked = {"model": MODEL, "languages": languages}
    form = client.post(UPLOAD, files={"file": ("a.wav", wav())}, data=asked)
    query = client.put(UPLOAD, content=wav(), params=asked)

    assert kept(services, form) == kept(services, query) == TWO
    assert form.json()["language"] == "auto"


@pytest.mark.parametrize("languages", ["en,de", ["en", "de"]], ids=str)
def test_presign_when_languages_are_a_list_or_a_text_then_the_job_keeps_them(
    client: httpx.Client, services: Services, languages: str | list[str]
) -> None:
    announced = client.post(PRESIGN, json={"filename": "talk.wav", "model": MODEL, "languages": languages})

    assert kept(services, announced) == TWO


def test_upload_when_there_is_one_language_to_choose_from_then_it_is_the_jobs(
    client: httpx.Client, services: Services
) -> None:
    assert kept(services, upload(client, model=MODEL, languages="de")) == ("de", ())
    assert kept(services, upload(client, model=MODEL, languages="")) == ("auto", ())


def test_upload_when_languages_are_the_same_in_another_order_then_it_is_the_same_job(client: httpx.Client) -> None:
    one, same, other = (
        client.put(UPLOAD, content=wav(0.3), params={"model": MODEL, "deduplicate": "true", "languages": languages})
        for languages in ("de,en", "en,de", "de,fr")
    )

    assert same.json()["job_id"] == one.json()["job_id"] != other.json()["job_id"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model": MODEL, "languages": "de,klingon"}, "klingon"),
        ({"model": MODEL, "languages": "de,auto"}, "auto"),
        ({"model": MODEL, "languages": "de,en", "language": "de"}, "language='de'"),
        ({"model": MODEL, "languages": "de,en", "language": "auto-per-chunk"}, "auto-per-chunk"),
        ({"model": "demo", "languages": "de,en"}, "demo speaks English only"),
    ],
)
@pytest.mark.usefixtures("assert_nothing_left")
def test_upload_when_languages_leave_nothing_to_choose_then_422(
    client: httpx.Client, fields: dict[str, str], named: str
) -> None:
    response = upload(client, **fields)
    presigned = client.post(PRESIGN, json={"filename": "a.wav", **fields})

    for refused in (response, presigned):
        assert (refused.status_code, kind_of(refused)) == (422, "language-choice")
        assert named in refused.json()["detail"]
        assert refused.json()["mend"]


@pytest.mark.parametrize("languages", ["[", json.dumps([1]), json.dumps([["de"]])])
@pytest.mark.usefixtures("assert_nothing_left")
def test_upload_when_languages_are_no_list_of_texts_then_400(client: httpx.Client, languages: str) -> None:
    response = upload(client, model=MODEL, languages=languages)

    assert (response.status_code, kind_of(response)) == (400, "invalid-input")
    assert "languages" in response.json()["detail"]
