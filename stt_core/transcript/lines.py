"""Lines: a text broken where its script lets it be broken, to a width in columns.

Where that is says ICU, by Unicode's rules (UAX #14 for lines, UAX #29 for graphemes) and by its dictionaries, since
Chinese, Thai, Lao, Khmer and Burmese part their words by nothing. For Japanese, BudouX knows the phrases better
(docs/decisions/0019-line-breaking.md).
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import accumulate

from budoux import Parser, load_default_japanese_parser
from icu4py.breakers import CharacterBreaker, LineBreaker
from rich.cells import cell_len

#: Strict: no small kana or ー begins a line. By phrase: Japanese, Chinese and Korean are broken between words; only
#: `ja` and `ko` have that, and for other languages `ja` differs in nothing.
_PHRASES = "ja@lb=strict;lw=phrase"
_STRICT = "en@lb=strict"
#: Vowels of Thai and Lao that are written before the consonant they belong to.
_LEADING_VOWELS = frozenset("เแโใไເແໂໃໄ")
#: Categories of punctuation that goes with what follows it, and with what is before it.
OPENING = frozenset({"Ps", "Pi"})
_CLOSING = frozenset({"Pe", "Pf", "Po"})
_KANA = re.compile(r"[\u3041-\u30ff\uff66-\uff9f]")
#: Spaces, and the narrow scripts without them: Thai, Lao, Tibetan, Burmese, Khmer, half-width kana.
_NEEDS_NO_HYPHEN = re.compile(r"[\s\u200b\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\uff61-\uff9f]")


def graphemes(text: str) -> list[str]:
    """Return the characters of a text as readers count them: letters with their marks, emoji of several signs."""
    return list(CharacterBreaker(text, "en"))


def wrap(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Yield where each line of a text begins and ends, without the spaces around it.

    A line takes as many words as fit. A word wider than a line is cut: after a hyphen or a slash if it has one, else
    between graphemes.

    Args:
        text: On one line, and to be seen (see `one_line`).
        width: Columns in a line: a wide character (Chinese, Japanese, Korean, emoji) takes two, a mark or a joiner
            none. Only a grapheme that is wider by itself exceeds it.
    """
    signs = _signs(text)
    ends = list(_ends(sign for sign, _ in signs))
    columns = list(accumulate(room for _, room in signs))
    breaks = _breaks(text, ends)
    start = first = 0
    while first < len(signs):
        used = columns[first - 1] if first else 0
        reach = max(first + 1, bisect_right(columns, used + width))
        reach += signs[reach : reach + 1] == [(" ", 1)]
        end = next(found for kind in breaks if (found := _last(kind, start, ends[reach - 1])))
        yield start, start + len(text[start:end].rstrip(" "))
        start, first = end, bisect_right(ends, end)


def _signs(text: str) -> list[tuple[str, int]]:
    """Return what is seen of a text, sign by sign: graphemes, each with what takes no room beside it, and its room."""
    signs: list[tuple[str, int]] = []
    for sign in graphemes(text):
        room = cell_len(sign)
        before, taken = signs[-1] if signs else (" ", 1)
        if before != " " and not (room and taken):
            signs[-1] = before + sign, room + taken
        else:
            signs.append((sign, room))
    return signs


def _breaks(text: str, ends: list[int]) -> list[list[int]]:
    """Return where lines may end, the best places first: after phrases, words, parts of words, signs."""
    strict, phrases = (sorted({*ends}.intersection(_ends(LineBreaker(text, rules)))) for rules in (_STRICT, _PHRASES))
    words = [position for position in phrases if _parts_words(text, position)]
    japanese = set(_ends(_japanese().parse(text)) if _KANA.search(text) else words)
    best = [position for position in words if position in japanese or text[position - 1] == " "]
    return [best, words, strict, [position for position in ends if _may_be_cut(text, position)], ends]


@cache
def _japanese() -> Parser:
    return load_default_japanese_parser()


def _ends(parts: Iterable[str]) -> Iterator[int]:
    return accumulate(map(len, parts))


def _parts_words(text: str, position: int) -> bool:
    """Say whether a line break here parts words, and not one word at its hyphen or slash."""
    around = text[position - 1 : position + 1]
    return len(around) == 1 or any(_NEEDS_NO_HYPHEN.match(letter) or cell_len(letter) > 1 for letter in around)


def _may_be_cut(text: str, position: int) -> bool:
    """Say whether a word that has to be cut may be cut here."""
    before, after = text[position - 1], text[position : position + 1] or " "
    if before == " ":
        return True
    return (
        before not in _LEADING_VOWELS
        and unicodedata.category(before) not in OPENING
        and unicodedata.category(after) not in _CLOSING
    )


def _last(positions: list[int], after: int, limit: int) -> int | None:
    """Return the last of ascending positions that is after one and not past another, if there is one."""
    found = bisect_right(positions, limit)
    return positions[found - 1] if found and positions[found - 1] > after else None
