"""OpenAI's own client against our API: what it sends and what it understands, with jobs that are really run."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from dagster import DagsterInstance
from openai import AsyncOpenAI, OpenAI
from openai.types.audio import (
    Transcription,
    TranscriptionStreamEvent,
    TranscriptionVerbose,
    Translation,
    TranslationVerbose,
)

from stt_core.jobs.job import JobStatus, Priority
from stt_core.services import Services
from stt_core.settings import Settings
from tests.api.conftest import Serve, connect, opened, own_settings, wav
from tests.api.documentation import SECTIONS
from tests.multilingual_model import LANGUAGE, MODEL, make_multilingual_model

DATA = Path(__file__).parents[1] / "data" / "audio"
RECORDING = DATA / "sample-08.ogg"


@contextmanager
def working(services: Services) -> Iterator[None]:
    """Run each job that waits, as Dagster's daemon would, in a thread of this process."""
    from stt_dagster.definitions import defs
    from stt_dagster.jobs import run_request

    over = threading.Event()

    def work() -> None:
        while not over.wait(0.02):
            for job in services.jobs.list_jobs(status=JobStatus.QUEUED).jobs:
                request = run_request(job, services.settings)
                with DagsterInstance.ephemeral() as instance:
                    defs.get_job_def(request.job_name or "").execute_in_process(
                        run_config=request.run_config, instance=instance, raise_on_error=False, tags=request.tags
                    )

    thread = threading.Thread(target=work)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stt_dagster.resources.open_services", lambda: services)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.fixture(scope="module")
def system(server_settings: Settings, serve: Serve) -> Iterator[tuple[OpenAI, Services]]:
    """The client of an API whose jobs are run, and the truth behind it."""
    settings = own_settings(server_settings, whisper_beam_size=1, whisper_best_of=1, chunk_max_seconds=5.0)
    make_multilingual_model(settings.whisper_models_dir / f"ggml-{MODEL}.bin")
    with opened(settings) as services, serve(settings) as client, working(services):
        yield connect(client), services


@pytest.fixture(scope="module")
def ours(system: tuple[OpenAI, Services]) -> OpenAI:
    return system[0]


@pytest.fixture(scope="module")
def text(ours: OpenAI) -> str:
    """What the recording says, by our own client's account."""
    return ours.audio.transcriptions.create(file=RECORDING, model="whisper-1").text


def test_transcription_when_asked_for_as_json_then_the_text_of_a_job_of_high_priority(
    system: tuple[OpenAI, Services], text: str
) -> None:
    ours, services = system
    answer = ours.audio.transcriptions.with_raw_response.create(
        file=RECORDING, model="demo", language="en", prompt="Numbers.", temperature=0.2
    )
    parsed = answer.parse()

    assert isinstance(parsed, Transcription) and parsed.text
    assert parsed.usage is not None and parsed.usage.type == "duration" and parsed.usage.seconds > 5
    job = services.jobs.get_job(answer.headers["x-job-id"])
    assert (job.status, job.priority, job.filename) == (JobStatus.COMPLETED, Priority.HIGH, RECORDING.name)
    assert (job.options.model, job.options.language) == ("demo", "en")
    assert (job.options.prompt, job.options.temperature, job.options.translate) == ("Numbers.", 0.2, False)


@pytest.mark.parametrize("asked", [{"languages": ["en", "de"]}, {"extra_body": {"languages": "en,de"}}], ids=str)
def test_transcription_when_languages_are_limited_then_the_job_chooses_from_them(
    system: tuple[OpenAI, Services], asked: dict[str, Any]
) -> None:
    ours, services = system
    answer = ours.audio.transcriptions.with_raw_response.create(file=RECORDING, model=MODEL, **asked)
    job = services.jobs.get_job(answer.headers["x-job-id"])
    assert (job.options.language, job.options.languages) == ("auto", ("de", "en"))
    assert job.language == LANGUAGE


