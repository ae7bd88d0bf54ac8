"""Where the samples that ffmpeg decodes belong on the clock of their file, and the silence between them.

ffmpeg's own way (`aresample=async`) drops sound where time stamps run backwards, and holds the silence of a gap in
memory: after a pause of half an hour nothing came out any more. So ffmpeg only tells where the time stamps leave the
count of its samples, and the silence is put in here, block by block; no sample is ever dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from stt_core.audio.plan import SAMPLE_BYTES, SAMPLE_RATE

#: Time stamps that are off by less are the grain of a container's clock: 0.1 s.
GRAIN_SAMPLES = SAMPLE_RATE // 10
#: A clock that goes back by more began anew, where two streams were joined; by less, packets were stamped unevenly.
_RESTART_SAMPLES = SAMPLE_RATE
#: Silence is handed out in blocks of so many bytes.
_BLOCK_BYTES = 256 * 1024


class SourceClock:
    """The clock of a file against the samples of one decoding, in samples at 16 kHz."""

    def __init__(self) -> None:
        #: Silence put between samples, without that before the first one.
        self.gap_samples = 0
        #: Silence that was noted and is not handed out yet.
        self.owed_samples = 0
        self._jumps: deque[tuple[int, int]] = deque()
        self._passed_bytes = 0
        #: Where on the clock the first sample would be, had all been as regular as now; None before the first sample.
        self._offset: int | None = None
        #: By how much the samples are behind the clock of the file, for lack of a gap in which to catch up.
        self._late = 0
        #: Samples before ffmpeg last began to count.
        self._origin = 0

    def note(self, position: int, offset: int) -> None:
        """Take note that the sample at `position` of ffmpeg's count has the time `position + offset`.

        ffmpeg counts from 0 again where a stream goes on with other channels or another rate; that is no gap.
        """
        if position == 0 and self._offset is not None:
            self._origin = max(self._origin, offset - self._offset)
            return
        position += self._origin
        offset -= self._origin
        step = offset - (self._offset or 0)
        missing = max(0, step - self._late)
        if self._offset is None:
            missing = max(0, step)  # the sound begins late; before 0 is what a decoder needs to begin
        elif step < -_RESTART_SAMPLES:
            self._late = 0
        else:
            self._late = max(0, self._late - step)
            self.gap_samples += missing
        self._offset = offset
        if missing:
            self.owed_samples += missing
            self._jumps.append((position * SAMPLE_BYTES, missing))

    def fill(self, block: bytes) -> Iterator[bytes]:
        """Yield the next samples as ffmpeg gave them, with the silence before and between them."""
        while self._jumps and self._jumps[0][0] < self._passed_bytes + len(block):
            position, missing = self._jumps.popleft()
            before, block = self._split(block, position - self._passed_bytes)
            if before:
                yield before
            yield from self._silence(missing)
        self._passed_bytes += len(block)
        yield block

    def _split(self, block: bytes, size: int) -> tuple[bytes, bytes]:
        """Cut a block where a jump is, which may have been noted a little late after ffmpeg began to count anew."""
        size = max(size, self._passed_bytes % SAMPLE_BYTES)
        self._passed_bytes += size
        return block[:size], block[size:]

    def _silence(self, samples: int) -> Iterator[bytes]:
        while samples:
            part = min(samples, _BLOCK_BYTES // SAMPLE_BYTES)
            samples -= part
            self.owed_samples -= part
            yield bytes(part * SAMPLE_BYTES)
