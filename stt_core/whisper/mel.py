"""The mel filter bank that whisper models carry: triangles over the spectrum, on Slaney's scale.

Every machine computes the same bits: logarithms and exponentials are `decimal`'s, which are correctly rounded, and the
rest is IEEE arithmetic. With 80 and with 128 filters they are the bits of `mel_filters.npz` in OpenAI's package, which
librosa computed; from there comes the order of the steps and of the precisions.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from stt_core.logs import get_logger

logger = get_logger(__name__)

#: Samples a second, and samples in a window of the Fourier transform.
SAMPLE_RATE = 16_000
WINDOW = 400
#: Slaney's scale: 3 mel for 200 Hz, and from 1000 Hz (15 mel) on 27 mel for each factor of 6.4.
_HZ_PER_MEL = Decimal(200) / 3
_BREAK_HZ, _BREAK_MEL = 1000, 15
_LOG_STEP = Decimal("6.4").ln() / 27


def mel_filters(count: int) -> NDArray[np.float32]:
    """Return the filters, each of the area 2 / width: (count, WINDOW // 2 + 1), over 0 to 8000 Hz."""
    highest = _BREAK_MEL + (Decimal(SAMPLE_RATE) / 2 / _BREAK_HZ).ln() / _LOG_STEP
    edges = np.array([float(_hertz(highest * step / (count + 1))) for step in range(count + 2)])
    bins = np.arange(WINDOW // 2 + 1) * (SAMPLE_RATE / WINDOW)
    width = np.diff(edges)
    distance = edges[:, None] - bins
    rising = -distance[:-2] / width[:-1, None]
    falling = distance[2:] / width[1:, None]
    filters: NDArray[np.float32] = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    filters *= (2 / (edges[2:] - edges[:-2]))[:, None]
    return filters


def _hertz(mel: Decimal) -> Decimal:
    return mel * _HZ_PER_MEL if mel < _BREAK_MEL else _BREAK_HZ * ((mel - _BREAK_MEL) * _LOG_STEP).exp()
