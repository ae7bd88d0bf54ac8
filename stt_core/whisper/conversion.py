"""CTranslate2's whisper models written as whisper.cpp's (ggml): the same weights, to the bit.

Matrices are 16-bit floats in both, all else is 32-bit in ggml. CTranslate2 holds query, key and value of
self-attention in one matrix, and key and value of cross-attention in another: they are taken apart. Formats:
whisper.cpp, `models/convert-pt-to-ggml.py` and `whisper_model_load`; CTranslate2, `specs/whisper_spec.py`.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from stt_core.errors import ModelInvalidError
from stt_core.logs import get_logger
from stt_core.whisper.ctranslate2 import Tensors
from stt_core.whisper.ggml import MAGIC
from stt_core.whisper.mel import mel_filters

logger = get_logger(__name__)

#: Width of an attention head in every whisper model, and windows that an encoder hears (30 s).
_HEAD = 64
_AUDIO_CONTEXT = 1500
#: Words of GPT-2's vocabularies; whisper.cpp names the tokens after them itself.
_WORDS = 50_257
_F32, _F16 = 0, 1


def write_ggml(tensors: Tensors, words: list[bytes], file: BinaryIO) -> None:
    """Write a whisper.cpp model; the memory it takes is that of one tensor.

    Args:
        tensors: Of a CTranslate2 model, by name.
        words: The bytes of each token.
        file: Where to.

    Raises:
        ModelInvalidError: A tensor of a whisper model is missing.
        OSError: The file cannot be written.
    """
    try:
        _Writer(tensors, file).write(words)
    except KeyError as error:
        raise ModelInvalidError(f"The CTranslate2 model has no tensor {error}.") from error


class _Writer:
    def __init__(self, tensors: Tensors, file: BinaryIO) -> None:
        self._tensors = tensors
        self._file = file
        self._vocabulary, self._state = tensors["decoder/embeddings/weight"].shape

    def write(self, words: list[bytes]) -> None:
        mels = self._tensors["encoder/conv1/weight"].shape[1]
        text_context = len(self._tensors["decoder/position_encodings/encodings"])
        heads = self._state // _HEAD
        encoder, decoder = (self._state, heads, self._layers("encoder")), (self._state, heads, self._layers("decoder"))
        self._numbers(MAGIC, self._vocabulary, _AUDIO_CONTEXT, *encoder, text_context, *decoder, mels, _F16)
        filters = mel_filters(mels)
        self._numbers(*filters.shape)
        self._file.write(filters.tobytes())
        self._numbers(min(len(words), _WORDS))
        for word in words[:_WORDS]:
            self._numbers(len(word))
            self._file.write(word)
        self._write_encoder()
        self._write_decoder()

    def _layers(self, side: str) -> int:
        start = f"{side}/layer_"
        return len({name.split("/")[1] for name in self._tensors if name.startswith(start)} - {"layer_norm"})

    def _write_encoder(self) -> None:
        self._put("encoder.positional_embedding", self._tensors["encoder/position_encodings/encodings"], _F32)
        for name in ("conv1", "conv2"):
            self._put(f"encoder.{name}.weight", self._tensors[f"encoder/{name}/weight"], _F16)
            self._put(f"encoder.{name}.bias", self._tensors[f"encoder/{name}/bias"][:, None], _F32)
        for layer in range(self._layers("encoder")):
            self._write_layer(f"encoder.blocks.{layer}", f"encoder/layer_{layer}")
        self._norm("encoder.ln_post", "encoder/layer_norm")

    def _write_decoder(self) -> None:
        self._put("decoder.positional_embedding", self._tensors["decoder/position_encodings/encodings"], _F32)
        self._put("decoder.token_embedding.weight", self._tensors["decoder/embeddings/weight"], _F16)
        for layer in range(self._layers("decoder")):
            target, source = f"decoder.blocks.{layer}", f"decoder/layer_{layer}"
            self._write_layer(target, source)
            self._linear(f"{target}.cross_attn.query", f"{source}/attention/linear_0")
            self._linear(f"{target}.cross_attn.key", f"{source}/attention/linear_1", part=0, bias=False)
            self._linear(f"{target}.cross_attn.value", f"{source}/attention/linear_1", part=1)
            self._linear(f"{target}.cross_attn.out", f"{source}/attention/linear_2")
            self._norm(f"{target}.cross_attn_ln", f"{source}/attention/layer_norm")
        self._norm("decoder.ln", "decoder/layer_norm")

    def _write_layer(self, target: str, source: str) -> None:
        self._linear(f"{target}.attn.query", f"{source}/self_attention/linear_0", part=0)
        self._linear(f"{target}.attn.key", f"{source}/self_attention/linear_0", part=1, bias=False)
        self._linear(f"{target}.attn.value", f"{source}/self_attention/linear_0", part=2)
        self._linear(f"{target}.attn.out", f"{source}/self_attention/linear_1")
        self._norm(f"{target}.attn_ln", f"{source}/self_attention/layer_norm")
        self._linear(f"{target}.mlp.0", f"{source}/ffn/linear_0")
        self._linear(f"{target}.mlp.2", f"{source}/ffn/linear_1")
        self._norm(f"{target}.mlp_ln", f"{source}/ffn/layer_norm")

    def _linear(self, target: str, source: str, part: int | None = None, bias: bool = True) -> None:
        rows = slice(None) if part is None else slice(part * self._state, (part + 1) * self._state)
        self._put(f"{target}.weight", self._tensors[f"{source}/weight"][rows], _F16)
        if bias:
            self._put(f"{target}.bias", self._tensors[f"{source}/bias"][rows], _F32)

    def _norm(self, target: str, source: str) -> None:
        self._put(f"{target}.weight", self._tensors[f"{source}/gamma"], _F32)
        self._put(f"{target}.bias", self._tensors[f"{source}/beta"], _F32)

    def _put(self, name: str, values: NDArray[np.generic], kind: int) -> None:
        self._numbers(values.ndim, len(name), kind, *reversed(values.shape))
        self._file.write(name.encode())
        self._file.write(values.astype("<f2" if kind == _F16 else "<f4").tobytes())

    def _numbers(self, *values: int) -> None:
        self._file.write(struct.pack(f"<{len(values)}i", *values))
