"""What a job can be asked for beside its text: channels apart, how speech is found, languages, gaps."""

from __future__ import annotations

import io
import json
import subprocess
import wave

import numpy as np
import numpy.typing as npt
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from stt_core.audio.chunking import cut_fixed
from stt_core.services import Services
from stt_core.transcript.formats import render
from tests.dagster.conftest import DATA, Configure, EngineCalls, RunJob, Transcribe, Upload
from tests.multilingual_model import LANGUAGE, MODEL, WORDS


def samples(name: str) -> npt.NDArray[np.int16]:
    """Return a recording of the test data at 16 kHz."""
    command = [get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(DATA / name), "-ac", "1", "-ar", "16000"]
    decoded = subprocess.run([*command, "-f", "s16le", "-"], check=True, timeout=60, stdout=subprocess.PIPE)
    return np.frombuffer(decoded.stdout, np.int16)


def wav(*channels: npt.NDArray[np.int16]) -> bytes:
    """Return a WAV of the channels, the shorter ones filled up with silence."""
    frames = np.zeros((max(map(len, channels)), len(channels)), np.int16)
    for number, channel in enumerate(channels):
        frames[: len(channel), number] = channel
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as audio:
        audio.setparams((len(channels), 2, 16_000, 0, "NONE", ""))
        audio.writeframes(frames.tobytes())
    return buffer.getvalue()


def words(text: str) -> list[str]:
    return "".join(letter for letter in text.lower() if letter.isalpha() or letter.isspace()).split()


def test_run_when_channels_are_split_gives_each_sentence_to_its_channel(
    services: Services, transcribe: Transcribe
) -> None:
    job_id = transcribe("call.ogg", channels="split")
    transcript = services.tasks.get_task_result(job_id)
    truth = json.loads((DATA / "call.json").read_text())["segments"]
    for channel in (0, 1):
        said = [segment for segment in transcript.segments if segment.channel == channel]
        spoken = [segment for segment in truth if segment["channel"] == channel]
        assert {segment.speaker for segment in said} == {f"Channel {channel + 1}"}
        assert words(" ".join(s.text for s in said)) == words(" ".join(s["text"] for s in spoken))
        assert [segment.start for segment in said] == pytest.approx([s["start"] for s in spoken], abs=0.3)
    starts = [segment.start for segment in transcript.segments]
    assert starts == sorted(starts)
    assert render(transcript, "txt").startswith("Channel 1: ")
    assert {chunk.channel for chunk in services.chunks.get_chunks(job_id)} == {0, 1}
    assert services.store.list_keys(f"audio/{job_id}/") == []


def test_run_when_a_recording_with_one_channel_is_split_gives_what_the_mix_gives(
    services: Services, transcribe: Transcribe
) -> None:
    mixed, split = transcribe("sample-08.ogg"), transcribe("sample-08.ogg", channels="split")
    assert all(chunk.cached for chunk in services.chunks.get_chunks(split))
    segments = services.tasks.get_task_result(split).segments
    assert segments == services.tasks.get_task_result(mixed).segments
    assert {segment.speaker for segment in segments} == {None}


def test_run_when_three_channels_are_split_transcribes_each(services: Services, transcribe: Transcribe) -> None:
    recording = wav(samples("sample-01.mp3"), np.zeros(16_000, np.int16), samples("sample-08.ogg"))
    job_id = transcribe(recording, channels="split")
    said = {0: "", 2: ""}
    for segment in services.tasks.get_task_result(job_id).segments:
        assert segment.channel is not None
        said[segment.channel] += f" {segment.text}"
    for channel, name in ((0, "sample-01.txt"), (2, "sample-08.txt")):
        assert words(said[channel])[:8] == words((DATA / name).read_text())[:8]


