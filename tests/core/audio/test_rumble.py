"""The filter before measuring: what lies under a voice goes, a voice stays where it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_core.audio.plan import SAMPLE_RATE
from stt_core.audio.rumble import RumbleFilter
from tests.core.audio.conftest import noise, pcm_of


def filtered(pcm: bytes, sizes: list[int] | None = None) -> bytes:
    stream, parts, position = RumbleFilter(), [], 0
    for size in [*(sizes or []), len(pcm)]:
        parts.append(stream.add(pcm[position : position + size]))
        position += size
    return b"".join([*parts, stream.finish()])


def level(sound: npt.NDArray[np.float64]) -> float:
    heard = np.frombuffer(filtered(pcm_of(sound)), "<i2").astype(float)
    return float(20 * np.log10(max(1e-9, np.sqrt((heard**2).mean()) / np.sqrt((sound**2).mean()))))


def sine(hz: float) -> npt.NDArray[np.float64]:
    return 8000 * np.sin(2 * np.pi * hz * np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE)


@pytest.mark.parametrize(
    ("hz", "least", "most"), [(50, -120, -40), (60, -120, -40), (250, -0.5, 0.5), (3000, -0.1, 0.1)]
)
def test_filter_takes_hum_and_leaves_voices(hz: float, least: float, most: float) -> None:
    assert least <= level(sine(hz)) <= most


def test_filter_when_there_is_an_offset_leaves_nothing_not_even_a_click() -> None:
    heard = np.frombuffer(filtered(pcm_of(np.full(SAMPLE_RATE, 1638.0))), "<i2")
    assert len(heard) == SAMPLE_RATE and np.abs(heard).max() <= 1


def test_filter_delays_nothing() -> None:
    click = np.zeros(2000)
    click[1000] = 10_000
    assert int(np.abs(np.frombuffer(filtered(pcm_of(click)), "<i2")).argmax()) == 1000


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 4000), max_size=10), samples=st.integers(0, 3000))
def test_filter_when_fed_in_any_blocks_gives_the_same_and_as_many_samples(sizes: list[int], samples: int) -> None:
    pcm = pcm_of(noise(1, 3000)[:samples])
    parts, whole = (np.frombuffer(filtered(pcm, cut), "<i2").astype(int) for cut in (sizes, None))
    assert len(parts) == len(whole) == samples
    assert samples == 0 or np.abs(parts - whole).max() <= 1
