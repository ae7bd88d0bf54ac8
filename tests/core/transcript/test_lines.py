"""Lines of a width: broken between words where they can be, and never inside what a reader takes for one character."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from stt_core.transcript.lines import graphemes, wrap
from stt_core.transcript.text import one_line

FAMILY, FLAG, THUMB = "👨\u200d👩\u200d👧\u200d👦", "🇩🇪", "👍🏽"
#: What is spoken in scripts of all kinds, with what may go wrong between.
PIECES = [
    "one", "well-known", "1,000.50", "2022", "OpenAI", "e\u0301tude", "résumé", "(yes)", "«oui»", "«", "don't", "100%",
    "ご覧ください。", "「東京」", "コンピューター", "、", "…", "ー", "っ", "今天", "项目，", "（括号）", "！", "회의를",
    "สวัสดีครับ", "น้ำ", "เรื่อง", "ปี", "ສະບາຍດີ", "ຂ້ອຍ", "កម្ពុជា", "မြန်မာ", "သတ္တု", "क्षत्रिय",
    "ශ්\u200dරී", "می\u200cخواهم", "שלום", "\u200b", "\u200d", "\u2060", FAMILY, FLAG, THUMB, "❤\ufe0f",
    "!", "?", ".", ",", " ", " ", " ",
]  # fmt: skip
OPENING, CLOSING = "「（(«", "!?.,、。，！）」…»)%"
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)).map(one_line)
WIDTHS = st.integers(1, 44)


def lines_of(text: str, width: int) -> list[str]:
    return [text[start:end] for start, end in wrap(text, width)]


def columns(line: str) -> int:
    return sum(map(cell_len, graphemes(line)))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three four", ["one two", "three four"]),
        ("a well-known name", ["a", "well-known", "name"]),
        ("in 2022 by OpenAI", ["in 2022 by", "OpenAI"]),
        ("it costs 1,000.50 €", ["it costs", "1,000.50 €"]),
        ("Ça va bien !", ["Ça va", "bien !"]),
        ("OpenAIは2022年に公開されました。", ["OpenAIは", "2022年に", "公開されま", "した。"]),
        ("明日は「東京」に行きます。", ["明日は", "「東京」に", "行きます。"]),
        ("今天我们讨论新项目，请大家准备。", ["今天我们", "讨论新", "项目，请", "大家准备。"]),
        ("회의를 시작하겠습니다.", ["회의를", "시작하겠습", "니다."]),
        ("สวัสดีครับวันนี้เราจะประชุมกัน", ["สวัสดีครับวันนี้", "เราจะประชุม", "กัน"]),
        ("ສະບາຍດີຂ້ອຍຢາກໄປຕະຫຼາດ", ["ສະບາຍດີຂ້ອຍ", "ຢາກໄປຕະຫຼາດ"]),
        ("សួស្តីខ្ញុំចង់ទៅផ្សារថ្ងៃនេះ", ["សួស្តីខ្ញុំចង់ទៅ", "ផ្សារថ្ងៃនេះ"]),
    ],
)
def test_wrap_when_a_line_is_ten_columns_then_no_word_number_or_bracket_is_torn(text: str, lines: list[str]) -> None:
    assert lines_of(text, 10) == lines


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("incomprehensible", 8, ["incompre", "hensible"]),
        ("http://example.org/a", 14, ["http://", "example.org/a"]),
        ("state-of-the-art", 9, ["state-of-", "the-art"]),
        ("abcdefgh.", 8, ["abcdefg", "h."]),
        ("「東京」", 6, ["「東", "京」"]),
        ("コンピューター", 6, ["コン", "ピュー", "ター"]),
        (FAMILY + FLAG + THUMB, 2, [FAMILY, FLAG, THUMB]),
        ("เรื่องงบประมาณ", 3, ["เรื่อ", "งงบ", "ประ", "มาณ"]),
        ("漢\u200b字\u200b", 1, ["漢\u200b", "字\u200b"]),
        ("漢 字 ", 1, ["漢", "字"]),
    ],
)
def test_wrap_when_a_word_is_wider_than_a_line_then_cuts_it_where_it_hurts_least(
    text: str, width: int, lines: list[str]
) -> None:
    assert lines_of(text, width) == lines


@settings(max_examples=500, deadline=None)
@given(TEXTS, WIDTHS)
def test_wrap_when_a_text_is_anything_then_lines_are_the_text_without_spaces_at_the_breaks(
    text: str, width: int
) -> None:
    places = list(wrap(text, width))
    between = [
        text[end:start] for (_, end), (start, _) in zip([(0, 0), *places], [*places, (len(text), 0)], strict=True)
    ]

    assert {*between} <= {"", " "}
    assert all(start < end for start, end in places)


@settings(max_examples=500, deadline=None)
@given(TEXTS, WIDTHS)
def test_wrap_when_a_text_is_anything_then_lines_fit_and_graphemes_are_whole(text: str, width: int) -> None:
    lines = lines_of(text, width)

    assert all(columns(line) > 0 for line in lines)
    assert all(columns(line) <= width or sum(cell_len(sign) > 0 for sign in graphemes(line)) == 1 for line in lines)
    assert [sign for line in lines for sign in graphemes(line) if sign != " "] == [
        sign for sign in graphemes(text) if sign != " "
    ]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES)).map("".join).map(one_line), st.integers(8, 44))
def test_wrap_when_there_is_room_then_no_line_begins_with_closing_punctuation_or_ends_with_opening(
    text: str, width: int
) -> None:
    for start, end in list(wrap(text, width))[1:]:
        before = text[:start]
        # A space, seen or not, asks for a break; and a line of nothing but punctuation has no word to take along.
        if before[-1] not in " \u200b" and any(map(str.isalnum, before[-8:])):
            assert text[start] not in CLOSING
            assert before[-1] not in OPENING
        assert end > start


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["one", "two", "three", "1,000.50", "2022", "Whisper", "(yes)", "don't"])), WIDTHS)
def test_wrap_when_words_fit_the_line_then_each_is_whole(words: list[str], width: int) -> None:
    lines = lines_of(" ".join(words), max(width, 8))

    assert [word for line in lines for word in line.split(" ")] == words


@pytest.mark.parametrize("sign", [FAMILY, FLAG, THUMB, "❤\ufe0f", "น้ำ", "ກຳ", "क्ष", "ශ්\u200d", "သ္သ", "e\u0301"])
def test_graphemes_when_signs_are_joined_then_are_one(sign: str) -> None:
    assert graphemes(sign + "a") == [sign, "a"]
