from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_core.audio.energies import DIGITAL_SILENCE_DBFS, EnergyMeter, FrameEnergies, measure_energies
from stt_core.errors import InvalidInputError
from tests.core.audio.conftest import pcm_of, tone


@given(st.binary(max_size=4000), st.lists(st.integers(0, 700), max_size=12))
def test_meter_fed_in_any_blocks_gives_the_same_exact_sums(data: bytes, sizes: list[int]) -> None:
    meter = EnergyMeter()
    position = 0
    for size in [*sizes, len(data)]:
        meter.add(data[position : position + size])
        position += size
    energies = meter.finish()
    samples = [int(value) for value in np.frombuffer(data, "<i2", len(data) // 2)]
    expected = [sum(value * value for value in samples[start : start + 160]) for start in range(0, len(samples), 160)]
    assert energies.sums.tolist() == expected
    assert energies.total_samples == len(samples)


@given(st.binary(max_size=2000))
def test_energies_written_and_read_are_the_same(data: bytes) -> None:
    energies = measure_energies(data)
    again = FrameEnergies.from_bytes(energies.to_bytes())
    assert again.sums.tolist() == energies.sums.tolist()
    assert (again.frame_samples, again.total_samples) == (160, energies.total_samples)


@pytest.mark.parametrize("data", [b"", b"text", measure_energies(b"\1\2" * 900).to_bytes()[:-8]])
def test_energies_that_are_damaged_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError, match="energies"):
        FrameEnergies.from_bytes(data)


def test_levels_are_dbfs() -> None:
    levels = measure_energies(pcm_of(tone(1, 32767 / 10))).levels()
    assert levels.mean() == pytest.approx(-20 - 3.01, abs=0.05)  # a sine's RMS is 3 dB under its peak
    assert measure_energies(bytes(3200)).levels().tolist() == [DIGITAL_SILENCE_DBFS] * 10
    full = measure_energies(np.full(160, -32768, "<i2").tobytes()).levels()
    assert full.tolist() == pytest.approx([0.0], abs=1e-4)