def test_run_when_all_channels_together_are_too_long_fails_for_good(
    services: Services, transcribe: Transcribe, upload: Upload, run_job: RunJob, configure: Configure
) -> None:
    configure(max_audio_seconds=30.0)
    transcribe("call.ogg")
    split = upload("call.ogg", channels="split")
    assert not run_job(split).success
    error = services.jobs.get_job(split).error
    assert error is not None
    assert (error.kind, error.transient) == ("audio-too-long", False)


@pytest.mark.usefixtures("multilingual_model")
def test_run_when_channels_were_split_before_transcribes_nothing_again(
    transcribe: Transcribe, engine_calls: EngineCalls
) -> None:
    asked = {"channels": "split", "model": MODEL, "language": LANGUAGE}
    transcribe("call.ogg", **asked)
    before = len(engine_calls())
    transcribe("call.ogg", **asked)
    assert (before, len(engine_calls())) == (1, 1)


@pytest.mark.usefixtures("multilingual_model")
def test_run_when_cuts_are_fixed_sends_no_chunk_without_speech_to_the_engine(
    services: Services, transcribe: Transcribe, configure: Configure, engine_calls: EngineCalls
) -> None:
    seconds = 57.0
    configure(chunk_max_seconds=5.0)  # with pauses of up to 9 s there are windows without a word
    recording = wav(samples("pauses.ogg")[: int(seconds * 16_000)])
    job_id = transcribe(recording, strategy="fixed", model=MODEL, language=LANGUAGE)
    chunks = services.chunks.get_chunks(job_id)
    windows = len(cut_fixed(int(seconds * 16_000), max_seconds=5.0))
    assert sum(call.count("-f") for call in engine_calls()) == len(chunks) < windows
    spoken = [s for s in json.loads((DATA / "pauses.json").read_text())["segments"] if s["end"] < seconds]
    for chunk in chunks:
        assert any(s["start"] < chunk.end_seconds + 0.3 and chunk.start_seconds - 0.3 < s["end"] for s in spoken)
    for sentence in spoken:
        middle = (sentence["start"] + sentence["end"]) / 2
        assert any(chunk.start_seconds <= middle <= chunk.end_seconds for chunk in chunks)


@pytest.mark.usefixtures("multilingual_model")
@pytest.mark.parametrize("strategy", ["vad", "fixed"])
def test_run_when_a_strategy_is_asked_for_cuts_by_it(services: Services, transcribe: Transcribe, strategy: str) -> None:
    job_id = transcribe("sample-08.ogg", strategy=strategy, model=MODEL, language=LANGUAGE)
    [chunk] = services.chunks.get_chunks(job_id)
    duration = services.tasks.get_task_result(job_id).duration_seconds
    assert (chunk.end_seconds - chunk.start_seconds == pytest.approx(duration, abs=1e-3)) is (strategy == "fixed")
    assert (chunk.words, chunk.language) == (len(WORDS), LANGUAGE)
    assert chunk.dbfs is not None
    assert -60 < chunk.dbfs < 0


@pytest.mark.usefixtures("multilingual_model")
def test_run_when_decoding_options_are_asked_for_tells_the_engine_and_keeps_their_texts_apart(
    services: Services, transcribe: Transcribe, engine_calls: EngineCalls
) -> None:
    asked = {"model": MODEL, "language": LANGUAGE}
    wished = asked | {"prompt": "Ada", "translate": True, "temperature": 0.2, "word_timestamps": False}
    plain, job_id = transcribe("sample-08.ogg", **asked), transcribe("sample-08.ogg", **wished)
    before, call = engine_calls()
    assert not {"--prompt", "-tr", "-tp"} & set(before)
    assert call[call.index("--prompt") + 1] == "Ada"
    assert call[call.index("-tp") + 1] == "0.2"
    assert "-tr" in call
    assert all(segment.words for segment in services.tasks.get_task_result(plain).segments)
    transcript = services.tasks.get_task_result(job_id)
    assert transcript.task == "translate"
    assert transcript.segments and not any(segment.words for segment in transcript.segments)
    assert transcript.statistics.words > 0
