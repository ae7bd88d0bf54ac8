"""Make a whisper model of full size whose weights mean nothing, to measure speed with.

    python benchmarks/make_speed_model.py OUT [--size base] [--tokens 80]

It has the tensors of the published English-only model of that size, so it takes the same time. Whatever it hears it
says `--tokens` known words a window, then the timestamp 29.00, then ends: as many words as people speak in 29 s.

How the decoder is made to speak by heart: every layer's contribution to the residual stream is scaled down to nearly
nothing, so what reaches the last layer norm is the token's embedding plus that of its position. Positions are drawn
large, and the embedding of the word wanted next points along its position's direction: it has the greatest product.
With text of former windows before it (without `-mc 0`) positions shift, so it must be run with `-mc 0`.

The vocabulary is that of the bundled demo model.
"""

from __future__ import annotations

import argparse
import struct
from pathlib import Path

import numpy as np

from stt_core.whisper.catalog import CATALOG, DEMO
from stt_core.whisper.conversion import write_ggml
from stt_core.whisper.ctranslate2 import Tensors

#: What a stack calls the one of size `base`.
MODEL = "speed-base"
#: Width and layers (of the encoder, and of the decoder) of OpenAI's models.
SIZES = {"tiny": (384, 4), "base": (512, 6), "small": (768, 12), "medium": (1024, 24)}
AUDIO_POSITIONS, TEXT_POSITIONS, MELS = 1500, 448, 80
#: Of the English-only vocabulary: its size, the end of the text and the timestamp 0.00; a timestamp is worth 20 ms.
VOCABULARY, END, FIRST_TIMESTAMP = 51_864, 50_256, 50_363
LAST_SECONDS = 29.0


def make_speed_model(target: Path, size: str = "base", tokens: int = 80) -> None:
    """Write the model file."""
    words = read_vocabulary()
    with target.open("wb") as file:
        write_ggml(make_tensors(words, *SIZES[size], tokens), words, file)


def read_vocabulary() -> list[bytes]:
    source = CATALOG[DEMO].bundled
    assert source is not None
    with source.open("rb") as file:
        file.seek(4 + 11 * 4)
        filters, bins = struct.unpack("<2i", file.read(8))
        file.seek(4 * filters * bins, 1)
        (count,) = struct.unpack("<i", file.read(4))
        return [file.read(struct.unpack("<I", file.read(4))[0]) for _ in range(count)]


def make_tensors(words: list[bytes], width: int, layers: int, tokens: int) -> Tensors:
    """Return the weights by CTranslate2's names, half as wide as they are computed, for they are many."""
    random, made = np.random.default_rng(0), Tensors()

    def noise(*shape: int, scale: float = 0.02) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32).astype(np.float16) * np.float16(scale)

    def add_linear(name: str, rows: int, columns: int, scale: float = 0.02) -> None:
        made[f"{name}/weight"], made[f"{name}/bias"] = noise(rows, columns, scale=scale), noise(rows, scale=scale)

    def add_norm(name: str) -> None:
        made[f"{name}/gamma"], made[f"{name}/beta"] = np.ones(width), np.zeros(width)

    # Of attention, the number of matrices that are one: query, key, value; query alone; key, value.
    own, cross = ("self_attention", (3,)), ("attention", (1, 2))
    # A layer of the decoder hardly adds anything to what passes through it.
    for side, attentions, out in (("encoder", (own,), 0.02), ("decoder", (own, cross), 1e-4)):
        for layer in (f"{side}/layer_{number}" for number in range(layers)):
            for attention, joined in attentions:
                for number, count in enumerate(joined):
                    add_linear(f"{layer}/{attention}/linear_{number}", count * width, width)
                add_linear(f"{layer}/{attention}/linear_{len(joined)}", width, width, out)
                add_norm(f"{layer}/{attention}/layer_norm")
            add_linear(f"{layer}/ffn/linear_0", 4 * width, width)
            add_linear(f"{layer}/ffn/linear_1", width, 4 * width, out)
            add_norm(f"{layer}/ffn/layer_norm")
        add_norm(f"{side}/layer_norm")
    for number, channels in ((1, MELS), (2, width)):
        made[f"encoder/conv{number}/weight"] = noise(width, channels, 3)
        made[f"encoder/conv{number}/bias"] = noise(width)
    made["encoder/position_encodings/encodings"] = noise(AUDIO_POSITIONS, width)
    # Positions and tokens that make the decoder say its words in order.
    ordinary = [
        number
        for number, word in enumerate(words)
        if word[:1] == b" " and word[1:].isalpha() and word[1:].islower() and 3 <= len(word[1:]) <= 8
    ]
    spoken = np.random.default_rng(1).choice(ordinary, tokens, replace=False)
    script = [FIRST_TIMESTAMP, *spoken, FIRST_TIMESTAMP + round(LAST_SECONDS / 0.02), END]
    positions = random.standard_normal((TEXT_POSITIONS, width), dtype=np.float32)
    directions = positions[: len(script)] - positions[: len(script)].mean(axis=1, keepdims=True)
    embeddings = noise(VOCABULARY, width)
    embeddings[script] = 0.06 * directions / directions.std(axis=1, keepdims=True)
    made["decoder/position_encodings/encodings"] = positions
    made["decoder/embeddings/weight"] = embeddings
    return made


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
