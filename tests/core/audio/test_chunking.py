from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_core.audio.chunking import cut_fixed, plan_chunks
from stt_core.audio.energies import FrameEnergies
from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span
from stt_core.audio.prepare import plan_recording
from stt_core.settings import Settings
from tests.core.audio.conftest import DATA, decode

#: A recording: pauses and speech, ms; how the speech goes: with pauses of its own, even, or fading.
_KINDS = st.sampled_from(["words", "even", "fading"])
_LENGTHS = st.one_of(st.integers(1, 900), st.integers(900, 12_000), st.integers(12_000, 130_000))
_RECORDINGS = st.lists(st.tuples(st.integers(0, 20_000), _LENGTHS, _KINDS), min_size=1, max_size=8)
_TINY = st.lists(st.tuples(st.integers(250, 900), st.integers(1, 30), _KINDS), min_size=100, max_size=300)


def _make(recording: list[tuple[int, int, str]]) -> tuple[list[Span], FrameEnergies]:
    spans: list[Span] = []
    position = 0
    for gap, length, _ in recording:
        spans.append(Span(start=position + gap * 16, end=position + (gap + length) * 16))
        position = spans[-1].end
    total = position + 5_000
    sums = np.zeros(-(-total // 160), np.int64)
    rng = np.random.default_rng(position)
    for span, (_, _, kind) in zip(spans, recording, strict=True):
        part = sums[span.start // 160 : -(-span.end // 160)]
        part[:] = 160 * 1_000_000
        if kind == "words":
            part[(np.arange(len(part)) + rng.integers(300)) % 300 < 20] = 160 * 100
        elif kind == "fading":
            part[:] = part * np.exp(-np.arange(len(part)) / 200) + rng.integers(1, 1000, len(part))
    return [span for span in spans if span.length], FrameEnergies(sums, 160, total)


def _check(chunks: list[Chunk], spans: list[Span], total: int, max_seconds: float) -> None:
    for chunk in chunks:
        assert chunk.length <= max_seconds * SAMPLE_RATE
        assert all(0 <= span.start < span.end <= total for span in chunk.spans)
        assert all(left.end < right.start for left, right in itertools.pairwise(chunk.spans))
    held = sorted((span.start, span.end) for chunk in chunks for span in chunk.spans)
    assert all(first[1] <= third[0] for first, third in zip(held, held[2:], strict=False))  # never heard three times
    for span in spans:
        reached = span.start
        for start, end in held:
            if start <= reached:
                reached = max(reached, end)
        assert reached >= span.end
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    for before, after in itertools.pairwise(chunks):
        assert before.spans[0].start < after.spans[0].start
        assert before.spans[-1].end < after.spans[-1].end
        assert after.overlaps_previous == (after.spans[0].start < before.spans[-1].end)


@settings(max_examples=1000, deadline=None)
@given(_RECORDINGS)
def test_plan_holds_all_speech_in_few_chunks_within_the_limit(recording: list[tuple[int, int, str]]) -> None:
    spans, energies = _make(recording)
    chunks = plan_chunks(spans, energies)
    _check(chunks, spans, energies.total_samples, 29)
    speech = sum(span.length for span in spans) / SAMPLE_RATE
    assert len(chunks) <= 2 * math.ceil(speech / 29)


@settings(max_examples=50, deadline=None)
@given(_RECORDINGS)
def test_plan_of_the_same_recording_is_the_same(recording: list[tuple[int, int, str]]) -> None:
    assert plan_chunks(*_make(recording)) == plan_chunks(*_make(recording))


@settings(max_examples=40, deadline=None)
@given(_TINY)
def test_plan_of_hundreds_of_tiny_sounds_is_not_made_of_joints(recording: list[tuple[int, int, str]]) -> None:
    spans, energies = _make(recording)
    chunks = plan_chunks(spans, energies)
    _check(chunks, spans, energies.total_samples, 29)
    assert len(chunks) <= 2 * math.ceil(sum(span.length for span in spans) / SAMPLE_RATE / 29)


@settings(max_examples=200, deadline=None)
@given(_RECORDINGS, st.floats(5, 29.5), st.integers(0, 1000), st.floats(0.5, 4))
def test_plan_with_any_settings_holds_all_speech_within_the_limit(
    recording: list[tuple[int, int, str]], max_seconds: float, joint_ms: int, overlap_seconds: float
) -> None:
    spans, energies = _make(recording)
    chunks = plan_chunks(spans, energies, max_seconds=max_seconds, joint_ms=joint_ms, overlap_seconds=overlap_seconds)
    _check(chunks, spans, energies.total_samples, max_seconds)


@given(st.integers(0, 10_000_000), st.floats(5, 29.5), st.floats(0.5, 4))
def test_fixed_cut_holds_everything_within_the_limit(total: int, max_seconds: float, overlap: float) -> None:
    chunks = cut_fixed(total, max_seconds=max_seconds, overlap_seconds=overlap)
    _check(chunks, [Span(start=0, end=total)] if total else [], total, max_seconds)
    assert sum(chunk.speech_samples for chunk in chunks) <= 2 * total


def test_plan_of_long_speech_is_cut_in_its_pause() -> None:
    sums = np.full(4_000, 160 * 1_000_000, np.int64)
    sums[2_200:2_230] = 160  # a pause of 0.3 s at 22 s
    chunks = plan_chunks([Span(start=0, end=640_000)], FrameEnergies(sums, 160, 640_000))
    assert [(chunk.spans[0].start, chunk.spans[-1].end) for chunk in chunks] == [(0, 354_400), (354_400, 640_000)]
    assert not any(chunk.overlaps_previous for chunk in chunks)


def test_plan_with_padding_is_cut_where_speech_rests_longest_whatever_padding_left_of_it() -> None:
    sums = np.full(3_800, 160 * 1_000_000, np.int64)
    sums[2_000:2_050] = 160  # half a second between two spans, of which padding leaves 0.1 s
    sums[2_400:2_420] = 160  # 0.2 s within the second
    spans = [Span(start=0, end=320_000), Span(start=328_000, end=608_000)]
    chunks = plan_chunks(spans, FrameEnergies(sums, 160, 608_000), padding_ms=200, joint_ms=0)
    assert [(chunk.spans[0].start, chunk.spans[-1].end) for chunk in chunks] == [(0, 323_200), (324_800, 608_000)]


def test_plan_of_long_speech_without_a_pause_repeats_two_seconds() -> None:
    sums = np.full(6_000, 160 * 1_000_000, np.int64)
    chunks = plan_chunks([Span(start=0, end=960_000)], FrameEnergies(sums, 160, 960_000))
    assert len(chunks) == 3
    for before, after in itertools.pairwise(chunks):
        assert after.overlaps_previous
        assert before.spans[-1].end - after.spans[0].start == 32_000


def test_plan_packs_sentences_and_drops_their_gaps() -> None:
    spans = [Span(start=second * 160_000, end=second * 160_000 + 48_000) for second in range(9)]
    energies = FrameEnergies(np.full(20_000, 160_000_000, np.int64), 160, 3_200_000)
    chunks = plan_chunks(spans, energies)
    assert [len(chunk.spans) for chunk in chunks] == [9]
    assert chunks[0].length == 9 * 48_000 + 8 * 3_200


def test_plan_keeps_a_gap_that_is_no_longer_than_the_joint() -> None:
    spans = [Span(start=0, end=16_000), Span(start=19_200, end=32_000)]
    chunks = plan_chunks(spans, FrameEnergies(np.ones(200, np.int64), 160, 32_000))
    assert chunks[0].spans == (Span(start=0, end=32_000),)


def test_plan_without_speech_has_no_chunk() -> None:
    assert plan_chunks([], FrameEnergies(np.zeros(100, np.int64), 160, 16_000)) == []


@pytest.mark.parametrize("name", ["quiet.flac", "noisy.ogg", "sample-08.ogg", "pauses.ogg"])
def test_plan_of_a_real_recording_needs_hardly_more_windows_than_its_speech_fills(
    name: str, settings: Settings
) -> None:
    stream, _ = decode(DATA / name, settings)
    statistics = plan_recording(stream.energies, stream.voice, settings).statistics
    assert statistics.chunks <= 1.15 * math.ceil(statistics.speech_seconds / 29)
    assert statistics.longest_seconds <= 29
