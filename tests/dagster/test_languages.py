"""The language of a recording, with the real engine and a model that is multilingual by its form."""

from __future__ import annotations

import pytest

from stt_core.services import Services
from tests.dagster.conftest import EngineCalls, RunJob, Upload
from tests.multilingual_model import LANGUAGE, MODEL

pytestmark = pytest.mark.usefixtures("multilingual_model")


def languages_of(calls: list[list[str]]) -> list[tuple[str, int]]:
    """Return the language and the number of chunks of each call of the engine."""
    return [(call[call.index("-l") + 1], call.count("-f")) for call in calls]


def test_run_when_language_is_auto_detects_it_on_the_first_chunk_and_holds_it(
    services: Services, upload: Upload, run_job: RunJob, engine_calls: EngineCalls
) -> None:
    job_id = upload("noisy.ogg", model=MODEL)
    assert run_job(job_id).success
    chunks = services.chunks.get_chunks(job_id)
    assert len(chunks) > 1
    assert languages_of(engine_calls()) == [("auto", 1), (LANGUAGE, len(chunks) - 1)]
    assert [chunk.cached for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    transcript = services.tasks.get_task_result(job_id)
    assert transcript.language == services.tasks.get_task_status(job_id).language == LANGUAGE
    assert "water morning train" in transcript.text


def test_run_when_language_was_held_before_transcribes_nothing_again(
    services: Services, upload: Upload, run_job: RunJob, engine_calls: EngineCalls
) -> None:
    first, second, named = (upload("sample-08.ogg", model=MODEL, language=one) for one in ("auto", "auto", LANGUAGE))
    assert run_job(first).success
    before = len(engine_calls())
    assert run_job(second).success
    assert run_job(named).success
    assert (before, len(engine_calls())) == (1, 1)
    assert services.tasks.get_task_result(first).text == services.tasks.get_task_result(named).text


def test_run_when_language_is_auto_per_chunk_lets_each_chunk_detect_its_own(
    services: Services, upload: Upload, run_job: RunJob, engine_calls: EngineCalls
) -> None:
    job_id = upload("noisy.ogg", model=MODEL, language="auto-per-chunk")
    assert run_job(job_id).success
    chunks = services.chunks.get_chunks(job_id)
    assert languages_of(engine_calls()) == [("auto", len(chunks))]
    assert {chunk.language for chunk in chunks} == {LANGUAGE}
    assert services.tasks.get_task_result(job_id).language == LANGUAGE


def test_run_when_channels_are_split_holds_one_language_for_both(
    services: Services, upload: Upload, run_job: RunJob, engine_calls: EngineCalls
) -> None:
    job_id = upload("call.ogg", model=MODEL, channels="split")
    assert run_job(job_id).success
    assert languages_of(engine_calls()) == [("auto", 1), (LANGUAGE, len(services.chunks.get_chunks(job_id)) - 1)]


@pytest.mark.parametrize("asked", ["auto", "auto-per-chunk"])
def test_run_when_model_speaks_english_only_asks_the_engine_for_english(
    upload: Upload, run_job: RunJob, engine_calls: EngineCalls, asked: str
) -> None:
    assert run_job(upload("sample-08.ogg", language=asked)).success
    assert languages_of(engine_calls()) == [("en", 1)]
