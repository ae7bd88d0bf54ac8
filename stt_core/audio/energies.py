"""How loud each short frame of a recording is: all that silence detection and cutting need to know of it.

The exact integer sum of squares of every frame is kept (8 bytes each 10 ms, 29 MB for 10 hours), gathered while the
samples stream by, so that speech is detected and cut points are found later without reading the samples again, and at
any threshold.
"""

from __future__ import annotations

import io
from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from stt_core.audio.plan import SAMPLE_RATE
from stt_core.errors import InvalidInputError

#: Length of a frame, 10 ms: fine enough for an onset, coarse enough for hours.
_FRAME_SAMPLES = SAMPLE_RATE // 100
#: Full scale of a 16-bit sample: 0 dBFS as pydub counts it.
FULL_SCALE = 32_768.0
#: What a frame without any sound is said to have, dBFS: below the quietest sound (one bit in one
#: sample of a frame is -112).
DIGITAL_SILENCE_DBFS = -120.0

#: Blocks are measured in slices of this size, so that a large block needs no larger arrays.
_SLICE_BYTES = 256 * 1024


@dataclass(frozen=True, eq=False)
class FrameEnergies:
    """The energies of a recording.

    `sums` holds the sum of squared samples of each frame of `frame_samples` samples; the last frame may be shorter
    than that (its missing samples count as zero). `total_samples` is the length of the recording.
    """

    sums: npt.NDArray[np.int64]
    frame_samples: int
    total_samples: int

    @property
    def frame_ms(self) -> int:
        """Length of a frame, ms."""
        return self.frame_samples * 1000 // SAMPLE_RATE

    def levels(self) -> npt.NDArray[np.float32]:
        """Return the level of each frame, dBFS; `DIGITAL_SILENCE_DBFS` where every sample is zero."""
        levels = self.sums.astype(np.float32)
        silent = levels == 0
        levels[silent] = 1.0
        np.log10(levels, out=levels)
        levels *= 10
        levels -= 10 * np.log10(self.frame_samples * FULL_SCALE**2)
        levels[silent] = DIGITAL_SILENCE_DBFS
        return levels

    def to_bytes(self) -> bytes:
        """Return the energies as a `.npy` file: frame length, recording length, then the sums, all int64."""
        file = io.BytesIO()
        shape = {"descr": "<i8", "fortran_order": False, "shape": (len(self.sums) + 2,)}
        npy.write_array_header_1_0(file, shape)
        file.write(np.array([self.frame_samples, self.total_samples], "<i8").data)
        file.write(self.sums.astype("<i8", copy=False).data)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> FrameEnergies:
        """Read what `to_bytes` wrote.

        Raises:
            InvalidInputError: The bytes are not that.
        """
        file = io.BytesIO(data)
        try:
            npy.read_magic(file)
            shape, _, kind = npy.read_array_header_1_0(file)
            values = np.frombuffer(data, np.dtype("<i8"), offset=file.tell())  # no second copy of 29 MB
        except (ValueError, EOFError) as error:
            raise InvalidInputError("The stored frame energies cannot be read.") from error
        if kind != np.dtype("<i8") or shape != values.shape or len(values) < 2 or values[0] < 1:
            raise InvalidInputError("The stored frame energies are of another shape.")
        frame_samples, total_samples = int(values[0]), int(values[1])
        if len(values) - 2 != -(-total_samples // frame_samples):
            raise InvalidInputError("The stored frame energies do not cover their recording.")
        return cls(values[2:], frame_samples, total_samples)


class EnergyMeter:
    """Gathers the energies of a recording from blocks of its samples, of any size."""

    def __init__(self) -> None:
        self._sums = array("q")
        self._rest = b""
        self._total_bytes = 0

    def add(self, pcm: bytes) -> None:
        """Take the next block: signed 16 bit little endian mono, cut anywhere."""
        self._total_bytes += len(pcm)
        data = self._rest + pcm if self._rest else pcm
        frame_bytes = _FRAME_SAMPLES * 2
        usable = len(data) - len(data) % frame_bytes
        slice_bytes = frame_bytes * max(1, _SLICE_BYTES // frame_bytes)
        for begin in range(0, usable, slice_bytes):
            samples = np.frombuffer(data, "<i2", min(slice_bytes, usable - begin) // 2, begin)
            self._sums.frombytes(_sum_squares(samples).tobytes())
        self._rest = data[usable:]

    def finish(self) -> FrameEnergies:
        """Return the energies of everything taken, once; an odd byte at the end is dropped."""
        rest = np.frombuffer(self._rest, "<i2", len(self._rest) // 2)
        if len(rest):
            filled = np.pad(rest, (0, _FRAME_SAMPLES - len(rest)))
            self._sums.append(int(_sum_squares(filled)[0]))
        return FrameEnergies(np.array(self._sums, np.int64, copy=False), _FRAME_SAMPLES, self._total_bytes // 2)


def measure_energies(pcm: bytes) -> FrameEnergies:
    """Return the energies of samples that are in memory."""
    meter = EnergyMeter()
    meter.add(pcm)
    return meter.finish()


def _sum_squares(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
    # float64 is exact up to 2**53; a 10 ms frame sums to 2**38 at most.
    frames = samples.reshape(-1, _FRAME_SAMPLES).astype(np.float64)
    sums: npt.NDArray[np.int64] = np.einsum("ij,ij->i", frames, frames).astype(np.int64)
    return sums
