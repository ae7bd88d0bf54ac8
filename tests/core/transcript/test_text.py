"""Text: nothing inside a word changes, and two hearings of a word are one whatever is drawn around it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_core.transcript.text import bare, find_words, one_line

#: Persian, Sinhala, Hindi, Thai, Hebrew between signs of direction, a soft hyphen, a family, a skin, a flag, a heart,
#: a letter that no Unicode of today has.
WORDS = [
    "می\u200cخواهم", "ශ්\u200dරී", "क्\u200dष", "น้ำ", "\u200fשלום\u200e", "co\u00adop", "👨\u200d👩\u200d👧",
    "👍🏽", "🇩🇪", "❤\ufe0f", "a\u0378b", "e\u0301", "x\u2060y", "ក\u200bខ",
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_one_line_when_a_word_has_what_is_not_printed_then_it_is_whole(word: str) -> None:
    assert one_line(f" {word}\u2028{word}\x1c\t{word}\n") == f"{word} {word} {word}"


@pytest.mark.parametrize("text", ["", " ", "\x00\x1b", "\u200c", " \u200d \u2060", "\ufe0f", "\ufeff\n"])
def test_one_line_when_there_is_nothing_to_see_then_is_empty(text: str) -> None:
    assert one_line(text) == ""
    assert one_line(f"one {text} two") == "one two"


@given(st.text())
def test_one_line_when_a_text_is_anything_then_ends_no_line_and_is_stable(text: str) -> None:
    line = one_line(text)

    assert len(f"{line}|".splitlines()) == 1
    assert not {chr(code) for code in (*range(32), *range(127, 160))} & set(line)
    assert one_line(line) == line


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello,", "hello"),
        ("می\u200cخواهم", "میخواهم."),
        ("É", "e\u0301"),
        ("「東京」", "東京"),
        ("น้ำ", "น้\u0e4d\u0e32"),
        ("❤\ufe0f", ""),
    ],
)
def test_bare_when_case_punctuation_and_joiners_differ_then_words_are_equal(one: str, other: str) -> None:
    assert bare(one) == bare(other)


@pytest.mark.parametrize(("one", "other"), [("की", "का"), ("ปี", "ปู"), ("don't", "dont"), ("résumé", "resume")])
def test_bare_when_marks_differ_then_words_do(one: str, other: str) -> None:
    assert bare(one) != bare(other)


def test_find_words_when_nothing_parts_them_then_each_is_found_after_the_one_before() -> None:
    assert find_words("今天，今天好", ["今", "天，", "今天", "好"]) == [0, 1, 3, 5]
    assert find_words("no no", ["no", "no"]) == [0, 3]


def test_find_words_when_one_is_not_in_the_text_then_there_are_no_places() -> None:
    assert find_words("one two", ["two", "one"]) is None
