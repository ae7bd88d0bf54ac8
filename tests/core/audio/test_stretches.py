"""Stretches of speech in chunks whose sound is known."""

from __future__ import annotations

import numpy as np
import pytest

from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span
from stt_core.audio.stretches import Samples, find_stretches
from tests.core.audio.conftest import noise

#: Seconds by which an edge may be off: what a window hears beside its frame, and the frame's own length.
FRAME = 0.016


def chunk(*spans: tuple[float, float], joint: float = 0.0) -> Chunk:
    in_samples = tuple(Span(start=round(a * SAMPLE_RATE), end=round(b * SAMPLE_RATE)) for a, b in spans)
    return Chunk(index=0, spans=in_samples, joint=round(joint * SAMPLE_RATE))


def sound(seconds: float, *loud: tuple[float, float], background: int = 10) -> Samples:
    """Noise at 3000 in these seconds, over a background."""
    samples = noise(seconds, background).astype(np.int16)
    for start, end in loud:
        first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
        samples[first:last] = noise(end - start, 3000)[: last - first]
    return samples


def times(of: Chunk, samples: Samples) -> list[tuple[float, float]]:
    stretches = find_stretches(of, samples)
    return [(stretch.start / SAMPLE_RATE, stretch.end / SAMPLE_RATE) for stretch in stretches]


def test_stretches_when_speech_pauses_then_there_is_one_on_each_side() -> None:
    found = times(chunk((0, 4)), sound(4, (0.5, 1.5), (2.0, 3.0)))
    assert [edge for pair in found for edge in pair] == pytest.approx([0.5, 1.5, 2.0, 3.0], abs=FRAME)


def test_stretches_when_a_stop_consonant_closes_the_mouth_then_it_is_no_pause() -> None:
    assert len(times(chunk((0, 4)), sound(4, (0.5, 1.5), (1.65, 3.0)))) == 1


def test_stretches_when_a_click_is_heard_then_it_is_none() -> None:
    assert len(times(chunk((0, 4)), sound(4, (0.5, 0.52), (2.0, 3.0)))) == 1


def test_stretches_when_a_pause_was_left_out_then_none_goes_across_the_joint_and_the_pause_is_that_of_the_source() -> (
    None
):
    before, after = find_stretches(chunk((0, 2), (5, 7)), sound(4, (0.5, 3.5)))
    assert (before.end, after.start) == (2 * SAMPLE_RATE, 2 * SAMPLE_RATE)
    assert after.after_joint
    assert after.pause == 3 * SAMPLE_RATE


def test_stretches_when_hardly_anything_was_left_out_then_the_joint_is_no_pause() -> None:
    assert len(times(chunk((0, 2), (2.15, 4)), sound(3.85, (0.5, 3.5)))) == 1


def test_stretches_when_a_joint_is_silence_then_it_is_in_none() -> None:
    samples = sound(4.2, (0.5, 4.0))
    samples[2 * SAMPLE_RATE : round(2.2 * SAMPLE_RATE)] = 0
    before, after = find_stretches(chunk((0, 2), (5, 7), joint=0.2), samples)
    assert before.end == 2 * SAMPLE_RATE
    assert after.start == round(2.2 * SAMPLE_RATE)
    assert after.pause == 3 * SAMPLE_RATE


def test_stretches_when_nothing_stands_out_between_joints_then_all_of_it_is_one() -> None:
    assert times(chunk((0, 2), (5, 7)), np.zeros(4 * SAMPLE_RATE, np.int16)) == [(0, 2), (2, 4)]
    found = times(chunk((0, 2), (5, 7)), sound(4, (0.5, 1.5)))
    assert found[1] == (2, 4)


def test_stretches_when_a_hum_lies_under_speech_then_it_does_not_fill_the_pauses() -> None:
    hum = (4000 * np.sin(2 * np.pi * 50 * np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE)).astype(np.int16)
    found = times(chunk((0, 4)), sound(4, (0.5, 1.5), (2.0, 3.0)) + hum)
    assert [edge for pair in found for edge in pair] == pytest.approx([0.5, 1.5, 2.0, 3.0], abs=FRAME)


def test_stretches_when_the_clip_was_filled_up_then_none_is_beyond_the_chunk() -> None:
    assert times(chunk((0, 0.3)), sound(0.5, (0.1, 0.5)))[-1][1] <= 0.3
