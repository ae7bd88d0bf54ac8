"""The clock of a file against its samples: what is missing becomes silence, and nothing is dropped."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stt_core.audio.clock import SourceClock
from stt_core.audio.plan import SAMPLE_RATE

SECOND = SAMPLE_RATE
#: Each sample has a value of its own, and none is 0, as silence is.
SAMPLES = np.arange(1, 4 * SECOND // 1000 + 1, dtype="<i2")


def filled(clock: SourceClock, samples: np.ndarray, block: int = 1001) -> np.ndarray:  # type: ignore[type-arg]
    pcm = samples.tobytes()
    parts = [part for start in range(0, len(pcm), block) for part in clock.fill(pcm[start : start + block])]
    return np.frombuffer(b"".join(parts), "<i2")


def test_clock_when_the_sound_begins_late_puts_silence_before_it_and_counts_no_gap() -> None:
    clock = SourceClock()
    clock.note(0, 50)
    assert filled(clock, SAMPLES).tolist() == [0] * 50 + SAMPLES.tolist()
    assert clock.gap_samples == clock.owed_samples == 0


def test_clock_when_it_jumps_puts_silence_there_and_counts_it() -> None:
    clock = SourceClock()
    clock.note(0, 0)
    clock.note(10, 2000)
    assert filled(clock, SAMPLES, block=7).tolist() == [*SAMPLES[:10], *[0] * 2000, *SAMPLES[10:]]
    assert clock.gap_samples == 2000


def test_clock_when_packets_are_stamped_unevenly_does_not_drift() -> None:
    clock = SourceClock()
    clock.note(0, 0)
    for position in range(2, 60, 4):
        clock.note(position, 2000)
        clock.note(position + 2, 0)
    assert len(filled(clock, SAMPLES)) == len(SAMPLES) + 2000


def test_clock_that_begins_anew_goes_on_from_there() -> None:
    clock = SourceClock()
    clock.note(0, 0)
    clock.note(20, -20 - 2 * SECOND)
    clock.note(30, -20 - 2 * SECOND + 2000)
    assert filled(clock, SAMPLES).tolist() == [*SAMPLES[:30], *[0] * 2000, *SAMPLES[30:]]


def test_clock_when_ffmpeg_counts_from_0_again_sees_no_gap_there_and_the_next_one_in_its_place() -> None:
    clock = SourceClock()
    clock.note(0, 5)
    clock.note(0, 25)  # 20 samples later, another number of channels
    clock.note(10, 2025)
    assert filled(clock, SAMPLES).tolist() == [*[0] * 5, *SAMPLES[:30], *[0] * 2000, *SAMPLES[30:]]


@given(
    st.lists(st.tuples(st.integers(0, 80), st.integers(-(10**6), 5000)), max_size=20),
    st.integers(1, 200),
)
def test_clock_whatever_it_tells_keeps_every_sample_in_its_order(notes: list[tuple[int, int]], block: int) -> None:
    clock = SourceClock()
    for position, offset in sorted(notes, key=lambda note: note[0]):
        clock.note(position, offset)
    out = filled(clock, SAMPLES, block)
    assert out[out != 0].tolist() == SAMPLES.tolist()
