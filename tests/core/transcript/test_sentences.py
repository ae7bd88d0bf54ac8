"""Segments that are sentences, of words whose times are known."""

from __future__ import annotations

import pytest

from stt_core.transcript.document import ChunkSegment, Word
from stt_core.transcript.sentences import Spoken, group_sentences


def spoken(
    text: str, *, seconds: float = 0.4, pauses: dict[str, float] | None = None, segment: int = 0
) -> list[Spoken]:
    """Words of `seconds` each, one behind the other but for the pauses before some of them."""
    words, at = [], 0.0
    for part in text.split():
        pause = (pauses or {}).get(part, 0.0)
        at += pause
        word = Word(start=at, end=at + seconds, text=part.strip(".,"), probability=0.9)
        words.append(Spoken(word, f"{part} ", segment, pause))
        at += seconds
    return words


def grouped(words: list[Spoken], *flags: list[str]) -> list[ChunkSegment]:
    return group_sentences(words, flags or [[]] * (words[-1].segment + 1))


def texts(text: str, *, seconds: float = 0.4, pauses: dict[str, float] | None = None) -> list[str]:
    return [segment.text for segment in grouped(spoken(text, seconds=seconds, pauses=pauses))]


def test_segments_when_sentences_end_then_each_is_one() -> None:
    assert texts("This is one. And this is another.") == ["This is one.", "And this is another."]


def test_segments_when_there_is_no_punctuation_then_pauses_end_them() -> None:
    found = texts("one two three four five six", pauses={"four": 0.6})
    assert found == ["one two three", "four five six"]


def test_segments_when_a_speaker_hesitates_then_the_sentence_goes_on() -> None:
    assert texts("we will meet in the morning", pauses={"the": 0.25}) == ["we will meet in the morning"]


def test_segments_when_a_long_pause_is_inside_a_sentence_then_none_goes_across_it() -> None:
    assert texts("I see", pauses={"see": 1.0}) == ["I", "see"]


def test_segments_when_a_sentence_is_very_short_then_it_goes_with_another() -> None:
    assert texts("Yes. This is it.") == ["Yes. This is it."]


def test_segments_when_a_sentence_is_very_long_then_its_parts_are_segments() -> None:
    text = " ".join(["word"] * 24 + ["word,"] + ["word"] * 24) + "."
    found = grouped(spoken(text))
    assert [len(segment.words) for segment in found] == [25, 24]


@pytest.mark.parametrize("text", ["I met Mr. Brown in the town", "The Hon. H. G. Bennet said so"])
def test_segments_when_a_name_is_abbreviated_then_the_sentence_goes_on(text: str) -> None:
    assert texts(text) == [text]


def test_segments_when_made_of_several_of_the_engine_then_they_have_the_flags_of_all() -> None:
    words = [*spoken("and so my"), *spoken("fellow Americans", segment=1)]
    [segment] = grouped(words, ["repetition"], ["other", "repetition"])
    assert segment.text == "and so my fellow Americans"
    assert segment.flags == ["repetition", "other"]


def test_segments_when_a_flagged_sentence_has_a_neighbour_then_that_has_no_flag() -> None:
    words = [*spoken("This is one."), *spoken("And this is two.", segment=1)]
    assert [segment.flags for segment in grouped(words, ["repetition"], [])] == [["repetition"], []]


def test_segments_when_words_are_parted_by_nothing_then_nothing_is_put_between_them() -> None:
    words = [
        Spoken(Word(start=number, end=number + 1, text=text[0], probability=1), text, 0)
        for number, text in enumerate(["今", "日", "は。", "晴", "れ。"])
    ]
    assert [segment.text for segment in grouped(words)] == ["今日は。", "晴れ。"]
