"""Cues within a width and a height, and the transcript in OpenAI's form."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_core.transcript.document import Segment, Transcript, TranscriptStatistics, Word
from stt_core.transcript.formats import render
from stt_core.transcript.lines import graphemes
from stt_core.transcript.subtitles import Cue, CueLayout, cues
from stt_core.transcript.verbose import verbose
from tests.core.transcript.test_lines import TEXTS

#: Each word is said in one second, with half a second before the next.
SENTENCE = "one two three four five six"


def segment(text: str = SENTENCE, *, timed: bool = True, speaker: str | None = None) -> Segment:
    words = [
        Word(start=i * 1.5, end=i * 1.5 + 1, text=word, probability=0.9) for i, word in enumerate(text.split()) if timed
    ]
    return Segment(index=0, start=0.0, end=9.0, text=text, words=words, speaker=speaker, confidence=0.9)


def laid_out(*segments: Segment, width: int, count: int | None = None) -> list[Cue]:
    return list(cues(segments, CueLayout(width, count), name_speakers=True))


def test_cues_when_there_is_no_width_then_a_segment_is_one_line() -> None:
    assert list(cues([segment()], CueLayout(max_line_count=1), name_speakers=True)) == [
        Cue(0, 9000, [SENTENCE], None),
    ]


def test_cues_when_lines_are_wide_enough_for_two_words_then_break_between_words() -> None:
    assert [cue.lines for cue in laid_out(segment(), width=10)] == [["one two", "three four", "five six"]]


def test_cues_when_more_lines_than_fit_then_each_cue_begins_with_its_first_word() -> None:
    shown = laid_out(segment(), width=10, count=1)

    assert [cue.lines for cue in shown] == [["one two"], ["three four"], ["five six"]]
    assert [cue.start for cue in shown] == pytest.approx([0, 3000, 6000], abs=300)
    assert [cue.end for cue in shown] == [2500, 5500, 9000]


def test_cues_when_words_have_no_times_then_characters_share_the_segments() -> None:
    first, second = laid_out(segment("aaaa bbbb", timed=False), width=4, count=1)

    assert (first.start, first.end, second.start, second.end) == (0, 4000, 5000, 9000)


def test_cues_when_a_speaker_is_named_then_the_name_counts_and_times_stay_those_of_the_words() -> None:
    first, second = laid_out(segment("one two", speaker="Ann"), width=8, count=1)

    assert (first.lines, second.lines) == (["Ann: one"], ["two"])
    assert (first.end, second.start) == pytest.approx((1000, 1500), abs=400)


def unspaced(text: str, *, gap: float = 0.0, speaker: str | None = None) -> Segment:
    """Each character is said in a tenth of a second, the first in five seconds; after them a `gap`."""
    words = [
        Word(
            start=0 if i == 0 else 5 + gap + 0.1 * i, end=5 + gap * (i > 0) + 0.1 * (i + 1), text=sign, probability=0.9
        )
        for i, sign in enumerate(text)
    ]
    return Segment(index=0, start=0.0, end=words[-1].end, text=text, words=words, speaker=speaker)


def test_cues_when_the_language_has_no_spaces_then_times_are_those_of_the_words() -> None:
    shown = laid_out(unspaced("今天我们开会，讨论新的项目。"), width=12, count=1)

    assert [cue.lines for cue in shown] == [["今天我们"], ["开会，讨论"], ["新的项目。"]]
    assert [(cue.start, cue.end) for cue in shown] == [(0, 5400), (5400, 5900), (5900, 6400)]


def test_cues_when_a_pause_is_between_words_without_spaces_then_no_cue_is_shown_in_it() -> None:
    shown = laid_out(unspaced("我们讨论", gap=2), width=2, count=1)

    assert [(cue.start, cue.end) for cue in shown] == [(0, 5100), (7100, 7200), (7200, 7300), (7300, 7400)]


def test_cues_when_a_speaker_is_named_in_a_language_without_spaces_then_times_stay_those_of_the_words() -> None:
    first, second = laid_out(unspaced("今天我们", speaker="Ann"), width=9, count=1)

    assert (first.lines, second.lines) == (["Ann: 今天"], ["我们"])
    assert (first.start, first.end, second.start, second.end) == (0, 5200, 5200, 5400)


def test_cues_when_a_word_is_cut_then_its_time_is_shared_out() -> None:
    word = Word(start=1, end=9, text="incomprehensible", probability=0.9)
    shown = laid_out(Segment(index=0, start=0, end=9, text=word.text, words=[word]), width=8, count=1)

    assert [(cue.start, cue.end) for cue in shown] == [(0, 5000), (5000, 9000)]


@pytest.mark.parametrize("text", ["\u200d", "\u200b \u2060", "\ufe0f", "\x00"])
def test_cues_when_there_is_nothing_to_see_then_there_is_none(text: str) -> None:
    assert laid_out(segment(text), segment("one"), width=8) == laid_out(segment("one"), width=8)
    assert list(cues([segment(text)], CueLayout(), name_speakers=True)) == []


def test_vtt_when_a_cue_is_split_then_each_part_has_its_voice() -> None:
    transcript = Transcript(
        job_id="j", text=SENTENCE, language="de", model="base", duration_seconds=9.0,
        segments=[segment(speaker="Ann")], statistics=TranscriptStatistics(words=6, speech_seconds=9, chunks=1),
    )  # fmt: skip
    rendered = render(transcript, "vtt", layout=CueLayout(8, 2))

    assert rendered.count("<v Ann>") == rendered.count("-->") == 2
    assert "<v Ann>one two\nthree\n" in rendered


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(1, 60), st.integers(1, 4), st.sampled_from([str.split, graphemes, lambda _: []]))
def test_cues_when_anything_is_said_then_no_character_is_lost_and_times_go_forward_within_the_segment(
    text: str, width: int, count: int, words_of: Callable[[str], list[str]]
) -> None:
    texts = [word for word in words_of(text) if word.strip()]
    step = 9 / max(len(texts), 1)
    words = [Word(start=i * step, end=(i + 0.8) * step, text=word, probability=0.9) for i, word in enumerate(texts)]
    shown = laid_out(Segment(index=0, start=0, end=9, text=text, words=words), width=width, count=count)

    assert all(len(cue.lines) <= count for cue in shown)
    assert "".join("".join(cue.lines) for cue in shown).replace(" ", "") == text.replace(" ", "")
    assert all(before.start <= after.start for before, after in pairwise(shown))
    assert all(before.end <= max(after.start, before.start + 1) for before, after in pairwise(shown))  # 1 ms at least
    assert all(0 <= cue.start < cue.end <= 9001 for cue in shown)


def test_verbose_when_asked_for_then_has_what_openais_has() -> None:
    transcript = Transcript(
        job_id="j", text="one two", language="de", model="base", duration_seconds=9.0,
        segments=[segment("one two")], statistics=TranscriptStatistics(words=2, speech_seconds=9, chunks=1),
    )  # fmt: skip
    whole = verbose(transcript).model_dump()

    assert (whole["task"], whole["language"], whole["duration"]) == ("transcribe", "german", 9.0)
    assert whole["words"] == [{"word": "one", "start": 0.0, "end": 1.0}, {"word": "two", "start": 1.5, "end": 2.5}]
    assert whole["segments"][0] | {"compression_ratio": 0} == {
        "id": 0, "seek": 0, "start": 0.0, "end": 9.0, "text": "one two", "tokens": [], "temperature": 0.0,
        "avg_logprob": -0.1054, "compression_ratio": 0, "no_speech_prob": 0.0,
    }  # fmt: skip
    translated = verbose(transcript.model_copy(update={"task": "translate"}))
    assert (translated.task, translated.language) == ("translate", "english")
    assert verbose(transcript, words=False, segments=False).model_dump(exclude_none=True).keys() == {
        "task", "language", "duration", "text",
    }  # fmt: skip
