"""Takes offset and rumble out of samples before their loudness is measured: what lies under the voice says nothing.

A microphone's offset, mains hum (50 or 60 Hz), wind and steps can be far louder than speech and have no place in its
levels. Only the measuring hears the filtered samples; what is transcribed stays as it was recorded.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stt_core.audio.plan import SAMPLE_RATE

#: Below the telephone's 300 Hz and above most of a man's fundamental, which the harmonics stand in for.
_CUTOFF_HZ = 150.0
#: A Hamming window of so many samples passes from -53 dB to 0 within 3.3 / 401 of the sample rate, 132 Hz: 60 Hz is
#: gone, 220 Hz untouched (Oppenheim and Schafer, Discrete-Time Signal Processing, 7.5).
_TAPS = 401
_DELAY = _TAPS // 2
#: Samples that are transformed together (overlap-save): a longer transform does not stay in the processor's cache.
_TRANSFORM = 4096
_STEP = _TRANSFORM - (_TAPS - 1)


def _make_kernel() -> npt.NDArray[np.complex128]:
    """Return the filter as its spectrum."""
    positions = np.arange(_TAPS) - _DELAY
    low_pass = np.sinc(2 * _CUTOFF_HZ / SAMPLE_RATE * positions) * np.hamming(_TAPS)
    kernel = -low_pass / low_pass.sum()
    kernel[_DELAY] += 1
    return np.fft.rfft(kernel, _TRANSFORM)


_KERNEL = _make_kernel()


class RumbleFilter:
    """A high-pass filter without delay over a recording that comes in blocks (16 kHz, mono, signed 16 bit)."""

    def __init__(self) -> None:
        self._history: npt.NDArray[np.int16] | None = None
        self._half = b""

    def add(self, pcm: bytes) -> bytes:
        """Take the next block, cut anywhere, and return the filtered samples that are complete now."""
        data = self._half + pcm
        samples = np.frombuffer(data, "<i2", len(data) // 2)
        self._half = data[len(samples) * 2 :]
        if not len(samples):
            return b""
        if self._history is None:  # the recording is taken to have been as it begins, or an offset would be a click
            self._history = np.full(_DELAY, samples[0], np.int16)
        return self._filter(samples)

    def finish(self) -> bytes:
        """Return the filtered samples that are still to come, once."""
        return b"" if self._history is None else self._filter(np.full(_DELAY, self._history[-1], np.int16))

    def _filter(self, samples: npt.NDArray[np.int16]) -> bytes:
        heard = np.concatenate([self._history, samples]) if self._history is not None else samples
        self._history = heard[-(_TAPS - 1) :]
        if len(heard) < _TAPS:
            return b""
        complete = len(heard) - (_TAPS - 1)
        padded = np.pad(heard, (0, -complete % _STEP))
        parts = np.lib.stride_tricks.sliding_window_view(padded, _TRANSFORM)[::_STEP]
        filtered = np.fft.irfft(np.fft.rfft(parts) * _KERNEL)[:, _TAPS - 1 :].ravel()[:complete]
        return np.clip(np.rint(filtered), -32_768, 32_767).astype("<i2").tobytes()
