"""Where somebody speaks, by the voice: the probability that Silero's network gives each 32 ms of a recording.

It tells voices from other sounds (music, traffic, keys), where loudness cannot, and takes a thousandth of real time, so
every recording is listened to while it is decoded. The thresholds are Silero's own defaults: speech begins at a
probability of 0.5 and goes on while it stays over 0.35. Voices across a room are faint: they are found from 0.2 on,
where hardly anything else is.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from stt_core.audio.plan import SAMPLE_BYTES, SAMPLE_RATE, Span
from stt_core.audio.silence import runs, to_spans
from stt_core.audio.silero import WINDOW_SAMPLES, SileroNetwork
from stt_core.errors import InvalidInputError
from stt_core.logs import get_logger

logger = get_logger(__name__)

_BEGINS_AT = 0.5
_GOES_ON_AT = 0.35
_FAINT = 0.2
#: Windows over the threshold that make a voice: two, 64 ms, less than the shortest syllable.
_LEAST_WINDOWS = 2
_WINDOW_BYTES = WINDOW_SAMPLES * SAMPLE_BYTES


@dataclass(frozen=True, eq=False)
class Voice:
    """The probability of a voice in each window of 512 samples; the last one may be shorter, filled up with zeros."""

    probabilities: npt.NDArray[np.float32]
    total_samples: int

    def spans(self, *, min_silence_ms: int, faint: bool = False) -> list[Span]:
        """Return the intervals in which a voice is heard: disjoint spans in samples, in order.

        Args:
            min_silence_ms: Pauses at least so long separate intervals.
            faint: Whether what is less probable counts too.
        """
        begins_at, goes_on_at = (_FAINT, _FAINT) if faint else (_BEGINS_AT, _GOES_ON_AT)
        likely = self.probabilities > goes_on_at
        for first, end in runs(likely, bridge=1):
            part = self.probabilities[first:end]
            if end - first < _LEAST_WINDOWS or part.max() < begins_at:
                likely[first:end] = False
        bridge = -(-min_silence_ms * SAMPLE_RATE // (1000 * WINDOW_SAMPLES))
        return to_spans(runs(likely, bridge=max(1, bridge)), WINDOW_SAMPLES, self.total_samples)

    def likelihood(self, span: Span) -> float:
        """Return how probable a voice is in a span at its most probable, over 64 ms."""
        first, end = span.start // WINDOW_SAMPLES, -(-span.end // WINDOW_SAMPLES)
        heard = self.probabilities[first:end]
        if len(heard) < _LEAST_WINDOWS:
            return float(heard.max(initial=0.0))
        return float(np.minimum(heard[:-1], heard[1:]).max())

    def to_bytes(self) -> bytes:
        """Return the voice as a `.npz` file of half precision: 2 MB for 10 hours."""
        file = io.BytesIO()
        np.savez(file, probabilities=self.probabilities.astype("<f2"), total_samples=self.total_samples)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Voice:
        """Read what `to_bytes` wrote.

        Raises:
            InvalidInputError: The bytes are not that.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                return cls(stored["probabilities"].astype(np.float32), int(stored["total_samples"]))
        except (ValueError, EOFError, KeyError, OSError, TypeError, BadZipFile) as error:
            raise InvalidInputError("The stored voice probabilities cannot be read.") from error


def measure_voice(blocks: Iterable[bytes]) -> Voice:
    """Return the voice of samples that lie somewhere (16 kHz, mono, signed 16 bit), cut anywhere."""
    meter = VoiceMeter()
    for block in blocks:
        meter.add(block)
    return meter.finish()


class VoiceMeter:
    """Listens to a recording for a voice, block by block."""

    def __init__(self) -> None:
        self._network = SileroNetwork()
        self._heard: list[npt.NDArray[np.float32]] = []
        self._rest = b""
        self._total_bytes = 0

    def add(self, pcm: bytes) -> None:
        """Take the next block: signed 16 bit little endian mono, cut anywhere."""
        self._total_bytes += len(pcm)
        data = self._rest + pcm if self._rest else pcm
        usable = len(data) - len(data) % _WINDOW_BYTES
        if usable:
            self._heard.append(self._network.listen(np.frombuffer(data, "<i2", usable // SAMPLE_BYTES)))
        self._rest = data[usable:]

    def finish(self) -> Voice:
        """Return the voice of everything taken, once; an odd byte at the end is dropped."""
        total_samples = self._total_bytes // SAMPLE_BYTES
        self._rest = self._rest[: len(self._rest) // SAMPLE_BYTES * SAMPLE_BYTES]
        if self._rest:
            self.add(bytes(-len(self._rest) % _WINDOW_BYTES))
        return Voice(np.concatenate(self._heard) if self._heard else np.zeros(0, np.float32), total_samples)
