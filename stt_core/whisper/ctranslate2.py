"""CTranslate2's whisper models read as data: the tensors of `model.bin` and the words of `vocabulary.txt`.

Format 6, little endian: version, name and revision of the specification, then for each tensor its name (length with
the closing zero, bytes), rank, extents, type and bytes. Source: CTranslate2, `python/ctranslate2/specs/model_spec.py`.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import ModelInvalidError
from stt_core.logs import get_logger, logged

logger = get_logger(__name__)

FORMAT = 6
#: By the number that a file gives to them. Models are converted from floating point alone.
_TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
}

Tensors = dict[str, NDArray[np.generic]]


@logged
def read_tensors(path: Path) -> Tensors:
    """Return the tensors of a `model.bin` by name; they stay on the disk until they are used.

    Raises:
        ModelInvalidError: It is no model of this format, or it ends too early.
    """
    try:
        return _Reader(np.memmap(path, np.uint8, "r")).tensors()
    except (struct.error, ValueError, KeyError) as error:  # too short, too little for a shape, an unknown type
        raise ModelInvalidError(f"{path.name} is not a CTranslate2 model of format {FORMAT}: {error}.") from error


@logged
def read_words(path: Path) -> list[bytes]:
    """Return the words of a `vocabulary.txt`, in the order of their tokens.

    GPT-2's alphabet stands for bytes: printable ones for themselves, the others, in order, for U+0100 and on. Source:
    GPT-2's `encoder.py`.

    Raises:
        ModelInvalidError: A word is written in another alphabet.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(0x100)) - set(printable))
    table = {chr(byte): byte for byte in printable} | {chr(0x100 + at): byte for at, byte in enumerate(others)}
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    try:
        return [bytes(table[letter] for letter in line) for line in lines]
    except KeyError as error:
        raise ModelInvalidError(f"{path.name} is not a vocabulary of whisper: it holds {error}.") from error


class _Reader:
    def __init__(self, content: NDArray[np.uint8]) -> None:
        self._content = content
        self._at = 0

    def tensors(self) -> Tensors:
        version = self._number("I")
        if version != FORMAT:
            raise ValueError(f"its format is {version}")
        self._text()  # name of the specification
        self._number("I")  # its revision
        return dict(self._tensor() for _ in range(self._number("I")))

    def _tensor(self) -> tuple[str, NDArray[np.generic]]:
        name = self._text()
        shape = [self._number("I") for _ in range(self._number("B"))]
        kind = _TYPES[self._number("B")]
        return name, self._take(self._number("I")).view(kind).reshape(shape)

    def _number(self, layout: str) -> int:
        (value,) = struct.unpack(f"<{layout}", self._take(struct.calcsize(f"<{layout}")).tobytes())
        return int(value)

    def _text(self) -> str:
        return self._take(self._number("H")).tobytes().rstrip(b"\0").decode()

    def _take(self, length: int) -> NDArray[np.uint8]:
        taken = self._content[self._at : self._at + length]
        if len(taken) != length:
            raise ValueError("it ends too early")
        self._at += length
        return taken
