"""CTranslate2's whisper models, folders in faster-whisper's format, read as data.

A folder holds `model.bin` with the tensors, the vocabulary, `config.json`, `tokenizer.json`, and, for models with other
than 80 filters, `preprocessor_config.json`. It is checked before the first run, since what the library says of a folder
that is not whole leads nowhere, or to a hub.

Format 6, little endian: version, name and revision of the specification, then for each tensor its name (length with
the closing zero, bytes), rank, extents, type and bytes. Source: CTranslate2, `python/ctranslate2/specs/model_spec.py`.
"""

from __future__ import annotations

import hashlib
import json
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import ModelInvalidError, ModelNotFoundError
from stt_core.logs import get_logger
from stt_core.whisper.ggml import MULTILINGUAL_VOCABULARY, file_digest, file_identity

logger = get_logger(__name__)

FORMAT = 6
#: The file without which a folder is no model.
MODEL_FILE = "model.bin"
#: Of the mel spectrum, unless this file says otherwise.
_FILTERS, _FILTERS_FILE = 80, "preprocessor_config.json"
_MEND = (
    "Download it again (`stt models download NAME --engine ctranslate2`), or convert it with CTranslate2's own tools."
)
_NEEDED = (MODEL_FILE, "config.json", "tokenizer.json")
_VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
_OPTIONAL = (*_VOCABULARIES, _FILTERS_FILE)
#: By the number that a file gives to them. Models are converted from floating point alone.
_TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
    5: np.dtype("<u2"),  # bfloat16, which numpy does not know; no converted model has it
}

Tensors = dict[str, NDArray[np.generic]]


def is_model_folder(path: Path) -> bool:
    """Say whether a path is a folder that is meant as a model."""
    return (path / MODEL_FILE).is_file()


def validate_folder(path: Path) -> bool:
    """Check that a folder is a whole model; return whether it is multilingual. Remembered until a file changes.

    Raises:
        ModelNotFoundError: There is no such folder.
        ModelInvalidError: A file is missing or damaged.
    """
    return _validate(path, tuple(file_identity(file) for file in _files(path)))


def folder_digest(path: Path, cache_dir: Path | None = None) -> str:
    """Return the SHA-256 over the files that make a folder's model, remembered until one of them changes.

    Args:
        path: The folder.
        cache_dir: As that of `file_digest`.

    Raises:
        ModelNotFoundError: There is no such folder.
        ModelInvalidError: A file is missing.
    """
    lines = [f"{file_digest(file, cache_dir)}  {file.name}\n" for file in _files(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        raise ModelNotFoundError(f"There is no model folder {path.name}.", mend="See `stt models list`.")
    missing = [name for name in _NEEDED if not (path / name).is_file()]
    if not any((path / name).is_file() for name in _VOCABULARIES):
        missing.append(" or ".join(_VOCABULARIES))
    if missing:
        raise ModelInvalidError(f"The model folder {path.name} has no {', no '.join(missing)}.", mend=_MEND)
    return [path / name for name in sorted((*_NEEDED, *_OPTIONAL)) if (path / name).is_file()]


@lru_cache(maxsize=16)
def _validate(path: Path, _: tuple[tuple[int, ...], ...]) -> bool:
    tensors = read_tensors(path / MODEL_FILE)
    try:
        filters = tensors["encoder/conv1/weight"].shape[1]
        words = tensors["decoder/embeddings/weight"].shape[0]
        names = ("config.json", "tokenizer.json", "vocabulary.json", _FILTERS_FILE)
        described = {name: json.loads((path / name).read_bytes()) for name in names if (path / name).is_file()}
        told = described.get(_FILTERS_FILE, {}).get("feature_size", _FILTERS)
        if told != filters and _FILTERS_FILE in described:
            raise ValueError(f"{_FILTERS_FILE} tells of {told} filters, {MODEL_FILE} has {filters}")
        if told != filters:
            raise ValueError(f"it has {filters} filters and no {_FILTERS_FILE} to say so")
    except (LookupError, ValueError, AttributeError) as error:
        raise ModelInvalidError(f"{path.name} is not a usable model for CTranslate2: {error}.", mend=_MEND) from error
    return bool(words >= MULTILINGUAL_VOCABULARY)


def read_tensors(path: Path) -> Tensors:
    """Return the tensors of a `model.bin` by name; they stay on the disk until they are used.

    Raises:
        ModelInvalidError: It is no model of this format, or it ends too early.
    """
    try:
        return _Reader(np.memmap(path, np.uint8, "r")).tensors()
    except (struct.error, ValueError, KeyError) as error:  # too short, too little for a shape, an unknown type
        raise ModelInvalidError(f"{path.name} is not a CTranslate2 model of format {FORMAT}: {error}.") from error


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
