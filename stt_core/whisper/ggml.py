"""ggml files: whether one is a whole whisper.cpp model, and its digest.

whisper.cpp itself does not say: on a file that holds a header only it answers every recording with an empty text and
exit code 0, bad dimensions abort it, and a damaged vocabulary length makes it read for ever. So the file is walked
here before the first run: header, filters, vocabulary and the table of tensors to the last byte. That reads a few
megabytes and seeks over the weights (60 ms).

Format: whisper.cpp, `models/convert-pt-to-ggml.py` and `whisper_model_load`; block sizes: `ggml-common.h`.
"""

from __future__ import annotations

import hashlib
import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import BaseModel, Field, ValidationError

from stt_core.errors import ModelInvalidError, ModelNotFoundError
from stt_core.logs import get_logger

logger = get_logger(__name__)

MAGIC = 0x67676D6C
#: Vocabulary size from which whisper.cpp takes a model as multilingual.
MULTILINGUAL_VOCABULARY = 51_865
_QUANTISATION_VERSION_FACTOR = 1000
#: Values a block holds and bytes it takes, by the number of its ggml type.
_BLOCKS = {
    0: (1, 4),  # f32
    1: (1, 2),  # f16
    2: (32, 18),  # q4_0
    3: (32, 20),  # q4_1
    6: (32, 22),  # q5_0
    7: (32, 24),  # q5_1
    8: (32, 34),  # q8_0
    10: (256, 84),  # q2_K
    11: (256, 110),  # q3_K
    12: (256, 144),  # q4_K
    13: (256, 176),  # q5_K
    14: (256, 210),  # q6_K
    30: (1, 2),  # bf16
}
#: Tensors outside the layers, in an encoder layer, in a decoder layer.
_TENSORS = (11, 15, 24)


class ModelHeader(BaseModel, frozen=True):
    """The dimensions of a model, in the order of the file; those of the published models lie well inside the bounds."""

    n_vocab: Annotated[int, Field(ge=1_000, le=200_000)]
    n_audio_ctx: Annotated[int, Field(ge=1, le=100_000)]
    n_audio_state: Annotated[int, Field(ge=1, le=16_384)]
    n_audio_head: Annotated[int, Field(ge=1, le=256)]
    n_audio_layer: Annotated[int, Field(ge=1, le=256)]
    n_text_ctx: Annotated[int, Field(ge=1, le=100_000)]
    n_text_state: Annotated[int, Field(ge=1, le=16_384)]
    n_text_head: Annotated[int, Field(ge=1, le=256)]
    n_text_layer: Annotated[int, Field(ge=1, le=256)]
    n_mels: Annotated[int, Field(ge=1, le=1_024)]
    ftype: Annotated[int, Field(ge=0, le=99_999)]

    @property
    def multilingual(self) -> bool:
        """Whether the model knows other languages than English."""
        return self.n_vocab >= MULTILINGUAL_VOCABULARY


def validate_model(path: Path) -> ModelHeader:
    """Check that a file is a whole whisper.cpp model and return its dimensions; remembered until the file changes.

    Raises:
        ModelNotFoundError: There is no such file.
        ModelInvalidError: It is not a whisper.cpp model, or a damaged one.
    """
    return _validate(path, *file_identity(path))


def file_digest(path: Path, cache_dir: Path | None = None) -> str:
    """Return the SHA-256 of a file, remembered until the file changes.

    Args:
        path: The file.
        cache_dir: Folder in which digests outlive the process; hashing the largest model takes some 10 s.

    Raises:
        ModelNotFoundError: There is no such file.
    """
    return _digest(path, cache_dir, *file_identity(path))