def test_transcription_when_languages_leave_nothing_to_choose_then_unprocessable(ours: OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        ours.audio.transcriptions.create(file=RECORDING, model=MODEL, language="de", languages=["de", "en"])
    assert (caught.value.param, caught.value.code) == ("languages", "language_choice")


def test_transcription_when_asked_for_as_text_or_subtitles_then_a_string(ours: OpenAI, text: str) -> None:
    def transcribe(form: str) -> str:
        answer = ours.audio.transcriptions.create(file=RECORDING, model="whisper-1", response_format=form)  # type: ignore[call-overload]
        assert isinstance(answer, str)
        return answer

    assert transcribe("text") == text + "\n"
    assert transcribe("srt").startswith("1\n00:00:0")
    assert transcribe("vtt").startswith("WEBVTT\n\n00:00:0")


def test_transcription_when_verbose_then_every_field_that_the_client_knows_is_there(ours: OpenAI, text: str) -> None:
    answer = ours.audio.transcriptions.create(
        file=RECORDING,
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )

    checked = TranscriptionVerbose.model_validate(answer.model_dump(warnings="error"))  # the client itself checks none
    assert (checked.text, checked.language) == (text, "english")
    assert checked.segments and checked.words
    assert " ".join(segment.text for segment in checked.segments) == text
    assert [word.word for word in checked.words] == text.split()
    assert all(0 <= word.start <= word.end <= checked.duration for word in checked.words)
    assert all(segment.avg_logprob <= 0 < segment.compression_ratio for segment in checked.segments)


def test_transcription_when_verbose_then_has_segments_unless_only_words_are_wanted(ours: OpenAI, text: str) -> None:
    by_default = ours.audio.transcriptions.create(file=RECORDING, model="whisper-1", response_format="verbose_json")
    only_words = ours.audio.transcriptions.create(
        file=RECORDING, model="whisper-1", response_format="verbose_json", timestamp_granularities=["word"]
    )

    assert by_default.segments and by_default.words is None
    assert only_words.words and only_words.segments is None


def test_transcription_when_streamed_then_deltas_and_at_last_the_whole_text(ours: OpenAI, text: str) -> None:
    with ours.audio.transcriptions.create(file=RECORDING, model="gpt-4o-transcribe", stream=True) as stream:
        events = list(stream)

    assert {event.type for event in events[:-1]} == {"transcript.text.delta"}
    last = events[-1]
    assert last.type == "transcript.text.done" and last.text == text
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta").split() == text.split()


def test_transcription_when_the_asynchronous_client_asks_then_the_same(ours: OpenAI, text: str) -> None:
    async def transcribe() -> tuple[str, list[TranscriptionStreamEvent]]:
        async with AsyncOpenAI(base_url=ours.base_url, api_key="any", max_retries=0) as client:
            whole = await client.audio.transcriptions.create(file=RECORDING, model="whisper-1")
            stream = await client.audio.transcriptions.create(file=RECORDING, model="whisper-1", stream=True)
            return whole.text, [event async for event in stream]

    whole, events = asyncio.run(transcribe())

    assert whole == text
    assert [event.text for event in events if event.type == "transcript.text.done"] == [text]


def test_translation_when_asked_for_then_the_job_translates(system: tuple[OpenAI, Services]) -> None:
    ours, services = system
    answer = ours.audio.translations.with_raw_response.create(file=RECORDING, model=MODEL)
    verbose = ours.audio.translations.create(file=RECORDING, model=MODEL, response_format="verbose_json")

    assert isinstance(answer.parse(), Translation) and answer.parse().text
    assert services.jobs.get_job(answer.headers["x-job-id"]).options.translate
    assert TranslationVerbose.model_validate(verbose.model_dump()).language == "english"


def test_models_when_listed_then_each_can_be_looked_at(ours: OpenAI) -> None:
    models = list(ours.models.list())

    assert {"whisper-1", "demo", MODEL} <= {model.id for model in models}
    assert all(model.object == "model" and model.created > 0 for model in models)
    assert [ours.models.retrieve(model.id) for model in models] == models


def test_model_when_it_is_not_there_then_not_found(ours: OpenAI) -> None:
    for ask in (
        lambda: ours.models.retrieve("no-such-model"),
        lambda: ours.audio.transcriptions.create(file=RECORDING, model="no-such-model"),
        lambda: ours.audio.transcriptions.create(file=RECORDING, model="base"),  # known, and not downloaded
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        assert caught.value.type == "invalid_request_error"
        assert caught.value.request_id


@pytest.mark.parametrize(
    ("options", "param", "code"),
    [
        ({"temperature": 3.0}, "temperature", "invalid_input"),
        ({"response_format": "diarized_json"}, "response_format", "invalid_input"),
        ({"language": "klingon"}, "language", "unknown_language"),
        ({"include": ["logprobs"]}, "include[]", "invalid_input"),
        ({"stream": True, "response_format": "srt"}, None, "invalid_input"),
        ({"file": ("notes.txt", b"Dear diary. " * 400)}, "file", "unsupported_format"),
        ({"file": ("a.wav", b"")}, "file", "empty_file"),
    ],
)
def test_transcription_when_the_request_is_wrong_then_bad_request(
    ours: OpenAI, options: dict[str, object], param: str | None, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ours.audio.transcriptions.create(**{"file": RECORDING, "model": "whisper-1"} | options)  # type: ignore[call-overload]
    assert (caught.value.param, caught.value.code, caught.value.type) == (param, code, "invalid_request_error")
    assert caught.value.message


def test_transcription_when_the_recording_cannot_be_decoded_then_unprocessable_and_not_sent_again(
    system: tuple[OpenAI, Services],
) -> None:
    ours, services = system
    before = len(services.jobs.list_jobs().jobs)
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        ours.with_options(max_retries=2).audio.transcriptions.create(file=("a.wav", wav(0)), model="whisper-1")
    assert caught.value.code == "no_audio"
    job = services.jobs.get_job(caught.value.response.headers["x-job-id"])
    assert job.status is JobStatus.FAILED
    assert len(services.jobs.list_jobs().jobs) == before + 1


def test_stream_when_the_recording_cannot_be_decoded_then_the_client_raises(ours: OpenAI) -> None:
    stream = ours.audio.transcriptions.create(file=("a.wav", wav(0)), model="whisper-1", stream=True)
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "no_audio"


def test_route_when_there_is_none_then_not_found_in_the_same_form(ours: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ours.embeddings.create(input="x", model="whisper-1")
    assert caught.value.code == "not_found"


def test_documentation_when_its_example_is_run_then_it_prints_the_text(
    ours: OpenAI, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = SECTIONS["OpenAI's client"].partition("```python\n")[2].partition("```")[0]
    shutil.copy(RECORDING, tmp_path / "meeting.ogg")
    monkeypatch.chdir(tmp_path)

    exec(program.replace("http://127.0.0.1:8000/v1", str(ours.base_url)), {})

    printed = capsys.readouterr().out
    assert printed.startswith(text)
    assert "whisper-1" in printed.splitlines()[-1]
