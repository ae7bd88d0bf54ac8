"""The forms of a transcript, over HTTP."""

from __future__ import annotations

import httpx
import pytest

from stt_core.services import Services
from stt_core.transcript.document import Transcript
from tests.api.conftest import kind_of, publish, upload


@pytest.fixture(scope="module")
def result(client: httpx.Client, services: Services) -> str:
    """The path of a result that is there."""
    job_id = upload(client).json()["job_id"]
    publish(services, job_id)
    return f"/api/v1/tasks/{job_id}/result"


@pytest.mark.parametrize(
    ("format", "content_type", "body"),
    [
        ("text", "text/plain; charset=utf-8", "Guten Morgen.\n"),
        ("srt", "application/x-subrip; charset=utf-8", "1\n00:00:00,250 --> 00:00:01,500\nGuten Morgen.\n"),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n\n00:00:00.250 --> 00:00:01.500\nGuten Morgen.\n"),
        ("tsv", "text/tab-separated-values; charset=utf-8", "start\tend\ttext\n250\t1500\tGuten Morgen.\n"),
    ],
)
def test_result_when_a_form_is_asked_for_by_name_or_by_type_then_is_in_that(
    client: httpx.Client, result: str, format: str, content_type: str, body: str
) -> None:
    by_name = client.get(result, params={"format": format})
    by_type = client.get(result, headers={"Accept": content_type.partition(";")[0]})

    assert (by_name.text, by_name.headers["content-type"]) == (body, content_type)
    assert (by_type.text, by_type.headers["content-type"]) == (body, content_type)


def test_result_when_verbose_then_has_what_openais_has(client: httpx.Client, result: str) -> None:
    whole = client.get(result, params={"format": "verbose_json"}).json()
    brief = client.get(result, params={"format": "verbose_json", "word_timestamps": "false"}).json()

    assert (whole["task"], whole["language"], whole["duration"]) == ("transcribe", "german", 2.5)
    assert whole["words"][0] == {"word": "Guten", "start": 0.25, "end": 0.75}
    assert whole["segments"][0]["text"] == "Guten Morgen."
    assert "words" not in brief


def test_result_when_words_are_not_wanted_then_segments_have_none(client: httpx.Client, result: str) -> None:
    whole = client.get(result).json()
    brief = client.get(result, params={"word_timestamps": "false"}).json()

    assert [word["text"] for word in whole["segments"][0]["words"]] == ["Guten", "Morgen."]
    assert "words" not in brief["segments"][0]
    assert Transcript.model_validate(brief).text == "Guten Morgen."


def test_result_when_lines_are_to_be_short_then_subtitles_have_more(client: httpx.Client, result: str) -> None:
    two_lines = client.get(result, params={"format": "srt", "max_line_width": 8})
    two_cues = client.get(result, params={"format": "srt", "max_line_width": 8, "max_line_count": 1})

    assert two_lines.text == "1\n00:00:00,250 --> 00:00:01,500\nGuten\nMorgen.\n"
    assert [block.splitlines()[2] for block in two_cues.text.split("\n\n")] == ["Guten", "Morgen."]


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("text/*", "text/plain"),
        ("*/*, text/vtt", "text/vtt"),
        ("text/vtt;q=0.5, application/json;q=0.9", "application/json"),
        ("application/json;q=0, */*;q=0.1, text/vtt;q=x", "text/vtt"),
        ("", "application/json"),
    ],
)
def test_result_when_the_client_accepts_several_then_gets_what_it_likes_best(
    client: httpx.Client, result: str, accept: str, media_type: str
) -> None:
    response = client.get(result, headers={"Accept": accept})

    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, media_type)
    assert response.headers["vary"] == "Accept"


def test_result_when_the_client_accepts_none_then_406_names_those_there_are(client: httpx.Client, result: str) -> None:
    response = client.get(result, headers={"Accept": "application/pdf"})

    assert (response.status_code, kind_of(response)) == (406, "not-acceptable")
    assert "text/vtt" in response.json()["mend"]


@pytest.mark.parametrize(
    "params",
    [
        {"format": "docx"},
        {"format": "txt"},
        {"formt": "srt"},
        {"format": "srt", "max_line_width": "0"},
        {"format": "srt", "max_line_count": "2"},
        {"format": "json", "max_line_width": "40"},
        {"max_line_width": "40"},
    ],
)
def test_result_when_a_parameter_makes_no_sense_then_400(
    client: httpx.Client, result: str, params: dict[str, str]
) -> None:
    response = client.get(result, params=params)

    assert (response.status_code, kind_of(response)) == (400, "invalid-input")
