"""Make a whisper model of full size whose weights mean nothing, to measure speed with.

    python benchmarks/make_speed_model.py OUT [--size base] [--tokens 80]

It has the tensors of the published English-only model of that size, so it takes the same time. Whatever it hears it
says `--tokens` known words a window, then the timestamp 29.00, then ends: as many words as people speak in 29 s.

How the decoder is made to speak by heart: every layer's contribution to the residual stream is scaled down to nearly
nothing, so what reaches the last layer norm is the token's embedding plus that of its position. Positions are drawn
large, and the embedding of the word wanted next points along its position's direction: it has the greatest product.
With text of former windows before it (without `-mc 0`) positions shift, so it must be run with `-mc 0`.

Mel filters and vocabulary are those of the bundled demo model. Format: whisper.cpp, `models/convert-pt-to-ggml.py`,
f16.
"""

from __future__ import annotations

import argparse
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from stt_core.whisper.catalog import CATALOG, DEMO
from stt_core.whisper.ggml import MAGIC

#: Width, heads and layers (of the encoder, and of the decoder) of OpenAI's models.
SIZES = {"tiny": (384, 6, 4), "base": (512, 8, 6), "small": (768, 12, 12), "medium": (1024, 16, 24)}
AUDIO_POSITIONS, TEXT_POSITIONS, MELS, F16 = 1500, 448, 80, 1
#: Of the English-only vocabulary: the end of the text and the timestamp 0.00; a timestamp is worth 20 ms.
END, FIRST_TIMESTAMP = 50_256, 50_363
LAST_SECONDS = 29.0

Array = npt.NDArray[np.float32]


class SpeedModel:
    """Writes one model; `source` lends filters and vocabulary."""

    def __init__(self, source: Path, size: str) -> None:
        self.width, self.heads, self.layers = SIZES[size]
        self.random = np.random.default_rng(0)
        with source.open("rb") as file:
            file.seek(4)
            self.vocabulary_size = struct.unpack("<11i", file.read(44))[0]
            filters = struct.unpack("<2i", file.read(8))
            self.filters = struct.pack("<2i", *filters) + file.read(4 * filters[0] * filters[1])
            (count,) = struct.unpack("<i", file.read(4))
            self.words = [file.read(struct.unpack("<I", file.read(4))[0]) for _ in range(count)]

    def write(self, target: Path, tokens: int) -> None:
        hyperparameters = [
            *(self.vocabulary_size, AUDIO_POSITIONS, self.width, self.heads, self.layers),
            *(TEXT_POSITIONS, self.width, self.heads, self.layers, MELS, F16),
        ]
        positions, embeddings = self.recital(tokens)
        with target.open("wb") as file:
            file.write(struct.pack("<I11i", MAGIC, *hyperparameters) + self.filters)
            file.write(struct.pack("<i", len(self.words)))
            file.writelines(struct.pack("<I", len(word)) + word for word in self.words)
            self.tensor(file, "encoder.positional_embedding", self.noise(AUDIO_POSITIONS, self.width), half=False)
            for number, channels in ((1, MELS), (2, self.width)):
                self.tensor(file, f"encoder.conv{number}.weight", self.noise(self.width, channels, 3))
                self.tensor(file, f"encoder.conv{number}.bias", self.noise(self.width, 1), half=False)
            self.layer_norm(file, "encoder.ln_post")
            for layer in range(self.layers):
                self.block(file, f"encoder.blocks.{layer}", ("attn",), quiet=False)
            self.tensor(file, "decoder.positional_embedding", positions, half=False)
            self.tensor(file, "decoder.token_embedding.weight", embeddings)
            self.layer_norm(file, "decoder.ln")
            for layer in range(self.layers):
                self.block(file, f"decoder.blocks.{layer}", ("attn", "cross_attn"), quiet=True)

    def recital(self, tokens: int) -> tuple[Array, Array]:
        """Return the embeddings of positions and tokens that make the decoder say its words in order."""
        ordinary = [
            number
            for number, word in enumerate(self.words)
            if word[:1] == b" " and word[1:].isalpha() and word[1:].islower() and 3 <= len(word[1:]) <= 8
        ]
        words = np.random.default_rng(1).choice(ordinary, tokens, replace=False)
        script = [FIRST_TIMESTAMP, *words, FIRST_TIMESTAMP + round(LAST_SECONDS / 0.02), END]
        positions = self.random.standard_normal((TEXT_POSITIONS, self.width), dtype=np.float32)
        embeddings = self.noise(self.vocabulary_size, self.width)
        directions = positions[: len(script)]
        directions = directions - directions.mean(axis=1, keepdims=True)
        embeddings[script] = 0.06 * directions / directions.std(axis=1, keepdims=True)
        return positions, embeddings

    def block(self, file: BinaryIO, name: str, attentions: tuple[str, ...], *, quiet: bool) -> None:
        """Write a transformer layer; one that is `quiet` hardly adds anything to what passes through it."""
        out = 1e-4 if quiet else 0.02
        for attention in attentions:
            self.layer_norm(file, f"{name}.{attention}_ln")
            for part in ("query", "key", "value", "out"):
                scale = out if part == "out" else 0.02
                self.tensor(file, f"{name}.{attention}.{part}.weight", self.noise(self.width, self.width, scale=scale))
                if part != "key":
                    self.tensor(file, f"{name}.{attention}.{part}.bias", self.noise(self.width, scale=scale))
        self.layer_norm(file, f"{name}.mlp_ln")
        for part, rows, columns, scale in ((0, 4 * self.width, self.width, 0.02), (2, self.width, 4 * self.width, out)):
            self.tensor(file, f"{name}.mlp.{part}.weight", self.noise(rows, columns, scale=scale))
            self.tensor(file, f"{name}.mlp.{part}.bias", self.noise(rows, scale=scale))

    def layer_norm(self, file: BinaryIO, name: str) -> None:
        self.tensor(file, f"{name}.weight", np.ones(self.width, np.float32))
        self.tensor(file, f"{name}.bias", np.zeros(self.width, np.float32))

    def noise(self, *shape: int, scale: float = 0.02) -> Array:
        return self.random.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    @staticmethod
    def tensor(file: BinaryIO, name: str, values: Array, *, half: bool = True) -> None:
        half = half and values.ndim > 1  # vectors stay f32
        file.write(struct.pack("<3i", values.ndim, len(name), int(half)))
        file.write(struct.pack(f"<{values.ndim}i", *reversed(values.shape)) + name.encode())
        file.write(values.astype(np.float16 if half else np.float32).tobytes())


def make_speed_model(target: Path, size: str = "base", tokens: int = 80) -> None:
    """Write the model file."""
    source = CATALOG[DEMO].bundled
    assert source is not None
    SpeedModel(source, size).write(target, tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, metavar="OUT")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--tokens", type=int, default=80)
    options = parser.parse_args()
    make_speed_model(options.target, options.size, options.tokens)
    print(f"{options.target}: {options.target.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
