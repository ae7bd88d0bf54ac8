"""Sounds are told from text, and what was heard and not written is said."""

from __future__ import annotations

import numpy as np
import pytest

from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span
from stt_core.audio.silero import WINDOW_SAMPLES
from stt_core.audio.vad import Voice
from stt_core.transcript.document import ChunkSegment, ChunkTranscript, Transcript, Word
from stt_core.transcript.formats import FORMATS, render
from stt_core.transcript.merging import merge_chunks
from stt_core.transcript.sounds import is_label
from stt_core.transcript.verbose import verbose
from stt_core.warnings import WarningName


def voice(*spoken: tuple[float, float], seconds: float = 30.0) -> Voice:
    """A recording in which a voice is heard in these intervals."""
    probabilities = np.full(round(seconds * SAMPLE_RATE / WINDOW_SAMPLES), 0.02, np.float32)
    for start, end in spoken:
        probabilities[round(start * SAMPLE_RATE / WINDOW_SAMPLES) : round(end * SAMPLE_RATE / WINDOW_SAMPLES)] = 0.95
    return Voice(probabilities, round(seconds * SAMPLE_RATE))


def merged(voices: dict[int | None, Voice], *texts: tuple[float, float, str], heard: float = 30.0) -> Transcript:
    """The transcript of one chunk from 0 to `heard` seconds with these texts."""
    chunk = Chunk(index=0, spans=(Span(start=0, end=round(heard * SAMPLE_RATE)),), channel=next(iter(voices)))
    segments = [
        ChunkSegment(start=start, end=end, text=text, words=[Word(start=start, end=end, text=text, probability=0.9)])
        for start, end, text in texts
    ]
    heard_texts = {0: ChunkTranscript(language="en", segments=segments)}
    return merge_chunks("job", [chunk], heard_texts, duration_seconds=30.0, model="base", voices=voices)


def names(transcript: Transcript) -> list[WarningName]:
    return [warning.name for warning in transcript.warnings]


@pytest.mark.parametrize(
    "text",
    [
        "[Music]",
        "[MUZI]",
        "(upbeat music)",
        "[ Inaudible ]",
        "*sighs*",
        "（笑）",
        "【音楽】",
        "♪♪",
        "♪",
        "[BLANK_AUDIO].",
    ],
)
def test_label_when_it_is_all_of_a_text_is_one(text: str) -> None:
    assert is_label(text)


@pytest.mark.parametrize(
    "text",
    ["Hello.", "He said (quietly) no.", "「こんにちは」", "♪ Happy birthday to you ♪", "[a] or [b]", "", "2 * 3 * 4"],
)
def test_label_when_something_is_said_is_none(text: str) -> None:
    assert not is_label(text) or text == ""


def test_text_where_nobody_speaks_is_a_sound_in_the_json_and_in_no_other_format() -> None:
    transcript = merged(
        {None: voice((10, 20))}, (0, 9, "Thanks for watching!"), (10, 20, "Good morning everyone."), heard=20.0
    )
    assert [segment.text for segment in transcript.segments] == ["Good morning everyone."]
    assert [(sound.index, sound.start, sound.text) for sound in transcript.sounds] == [(0, 0.0, "Thanks for watching!")]
    assert transcript.text == "Good morning everyone." and transcript.statistics.words == 1
    for name in FORMATS:
        assert ("watching" in render(transcript, name)) == (name == "json")
    assert "watching" not in verbose(transcript).model_dump_json()
    assert names(transcript) == [WarningName.TEXT_WITHOUT_VOICE]
    assert "“Thanks for watching!” at 0.0 s" in transcript.warnings[0].message


def test_label_where_nobody_speaks_is_a_sound_and_no_loss() -> None:
    transcript = merged({None: voice((20, 30))}, (0, 19.5, "[Music]"), (20, 30, "Good morning."))
    assert [sound.text for sound in transcript.sounds] == ["[Music]"]
    assert transcript.text == "Good morning." and transcript.warnings == []


def test_text_whose_time_is_half_a_second_off_stays_text() -> None:
    transcript = merged({None: voice((10, 20))}, (9.0, 9.6, "Yes."), (10, 20, "Good morning."))
    assert transcript.text == "Yes. Good morning." and transcript.sounds == []


def test_text_of_one_channel_is_judged_by_the_voice_of_that_channel() -> None:
    transcript = merged({1: voice(), 0: voice((0, 30))}, (0, 28, "Thanks for watching!"))
    assert transcript.segments == [] and transcript.sounds[0].channel == 1


@pytest.mark.parametrize("texts", [[], [(0.0, 10.0, "[Music]")], [(0.0, 4.0, "Good morning.")]])
def test_voice_that_has_no_text_is_a_warning(texts: list[tuple[float, float, str]]) -> None:
    transcript = merged({None: voice((0, 10))}, *texts)
    assert names(transcript) == [WarningName.VOICE_WITHOUT_TEXT]
    assert ("first at 4.5 s" if texts and texts[0][2] == "Good morning." else "first at 0.0 s") in transcript.warnings[
        0
    ].message


def test_sound_that_has_neither_voice_nor_text_is_a_warning() -> None:
    assert names(merged({None: voice()})) == [WarningName.SOUND_WITHOUT_TEXT]
    assert names(merged({None: voice()}, (0, 30, "[Music]"))) == [WarningName.SOUND_WITHOUT_TEXT]
    assert names(merged({None: voice()}, heard=0.5)) == []


def test_recording_that_is_written_down_whole_has_no_warning() -> None:
    transcript = merged({None: voice((0, 12), (18, 30))}, (0, 12, "Good morning."), (18, 30, "Good bye."))
    assert transcript.warnings == [] and transcript.sounds == []
