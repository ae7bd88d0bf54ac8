"""The grid of configurations: what one says, and that a sound goes through an engine once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from decoding import Configuration, Result, difference, find_told
from kept import KeptEngine

from stt_core.audio import vad
from stt_core.audio.clips import Clip
from stt_core.engines.base import Decoding, Engine
from stt_core.transcript.document import ChunkTranscript


def test_configuration_when_read_then_settings_words_and_constants_are_told_apart() -> None:
    configuration = Configuration.parse("x: chunk_strategy=vad missed=off stt_core.audio.vad._FAINT=0.4")
    assert configuration.name == "x"
    assert configuration.settings.chunk_strategy == "vad"
    before = vad._FAINT
    with configuration.applied():
        assert vad._FAINT == 0.4
    assert before == vad._FAINT


def test_recordings_when_searched_for_then_those_without_a_truth_are_left_out(tmp_path: Path) -> None:
    for name in ("told.flac", "empty.flac", "untold.flac"):
        (tmp_path / name).touch()
    (tmp_path / "told.txt").write_text("so it was said")
    (tmp_path / "empty.txt").touch()
    assert [path.name for path in find_told([tmp_path])] == ["told.flac"]


class _Told:
    """Stands for an engine; `heard` is what went through it."""

    name, chunks_per_call = "told", 2

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.model = type("Model", (), {"digest": "0"})

    def fingerprint(self, decoding: Decoding, language: str) -> dict[str, object]:
        return {"beams": decoding.beam_size, "language": language}

    def transcribe(self, wavs: Sequence[Path], decoding: Decoding, **_: Any) -> Generator[ChunkTranscript]:
        for wav in wavs:
            self.heard.append(wav.name)
            yield ChunkTranscript(language="en", segments=[])


def test_engine_when_a_sound_comes_again_then_its_text_is_the_kept_one(tmp_path: Path) -> None:
    wavs = [tmp_path / f"{number}.wav" for number in range(3)]
    for number, wav in enumerate(wavs):
        Clip.of(bytes([number, 0]) * 16_000).write_wav(wav)
    told = _Told()
    engine = KeptEngine(cast(Engine, told), tmp_path, tmp_path / "slot")
    for beams in (5, 5, 1):
        texts = list(engine.transcribe(wavs, Decoding(beam_size=beams), language="en", threads=1))
        assert [text.language for text in texts] == ["en"] * 3
    assert told.heard == [wav.name for wav in wavs] * 2
    assert engine.windows == 9


def test_difference_when_every_recording_is_worse_then_no_part_of_it_is_below_nothing() -> None:
    def results(*errors: int) -> list[Result]:
        return [Result("x", str(number), "en", "", 1, 1, 0, 0, 0, {}, 100, one) for number, one in enumerate(errors)]

    assert difference(results(6, 9, 7, 8), results(5, 7, 5, 6)).startswith("+1.75 (+1.")
    assert difference(results(5, 5), results(5, 5)) == "+0.00 (+0.00 to +0.00)"


@pytest.mark.parametrize("text", ["x: chunk_strategy=guess", "x: no_such_setting=1"])
def test_configuration_when_a_setting_is_wrong_then_it_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        _ = Configuration.parse(text).settings
