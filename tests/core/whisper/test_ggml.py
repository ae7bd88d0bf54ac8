"""Damaged model files are found before the engine sees them."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest

from stt_core.errors import ModelInvalidError, ModelNotFoundError
from stt_core.whisper import ggml
from stt_core.whisper.ggml import file_digest, validate_model
from stt_core.whisper.models import WhisperModel

#: Where the vocabulary of the demo model begins: magic, 11 dimensions, 2 more, 80 x 201 filter values, its size.
VOCABULARY = 4 + 44 + 8 + 4 * 80 * 201 + 4


def first_tensor(sound: bytes) -> int:
    """Return where the header, filters and vocabulary end: before the first tensor's 3 numbers and 2 extents."""
    return sound.index(b"encoder.positional_embedding") - 20


@pytest.fixture(scope="module")
def sound(demo_model: WhisperModel) -> bytes:
    return demo_model.path.read_bytes()


def patched(sound: bytes, position: int, value: int) -> bytes:
    return sound[:position] + struct.pack("<I", value) + sound[position + 4 :]


def test_validation_when_the_model_is_sound_then_returns_its_dimensions(demo_model: WhisperModel) -> None:
    header = validate_model(demo_model.path)
    assert (header.n_vocab, header.n_audio_state, header.n_text_layer, header.n_mels) == (51_864, 128, 4, 80)
    assert not header.multilingual


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda sound: b"", "ends too early"),
        (lambda sound: b"RIFF" + sound[4:], "ggml's mark"),
        (lambda sound: patched(sound, 4, 0), "n_vocab = 0"),
        (lambda sound: patched(sound, 16, 7), "heads do not divide"),
        (lambda sound: patched(sound, 12, 256), "differ in width"),
        (lambda sound: patched(sound, 44, 99), "ftype = 99"),
        (lambda sound: patched(sound, 48, 81), "filters"),
        (lambda sound: patched(sound, VOCABULARY - 4, 2**31 - 1), "vocabulary has 2147483647"),
        (lambda sound: patched(sound, VOCABULARY, 2**32 - 1), "word 0 of its vocabulary"),
        (lambda sound: sound[: first_tensor(sound)], "holds 0 of 167 tensors"),
        (lambda sound: sound[:600_000], "ends too early"),
        (lambda sound: sound[:-1], "ends too early"),
        (lambda sound: sound + b"more than there should be", "damaged"),
    ],
)
def test_validation_when_the_file_is_damaged_then_says_how(
    damage: object, reason: str, sound: bytes, tmp_path: Path
) -> None:
    assert callable(damage)
    path = tmp_path / "ggml-damaged.bin"
    path.write_bytes(damage(sound))
    with pytest.raises(ModelInvalidError, match=reason):
        validate_model(path)


def test_validation_when_the_file_is_replaced_then_looks_again(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ggml-own.bin"
    path.write_bytes(sound)
    validate_model(path)
    path.write_bytes(sound[:-1])
    with pytest.raises(ModelInvalidError):
        validate_model(path)


def test_validation_when_there_is_no_file_then_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="stt models list"):
        validate_model(tmp_path / "nothing.bin")


def test_digest_when_asked_again_then_comes_from_the_folder_until_the_file_changes(tmp_path: Path) -> None:
    path, notes = tmp_path / "model.bin", tmp_path / "notes"
    path.write_bytes(b"one")
    assert file_digest(path, notes) == hashlib.sha256(b"one").hexdigest()
    [note] = notes.iterdir()
    note.write_text("remembered")
    ggml._digest.cache_clear()  # as in another process
    assert file_digest(path, notes) == "remembered"
    path.write_bytes(b"two!")
    assert file_digest(path, notes) == hashlib.sha256(b"two!").hexdigest()


def test_digest_when_its_folder_cannot_be_written_then_is_computed_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"one")
    assert file_digest(path, path / "not-a-folder") == hashlib.sha256(b"one").hexdigest()
