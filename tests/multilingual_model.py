"""A tiny multilingual whisper model, made in a moment: it takes every sound for German and says the same few words.

whisper.cpp takes a model for multilingual by the size of its vocabulary, so the path through language detection is the
real one. The decoder's attention and MLP say next to nothing, so that its state is the embedding of the position; the
embedding of the word that is to come at a position is aligned with it. Filters and vocabulary are the demo model's.
Format: whisper.cpp, `models/convert-pt-to-ggml.py`.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from stt_core.whisper.catalog import CATALOG, DEMO

#: Its name, once it lies in `WHISPER_MODELS_DIR`.
MODEL = "many"
#: The language it always hears, and the words it always says.
LANGUAGE, WORDS = "de", ("water", "morning", "train")
_VOCABULARY, _AUDIO_CONTEXT, _TEXT_CONTEXT, _MELS = 51_865, 1500, 448, 80
_WIDTH, _HEADS, _LAYERS = 64, 1, 1
#: Tokens of the multilingual vocabulary: end of text, <|de|>, <|0.00|> and <|29.80|>, so that the words fill a chunk.
#: The prompt takes the positions 0, 1 and 2.
_END, _GERMAN, _BEGIN, _WINDOW_END = 50_257, 50_261, 50_364, 51_854

Array = npt.NDArray[np.float32]


def make_multilingual_model(path: Path) -> None:
    """Write the model (8 MB)."""
    random = np.random.default_rng(0)
    demo = CATALOG[DEMO].bundled
    assert demo is not None
    with demo.open("rb") as source:
        source.seek(4 + 11 * 4)
        filters = source.read(8)
        n_mels, n_fft = struct.unpack("<2i", filters)
        filters += source.read(4 * n_mels * n_fft)
        (count,) = struct.unpack("<i", source.read(4))
        vocabulary = [source.read(struct.unpack("<I", source.read(4))[0]) for _ in range(count)]
    vocabulary += [b"[_extra_]"] * (_END - len(vocabulary))
    positions = random.standard_normal((_TEXT_CONTEXT, _WIDTH)).astype(np.float32)
    embedding = random.standard_normal((_VOCABULARY, _WIDTH)).astype(np.float32) * 0.02
    said = [vocabulary.index(f" {word}".encode()) for word in WORDS]
    for position, token in [(0, _GERMAN), *enumerate([_BEGIN, *said, _WINDOW_END, _END], start=2)]:
        embedding[token] = positions[position] / positions[position].std() * 0.5
    with path.open("wb") as file:
        dimensions = (_WIDTH, _HEADS, _LAYERS)
        header = (_VOCABULARY, _AUDIO_CONTEXT, *dimensions, _TEXT_CONTEXT, *dimensions, _MELS, 1)
        file.write(struct.pack("<I11i", 0x67676D6C, *header) + filters + struct.pack("<i", len(vocabulary)))
        file.write(b"".join(struct.pack("<I", len(word)) + word for word in vocabulary))
        _write(file, "encoder.positional_embedding", _noise(random, _AUDIO_CONTEXT, _WIDTH))
        _write(file, "encoder.conv1.weight", _noise(random, _WIDTH, _MELS, 3))
        _write(file, "encoder.conv2.weight", _noise(random, _WIDTH, _WIDTH, 3))
        for name in ("encoder.conv1.bias", "encoder.conv2.bias"):
            _write(file, name, np.zeros((_WIDTH, 1), np.float32))
        _write_norm(file, "encoder.ln_post")
        _write_layer(file, random, "encoder.blocks.0", ("attn",))
        _write(file, "decoder.positional_embedding", positions)
        _write(file, "decoder.token_embedding.weight", embedding)
        _write_norm(file, "decoder.ln")
        _write_layer(file, random, "decoder.blocks.0", ("attn", "cross_attn"))


def _noise(random: np.random.Generator, *shape: int) -> Array:
    return random.standard_normal(shape).astype(np.float32) * np.float32(1e-3)


def _write_layer(file: BinaryIO, random: np.random.Generator, prefix: str, attentions: tuple[str, ...]) -> None:
    for attention in attentions:
        _write_norm(file, f"{prefix}.{attention}_ln")
        for part in ("query", "key", "value", "out"):
            _write(file, f"{prefix}.{attention}.{part}.weight", _noise(random, _WIDTH, _WIDTH))
            if part != "key":
                _write(file, f"{prefix}.{attention}.{part}.bias", np.zeros(_WIDTH, np.float32))
    _write_norm(file, f"{prefix}.mlp_ln")
    for number, shape in ((0, (4 * _WIDTH, _WIDTH)), (2, (_WIDTH, 4 * _WIDTH))):
        _write(file, f"{prefix}.mlp.{number}.weight", _noise(random, *shape))
        _write(file, f"{prefix}.mlp.{number}.bias", np.zeros(shape[0], np.float32))


def _write_norm(file: BinaryIO, name: str) -> None:
    _write(file, f"{name}.weight", np.ones(_WIDTH, np.float32))
    _write(file, f"{name}.bias", np.zeros(_WIDTH, np.float32))


def _write(file: BinaryIO, name: str, values: Array) -> None:
    half = values.ndim >= 2 and not name.endswith(("positional_embedding", ".bias"))
    file.write(struct.pack("<3i", values.ndim, len(name), int(half)))
    file.write(struct.pack(f"<{values.ndim}i", *reversed(values.shape)) + name.encode())
    file.write(values.astype(np.float16 if half else np.float32).tobytes())
