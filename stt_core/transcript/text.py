"""Text as it is kept, compared and found: what may be changed in it, and what never is.

Whatever stands inside a word stays: marks, joiners (U+200C, U+200D), variation selectors, signs of direction, letters
younger than this Python's Unicode. Only spaces, and control characters, which would end a cue or a column, change.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise

from rich.cells import cell_len

#: They join, or part without a gap, what stands on both sides of them.
_JOINERS = "\u200b\u200c\u200d\u2060\ufeff"
#: Marks that belong to a letter: vowels of Thai and Hindi, accents.
_MARKS = frozenset({"Mn", "Mc"})
#: These are marks too, but choose how a sign looks, not which it is.
_VARIATION_SELECTORS = frozenset(map(chr, range(0xFE00, 0xFE10)))


def one_line(text: str) -> str:
    """Return a text with single spaces for white space and control characters, and for joiners that join nothing."""
    plain = "".join(" " if unicodedata.category(character) == "Cc" else character for character in text)
    return " ".join(word.lstrip(_JOINERS) for word in plain.split() if cell_len(word))


def bare(text: str) -> str:
    """Return what two hearings of a text share: its letters with their marks, digits, apostrophes and spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(_is_bare, folded))


def find_words(text: str, words: Iterable[str]) -> list[int] | None:
    """Return where in a text each of its words begins, in order; None where one is not in it."""
    starts = []
    cursor = 0
    for word in words:
        cursor = text.find(word, cursor)
        if cursor < 0:
            return None
        starts.append(cursor)
        cursor += len(word)
    return starts


def split_at_words(text: str, words: Sequence[str]) -> list[str]:
    """Return each word with the spacing and punctuation that follow it in a text (and precede it, for the first)."""
    starts = find_words(text, words)
    if starts is None:  # the engine's words are not its text: spaces between them are the best guess
        return [f"{word} " for word in words]
    return [text[left:right] for left, right in pairwise([0, *starts[1:], len(text)])] if words else []


def _is_bare(character: str) -> bool:
    if character.isalnum() or character.isspace() or character == "'":
        return True
    return unicodedata.category(character) in _MARKS and character not in _VARIATION_SELECTORS
