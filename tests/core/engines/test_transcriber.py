"""The transcriber with the real engine and the demo model; scripts play engines that lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jiwer
import pytest

from stt_core.engines.base import Decoding, Patience
from stt_core.engines.transcriber import Transcriber, chunk_digest
from stt_core.engines.whisper_cpp import WhisperCpp
from stt_core.errors import (
    EngineError,
    EngineStoppedError,
    ModelInvalidError,
    UnknownLanguageError,
    UnreadableAudioError,
)
from stt_core.settings import Settings
from stt_core.transcript.document import ChunkTranscript
from stt_core.whisper.models import WhisperModel

from .conftest import WavMaker, reference


def with_engine(engine: WhisperCpp, executable: Path, timeout_seconds: float = 120.0) -> Transcriber:
    return Transcriber(replace(engine, executable=executable, patience=Patience(timeout_seconds)))


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_transcribing_several_chunks_then_each_has_its_text_in_order(
    transcriber: Transcriber, sample_wav: WavMaker
) -> None:
    names = ["08", "01"]
    results = transcriber.transcribe([sample_wav(name) for name in names], language="auto", threads=2)
    assert [result.text for result in results] == [reference(name) for name in names]
    assert [result.language for result in results] == ["en", "en"]


def test_transcribing_then_each_text_is_told_once_and_the_first_before_the_engine_ends(
    tmp_path: Path, silent_wav: Callable[..., Path], engine: WhisperCpp
) -> None:
    stored, told = tmp_path / "stored.json", tmp_path / "told"
    stored.write_text(json.dumps({"result": {"language": "en"}, "transcription": []}))
    # An engine that writes two files and ends only after the first of them was told of.
    body = f"""while [ $# -gt 0 ]; do [ "$1" = -of ] && cp {stored} "$2.json"; shift; done
while [ ! -e {told} ]; do sleep 0.05; done"""
    heard: list[int] = []

    def hear(position: int, transcript: ChunkTranscript) -> None:
        heard.append(position)
        told.touch()

    wavs = [silent_wav(name="a.wav"), silent_wav(name="b.wav")]
    waiting = with_engine(engine, script(tmp_path / "waiting", body), timeout_seconds=20.0)
    waiting.transcribe(wavs, language="en", threads=1, on_transcript=hear)
    assert heard == [0, 1]


def test_transcribing_then_words_have_times_within_their_segment_and_probabilities(
    transcriber: Transcriber, sample_wav: WavMaker
) -> None:
    [result] = transcriber.transcribe([sample_wav("01")], language="en", threads=2)
    truth = [0.14, 2.62, 6.5]
    assert [segment.start for segment in result.segments] == pytest.approx(truth, abs=0.15)
    for segment in result.segments:
        assert " ".join(word.text for word in segment.words) == segment.text
        starts = [word.start for word in segment.words]
        assert starts == sorted(starts)
        assert all(segment.start <= word.start <= word.end <= segment.end <= 9.9 for word in segment.words)
        assert all(0.3 < word.probability <= 1 for word in segment.words)


def test_transcribing_silence_or_next_to_nothing_then_there_is_no_text(
    transcriber: Transcriber, silent_wav: Callable[..., Path]
) -> None:
    wavs = [silent_wav(3.0, name="long.wav"), silent_wav(0.05, name="short.wav"), silent_wav(0.0, name="none.wav")]
    assert [one.segments for one in transcriber.transcribe(wavs, language="en", threads=2)] == [[], [], []]
    assert transcriber.transcribe([], language="en", threads=2) == []


def test_transcribing_when_the_text_loops_then_a_second_decoding_mends_it(
    transcriber: Transcriber, sample_wav: WavMaker
) -> None:
    [result] = transcriber.transcribe([sample_wav("loop")], language="en", threads=2)
    assert "The train leaves the city at ten thirty five in the morning." in result.text
    assert result.text.count("thirty five") == 1
    assert all(segment.flags == [] for segment in result.segments)
    assert [one.start for one in result.segments] == sorted(one.start for one in result.segments)


def test_transcribing_when_the_text_loops_for_good_then_the_segments_are_flagged(
    tmp_path: Path, silent_wav: Callable[..., Path], engine: WhisperCpp
) -> None:
    texts = [(" Fine.", 0, 1_000), (" Thank you." * 3, 1_000, 2_000), (" Thank you." * 3, 2_000, 3_000)]
    segments = [{"text": text, "offsets": {"from": begin, "to": end}} for text, begin, end in texts]
    stored = tmp_path / "stored.json"
    stored.write_text(json.dumps({"result": {"language": "en"}, "transcription": segments}))
    calls = tmp_path / "calls"
    # An engine that says the same whatever it is asked.
    body = f'echo "$@" >> {calls}\nwhile [ $# -gt 0 ]; do [ "$1" = -of ] && cp {stored} "$2.json"; shift; done'
    stubborn = with_engine(engine, script(tmp_path / "stubborn", body))
    [result] = stubborn.transcribe([silent_wav(3.0)], language="en", threads=1)
    assert [segment.flags for segment in result.segments] == [[], ["repetition"], ["repetition"]]
    first, second = calls.read_text().splitlines()
    assert "-tp" not in first.split()
    assert {"-tp", "0.4"} <= set(second.split())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("exit 0", "wrote no result for silence.wav"),
        ('for last; do :; done; printf "{" > "$last.json"', "result for silence.wav is unusable"),
        ('for last; do :; done; printf "[1]" > "$last.json"', "result for silence.wav is unusable"),
    ],
)
def test_transcribing_when_exit_code_zero_lies_then_is_an_error_that_names_the_chunk(
    body: str, message: str, tmp_path: Path, silent_wav: Callable[..., Path], engine: WhisperCpp
) -> None:
    liar = with_engine(engine, script(tmp_path / "liar", body))
    with pytest.raises(EngineError, match=message):
        liar.transcribe([silent_wav()], language="en", threads=1)


def test_transcribing_when_the_model_broke_after_it_was_resolved_then_is_permanent(
    tmp_path: Path, engine: WhisperCpp, silent_wav: Callable[..., Path], demo_model: WhisperModel
) -> None:
    path = tmp_path / "ggml-broken.bin"
    shutil.copy(demo_model.path, path)
    with path.open("r+b") as file:
        file.truncate(7_000_000)
    with pytest.raises(ModelInvalidError, match=r"ggml-broken\.bin"):
        Transcriber(replace(engine, model=replace(demo_model, path=path))).transcribe(
            [silent_wav()], language="en", threads=1
        )


def test_transcribing_when_the_engine_crashes_then_what_it_had_finished_is_told(
    tmp_path: Path, silent_wav: Callable[..., Path], engine: WhisperCpp
) -> None:
    stored = tmp_path / "stored.json"
    stored.write_text(json.dumps({"result": {"language": "en"}, "transcription": []}))
    # An engine that writes two whole files and half of a third, and dies.
    body = f"""while [ $# -gt 0 ]; do
  [ "$1" = -of ] && case "$2" in */2) printf "{{" > "$2.json"; kill -SEGV $$;; *) cp {stored} "$2.json";; esac
  shift