def file_identity(path: Path) -> tuple[int, int, int, int]:
    """Return what tells a file from another in its place: size, inode, and the times of its last changes.

    Raises:
        ModelNotFoundError: There is no such file.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ModelNotFoundError(
            f"There is no model file {path.name} ({error.strerror}).", mend="See `stt models list`."
        ) from error
    return status.st_size, status.st_ino, status.st_ctime_ns, status.st_mtime_ns


@lru_cache(maxsize=16)
def _digest(path: Path, cache_dir: Path | None, *identity: int) -> str:
    name = hashlib.sha256(os.fsencode(path.resolve()) + repr(identity).encode()).hexdigest()
    note = cache_dir / name if cache_dir else None
    if note:
        try:
            return note.read_text(encoding="ascii").strip()
        except OSError as error:  # not there yet, or not ours to read
            logger.debug("the digest of {} is not known in {}: {}", path.name, cache_dir, error)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if note and cache_dir:
        temporary = note.with_suffix(f".{os.getpid()}")
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            temporary.write_text(digest, encoding="ascii")
            temporary.replace(note)
        except OSError as error:  # a cache only: the next process hashes again
            logger.warning("the digest of {} cannot be kept in {}: {}", path.name, cache_dir, error)
    return digest


@lru_cache(maxsize=16)
def _validate(path: Path, size: int, *_: int) -> ModelHeader:
    try:
        with path.open("rb") as file:
            header = _read_header(file)
            _skip_filters(file, header, size)
            _skip_vocabulary(file, header, size)
            _check_tensors(file, header, size)
    except OSError as error:
        raise ModelInvalidError(f"The model {path.name} cannot be read: {error.strerror}.") from error
    except (ValueError, struct.error) as error:
        reason = "it ends too early" if isinstance(error, struct.error) else str(error)
        raise ModelInvalidError(
            f"{path.name} is not a usable whisper.cpp model: {reason}.",
            mend="Download it again (`stt models download NAME`) or convert it with whisper.cpp's own scripts.",
        ) from error
    return header


def _read(file: BinaryIO, layout: str) -> tuple[int, ...]:
    values: tuple[int, ...] = struct.unpack(f"<{layout}", file.read(struct.calcsize(f"<{layout}")))
    return values


def _read_header(file: BinaryIO) -> ModelHeader:
    (magic,) = _read(file, "I")
    if magic != MAGIC:
        raise ValueError("it does not begin with ggml's mark")
    try:
        header = ModelHeader.model_validate(dict(zip(ModelHeader.model_fields, _read(file, "11i"), strict=True)))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"its header says {first['loc'][0]} = {first['input']}") from error
    if header.n_audio_state != header.n_text_state:
        raise ValueError("the states of its encoder and decoder differ in width")
    if header.n_audio_state % header.n_audio_head or header.n_text_state % header.n_text_head:
        raise ValueError("its heads do not divide its state")
    if header.ftype % _QUANTISATION_VERSION_FACTOR > 24:  # GGML_FTYPE_MOSTLY_BF16
        raise ValueError(f"its header says ftype = {header.ftype}")
    return header


def _skip_filters(file: BinaryIO, header: ModelHeader, size: int) -> None:
    n_mel, n_fft = _read(file, "2i")
    if n_mel != header.n_mels or not 1 <= n_fft <= 65_536:
        raise ValueError(f"its mel filters are {n_mel} x {n_fft}")
    _skip(file, 4 * n_mel * n_fft, size)


def _skip_vocabulary(file: BinaryIO, header: ModelHeader, size: int) -> None:
    (count,) = _read(file, "i")
    if not 1 <= count <= header.n_vocab:
        raise ValueError(f"its vocabulary has {count} of {header.n_vocab} words")
    for position in range(count):
        (length,) = _read(file, "I")
        if length > 4_096:
            raise ValueError(f"word {position} of its vocabulary is {length} bytes long")
        _skip(file, length, size)


def _check_tensors(file: BinaryIO, header: ModelHeader, size: int) -> None:
    names: set[bytes] = set()
    while file.tell() < size:
        dimensions, name_length, kind = _read(file, "3i")
        if not 1 <= dimensions <= 4 or not 1 <= name_length <= 256 or kind not in _BLOCKS:
            raise ValueError(f"its tensor {len(names)} is damaged or of a type that is not known here")
        shape = _read(file, f"{dimensions}i")
        names.add(file.read(name_length))
        block, block_bytes = _BLOCKS[kind]
        values = 1
        for extent in shape:
            if extent < 1:
                raise ValueError(f"its tensor {len(names)} has the shape {shape}")
            values *= extent
        _skip(file, values // block * block_bytes, size)
    expected = _TENSORS[0] + _TENSORS[1] * header.n_audio_layer + _TENSORS[2] * header.n_text_layer
    if len(names) != expected:
        raise ValueError(f"it holds {len(names)} of {expected} tensors")


def _skip(file: BinaryIO, length: int, size: int) -> None:
    if file.tell() + length > size:
        raise ValueError("it ends too early")
    file.seek(length, os.SEEK_CUR)
