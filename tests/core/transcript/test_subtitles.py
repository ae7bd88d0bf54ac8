"""Cues within a width and a height, and the transcript in OpenAI's form."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_core.transcript.formats import render
from stt_core.transcript.models import Segment, Transcript, TranscriptStatistics, Word
from stt_core.transcript.subtitles import Cue, CueLayout, cues
from stt_core.transcript.verbose import verbose

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


def test_vtt_when_a_cue_is_split_then_each_part_has_its_voice() -> None:
    transcript = Transcript(
        job_id="j", text=SENTENCE, language="de", model="base", duration_seconds=9.0,
        segments=[segment(speaker="Ann")], statistics=TranscriptStatistics(words=6, speech_seconds=9, chunks=1),
    )  # fmt: skip
    rendered = render(transcript, "vtt", layout=CueLayout(8, 2))

    assert rendered.count("<v Ann>") == rendered.count("-->") == 2
    assert "<v Ann>one two\nthree\n" in rendered


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=200), st.integers(1, 60), st.integers(1, 4), st.booleans())
def test_cues_when_anything_is_said_then_lines_fit_and_no_character_is_lost_and_times_do_not_go_back(
    text: str, width: int, count: int, timed: bool
) -> None:
    shown = laid_out(segment(text, timed=timed), width=width, count=count)

    assert all(0 < len(line) <= width for cue in shown for line in cue.lines)
    assert all(len(cue.lines) <= count for cue in shown)
    assert "".join("".join(cue.lines) for cue in shown).replace(" ", "") == "".join(text.split())
    assert all(cue.start < cue.end for cue in shown)
    starts = [cue.start for cue in shown]
    assert starts == sorted(starts)


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
