"""What the engine writes, with all that can be wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stt_core.engines.whisper_cpp_output import parse_output
from stt_core.transcript.text import find_words


def document(*segments: dict[str, Any], language: str = "en") -> bytes:
    return json.dumps({"result": {"language": language}, "transcription": segments}, ensure_ascii=False).encode()


def segment(text: str, begin: int, end: int, *tokens: tuple[str, int, int, float]) -> dict[str, Any]:
    return {
        "text": text,
        "offsets": {"from": begin, "to": end},
        "tokens": [{"text": t, "offsets": {"from": b, "to": e}, "p": p, "id": 1, "t_dtw": -1} for t, b, e, p in tokens],
    }


def test_parsing_when_tokens_are_parts_of_words_then_joins_them() -> None:
    raw = document(
        segment(" Hello, world.", 0, 900, ("[_BEG_]", 0, 0, 1), (" Hel", 0, 200, 0.5), ("lo", 200, 400, 1.0))
    )
    [only] = parse_output(raw, 2.0).segments
    assert only.text == "Hello, world."
    [word] = only.words
    assert (word.text, word.start, word.end, word.probability) == ("Hello", 0.0, 0.4, 0.75)


def test_parsing_when_tokens_are_special_or_punctuation_then_makes_no_words_of_them() -> None:
    tokens = [("[_BEG_]", 0, 0, 1), (" X", 0, 100, 1), ("-", 100, 110, 1), ("ray", 110, 300, 1), (".", 300, 310, 1)]
    [only] = parse_output(document(segment(" X-ray.", 0, 400, *tokens, ("[_TT_20]", 400, 400, 1))), 1.0).segments
    assert [word.text for word in only.words] == ["X-ray."]


def test_parsing_when_times_leave_the_audio_then_clamps_them() -> None:
    raw = document(segment(" One two", 9_500, 29_000, (" One", 9_000, 8_000, 1), (" two", 12_000, 29_000, 1)))
    [only] = parse_output(raw, 10.0).segments
    assert (only.start, only.end) == (9.5, 10.0)
    assert [(word.start, word.end) for word in only.words] == [(9.5, 9.5), (10.0, 10.0)]


def test_parsing_when_a_character_is_spread_over_tokens_then_joins_its_bytes() -> None:
    letter = "ü".encode()
    raw = document(segment(" fSr", 0, 100, (" f", 0, 10, 1), ("A", 10, 20, 1), ("B", 20, 30, 1), ("r", 30, 40, 1)))
    raw = raw.replace(b"fSr", b"f" + letter + b"r").replace(b'"A"', b'"' + letter[:1] + b'"')
    raw = raw.replace(b'"B"', b'"' + letter[1:] + b'"')
    [only] = parse_output(raw, 1.0).segments
    assert (only.text, [word.text for word in only.words]) == ("für", ["für"])


def test_parsing_when_the_language_has_no_spaces_then_every_token_is_a_word() -> None:
    tokens = [("你", 0, 100, 1), ("好", 100, 200, 1), ("。", 200, 210, 1)]
    [only] = parse_output(document(segment("你好。", 0, 300, *tokens), language="zh"), 1.0).segments
    assert [word.text for word in only.words] == ["你", "好。"]


def test_parsing_when_there_are_control_characters_and_broken_bytes_then_survives() -> None:
    raw = document(segment(" one@two", 0, 100)).replace(b"@", b"\x01\xff ")
    [only] = parse_output(raw, 1.0).segments
    assert only.text == "one � two"


def words_of(language: str, *tokens: str) -> list[str]:
    """The words made of tokens, of which some may be single bytes (surrogate escapes) of a character."""
    texts = [token.encode("utf-8", "surrogateescape") for token in tokens]
    whole = b"".join(texts)
    parts = b", ".join(b'{"text": "%s", "p": 1, "offsets": {"from": 0, "to": 10}}' % text for text in texts)
    offsets = b'"offsets": {"from": 0, "to": 1000}'
    raw = b'{"result": {"language": "%s"}, "transcription": [{"text": "%s", %s, "tokens": [%s]}]}'
    [only] = parse_output(raw % (language.encode(), whole, offsets, parts), 1.0).segments
    words = [word.text for word in only.words]
    assert find_words(only.text, words) is not None
    return words


def in_bytes(text: str) -> list[str]:
    return [bytes([byte]).decode("utf-8", "surrogateescape") for byte in text.encode()]


FAMILY = "👨\u200d👩\u200d👧\u200d👦"


@pytest.mark.parametrize(
    ("language", "tokens", "words"),
    [
        ("fa", [" می", "\u200c", "خواهم", " کتاب", "\u200cها"], ["می\u200cخواهم", "کتاب\u200cها"]),
        ("si", [" ශ්", "\u200d", "රී", " ලංකා"], ["ශ්\u200dරී", "ලංකා"]),
        ("hi", [" क", "्", "\u200dष"], ["क्\u200dष"]),
        ("he", [" \u200fשל", "ום\u200e"], ["\u200fשלום\u200e"]),
        ("en", [" ok", " 👨", "\u200d", "👩\u200d", "👧\u200d👦", "!"], ["ok", f"{FAMILY}!"]),
        ("en", [" ok", " ", *in_bytes(FAMILY), " so"], ["ok", FAMILY, "so"]),
        (
            "en",
            [" 👍", "🏽", " 🇩", "🇪", " ❤", "\ufe0f", " co", "\u00ad", "op"],
            ["👍🏽", "🇩🇪", "❤\ufe0f", "co\u00adop"],
        ),
        ("en", [" a\u0378", "b"], ["a\u0378b"]),
    ],
)
def test_parsing_when_tokens_hold_what_is_not_printed_then_words_are_whole(
    language: str, tokens: list[str], words: list[str]
) -> None:
    assert words_of(language, *tokens) == words


@pytest.mark.parametrize(
    ("language", "tokens", "words"),
    [
        ("th", ["น", "้", "ำ", "ด", "ี"], ["น้ำ", "ดี"]),
        ("th", ["น้", *in_bytes("ำดี")], ["น้ำ", "ดี"]),
        ("th", ["ดี", "\u200bน้ำ", "\u200b", "ดี"], ["ดี", "น้ำ", "ดี"]),
        ("lo", ["ກ", "ຳ", "ດ"], ["ກຳ", "ດ"]),
        ("my", ["သ", "တ", "္", "တ", "ု"], ["သ", "တ္တု"]),
        ("zh", [*in_bytes("龘"), *in_bytes("好"), "。"], ["龘", "好。"]),
        ("ja", ["は", "「", "東", "京", "」", "に"], ["は", "「東", "京」", "に"]),
        ("ja", ["か", "\u3099", "葛", "\U000e0100", "城"], ["か\u3099", "葛\U000e0100", "城"]),
        ("zh", ["好", "👨", "\u200d", "👩", "1", "\ufe0f", "\u20e3"], ["好👨\u200d👩", "1\ufe0f\u20e3"]),
    ],
)
def test_parsing_when_the_language_has_no_spaces_then_a_grapheme_is_never_parted(
    language: str, tokens: list[str], words: list[str]
) -> None:
    assert words_of(language, *tokens) == words


def test_parsing_when_a_character_never_becomes_whole_then_the_next_word_begins_all_the_same() -> None:
    assert words_of("th", " ก", "\udce0\udcb8", " ข", "\udce0") == ["ก\ufffd", "ข\ufffd"]


def test_parsing_when_a_segment_is_a_joiner_alone_then_there_is_none() -> None:
    assert parse_output(document(segment(" \u200d", 0, 100, (" \u200d", 0, 100, 1))), 1.0).segments == []


def test_parsing_when_segments_are_empty_then_drops_them() -> None:
    assert parse_output(document(segment("  ", 0, 100)), 1.0).segments == []
    assert parse_output(document(), 1.0).text == ""


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"result": {}}', b'{"result": {"language": "en"}}'])
def test_parsing_when_it_is_not_a_whole_document_then_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_output(raw, 1.0)
