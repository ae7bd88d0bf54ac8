"""Human speech through the whole system with real weights: `stt up`, an upload, and the words that come out."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from pathlib import Path

from stt_cli.demo import word_error_rate
from tests.speech.conftest import MODELS, Prompt
from tests.system.conftest import running_stack

#: Share of wrong, missing and added words that `tiny.en` may make of these prompts (194 s, 456 words): it made 2.6 %, a
#: quarter of it numbers written as digits.
MOST_ERRORS = 0.05
#: Seconds between two prompts.
PAUSE = 1.0


def join(prompts: list[Prompt]) -> bytes:
    """One telephone recording of all of them, with a pause after each."""
    content = io.BytesIO()
    with wave.open(content, "wb") as joined:
        joined.setparams((1, 2, 8_000, 0, "NONE", ""))
        for prompt in prompts:
            with wave.open(str(prompt.recording), "rb") as audio:
                joined.writeframes(audio.readframes(audio.getnframes()))
            joined.writeframes(bytes(2 * round(PAUSE * 8_000)))
    return content.getvalue()


def test_system_when_people_speak_then_few_words_are_wrong(
    real_model: Callable[[str], Path], prompts: list[Prompt], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    real_model("tiny.en")
    recording = join(prompts)
    with running_stack(
        tmp_path, WHISPER_MODELS_DIR=str(MODELS), WHISPER_MODEL="tiny.en", MAX_UPLOAD_BYTES="9000000"
    ) as stack:
        job_id = stack.upload("prompts.wav", recording).raise_for_status().json()["job_id"]
        assert stack.wait(job_id, wait_until, 150)["status"] == "completed"
        result = stack.client.get(f"/api/v1/tasks/{job_id}/result").raise_for_status().json()
    assert result["model"] == "tiny.en"
    said = " ".join(prompt.text for prompt in prompts)
    assert len(said.split()) > 400
    assert word_error_rate(said, result["text"]) <= MOST_ERRORS, result["text"]
