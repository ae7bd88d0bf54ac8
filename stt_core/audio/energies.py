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

from stt_core.audio.models import SAMPLE_RATE
from stt_core.errors import InvalidInputError
from stt_core.logs import logged

#: Length of a frame, ms: fine enough for an onset, coarse enough for hours.
FRAME_MS = 10
#: Full scale of a 16-bit sample: 0 dBFS as pydub counts it.
FULL_SCALE = 32_768.0
#: What a frame without any sound is said to have, dBFS: below the quietest sound (one bit in one
#: sample of a frame is -112).
DIGITAL_SILENCE_DBFS = -120.0


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

    @logged
    def levels(self) -> npt.NDArray[np.float32]:
        """Return the level of each frame, dBFS; `DIGITAL_SILENCE_DBFS` where every sample is zero."""
        mean_squares = (self.sums / self.frame_samples).astype(np.float32)
        levels = np.full(len(self.sums), DIGITAL_SILENCE_DBFS, np.float32)
        audible = mean_squares > 0
        levels[audible] = 10 * np.log10(mean_squares[audible] / np.float32(FULL_SCALE**2))
        return levels

    @logged
    def to_bytes(self) -> bytes:
        """Return the energies as a `.npy` file: frame length, recording length, then the sums, all int64."""
        file = io.BytesIO()
        np.save(file, np.concatenate(([self.frame_samples, self.total_samples], self.sums)), allow_pickle=False)
        return file.getvalue()

    @classmethod
    @logged
    def from_bytes(cls, data: bytes) -> FrameEnergies:
        """Read what `to_bytes` wrote.

        Raises:
            InvalidInputError: The bytes are not that.
        """
        try:
            values = np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise InvalidInputError("The stored frame energies cannot be read.") from error
        if values.dtype != np.int64 or values.ndim != 1 or len(values) < 2 or values[0] < 1:
            raise InvalidInputError("The stored frame energies are of another shape.")
        frame_samples, total_samples = int(values[0]), int(values[1])
        if len(values) - 2 != -(-total_samples // frame_samples):
            raise InvalidInputError("The stored frame energies do not cover their recording.")
        return cls(values[2:], frame_samples, total_samples)


class EnergyMeter:
    """Gathers the energies of a recording from blocks of its samples, of any size.

    Args:
        frame_ms: Length of a frame, ms.
    """

    def __init__(self, frame_ms: int = FRAME_MS) -> None:
        self._frame_samples = frame_ms * SAMPLE_RATE // 1000
        self._sums = array("q")
        self._rest = b""
        self._total_bytes = 0

    @logged
    def add(self, pcm: bytes) -> None:
        """Take the next block: signed 16 bit little endian mono, cut anywhere."""
        self._total_bytes += len(pcm)
        data = self._rest + pcm if self._rest else pcm
        usable = len(data) - len(data) % (self._frame_samples * 2)
        self._sums.frombytes(self._sum_squares(np.frombuffer(data, "<i2", usable // 2)).tobytes())
        self._rest = data[usable:]

    @logged
    def finish(self) -> FrameEnergies:
        """Return the energies of everything taken so far; an odd byte at the end is dropped."""
        sums = np.frombuffer(self._sums, np.int64) if self._sums else np.empty(0, np.int64)
        rest = np.frombuffer(self._rest, "<i2", len(self._rest) // 2)
        if len(rest):
            sums = np.append(sums, self._sum_squares(np.pad(rest, (0, self._frame_samples - len(rest)))))
        return FrameEnergies(sums, self._frame_samples, self._total_bytes // 2)

    def _sum_squares(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
        # float64 is exact up to 2**53; a 10 ms frame sums to 2**38 at most.
        frames = samples.reshape(-1, self._frame_samples).astype(np.float64)
        sums: npt.NDArray[np.int64] = np.einsum("ij,ij->i", frames, frames).astype(np.int64)
        return sums


@logged
def measure_energies(pcm: bytes, frame_ms: int = FRAME_MS) -> FrameEnergies:
    """Return the energies of samples that are in memory."""
    meter = EnergyMeter(frame_ms)
    meter.add(pcm)
    return meter.finish()