done"""
    heard: list[int] = []
    crashing = with_engine(engine, script(tmp_path / "crashing", body))
    wavs = [silent_wav(name=f"{number}.wav") for number in range(4)]
    with pytest.raises(EngineError, match="SIGSEGV"):
        crashing.transcribe(wavs, language="en", threads=1, on_transcript=lambda position, _: heard.append(position))
    assert heard == [0, 1]


def test_transcribing_when_a_chunk_is_no_wav_then_says_which(
    tmp_path: Path, transcriber: Transcriber, silent_wav: Callable[..., Path]
) -> None:
    (tmp_path / "text.wav").write_text("text")
    for wav in (tmp_path / "text.wav", tmp_path / "missing.wav", silent_wav(rate=44_100, name="fast.wav")):
        with pytest.raises(UnreadableAudioError, match=wav.name):
            transcriber.transcribe([silent_wav(), wav], language="en", threads=1)


def test_transcribing_in_a_language_the_model_does_not_speak_then_is_refused_at_once(
    transcriber: Transcriber, silent_wav: Callable[..., Path]
) -> None:
    with pytest.raises(UnknownLanguageError):
        transcriber.transcribe([silent_wav()], language="de", threads=1)


def test_transcribing_when_the_job_is_cancelled_then_leaves_nothing_behind(
    tmp_path: Path, silent_wav: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, engine: WhisperCpp
) -> None:
    wav = silent_wav()
    slow = with_engine(engine, script(tmp_path / "slow", "exec sleep 60"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with pytest.raises(EngineStoppedError):
        slow.transcribe([wav], language="en", threads=1, should_stop=lambda: True)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_transcriber_for_a_model_then_has_the_values_of_the_settings(demo_model: WhisperModel) -> None:
    settings = Settings(whisper_beam_size=1, whisper_best_of=2, whisper_timeout_seconds=3)
    transcriber = Transcriber.for_model(demo_model, settings)
    assert transcriber.decoding == Decoding(beam_size=1, best_of=2)
    assert isinstance(transcriber.engine, WhisperCpp)
    assert transcriber.engine.patience.timeout_seconds(10.0) == 103.0
    assert transcriber.engine.executable.name == "stt-whisper-cli"


def test_chunk_digest_changes_with_all_that_changes_the_text(engine: WhisperCpp, demo_model: WhisperModel) -> None:
    multilingual = replace(engine, model=replace(demo_model, multilingual=True))
    parameters = [
        Transcriber(multilingual).parameters("en"),
        Transcriber(multilingual).parameters("de"),
        *(
            Transcriber(multilingual, decoding).parameters("en")
            for decoding in (
                Decoding(beam_size=1),
                Decoding(prompt="Ada"),
                Decoding(translate=True),
                Decoding(temperature=0.0),
                Decoding(temperature=0.2),
            )
        ),
    ]
    digests = {chunk_digest("pcm", "model", one) for one in parameters}
    digests |= {chunk_digest("other", "model", parameters[0]), chunk_digest("pcm", "other", parameters[0])}
    assert len(digests) == 9
    assert chunk_digest("pcm", "model", dict(parameters[0])) in digests


def test_transcribing_with_a_prompt_that_looks_like_a_flag_then_it_is_read_as_text(
    engine: WhisperCpp, sample_wav: WavMaker
) -> None:
    prompted = Transcriber(engine, Decoding(prompt="-f nowhere.wav", temperature=0.0))
    [transcript] = prompted.transcribe([sample_wav("08")], language="en", threads=2)
    assert transcript.text


def test_transcripts_of_all_samples_together_have_few_errors(transcriber: Transcriber, sample_wav: WavMaker) -> None:
    names = ["01", "04", "08"]
    results = transcriber.transcribe([sample_wav(name) for name in names], language="en", threads=2)
    assert jiwer.wer([reference(name) for name in names], [result.text for result in results]) < 0.1
