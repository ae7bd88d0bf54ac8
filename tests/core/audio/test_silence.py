from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_core.audio.energies import measure_energies
from stt_core.audio.plan import Span
from stt_core.audio.silence import estimate_threshold, find_speech, pad_spans
from stt_core.settings import Settings
from tests.core.audio.conftest import DATA, decode, noise, pcm_of, read_truth, tone

# The threshold of a recording


@pytest.mark.parametrize("name", ["quiet.flac", "noisy.ogg", "sample-08.ogg", "pauses.ogg"])
def test_threshold_of_a_recording_keeps_its_speech_and_drops_its_silence(name: str, settings: Settings) -> None:
    energies = decode(DATA / name, settings)[0].energies
    found = find_speech(energies, threshold_dbfs=estimate_threshold(energies), min_silence_ms=500)
    spans = pad_spans(found, 2_400, energies.total_samples)
    heard = np.zeros(energies.total_samples, bool)
    for span in spans:
        heard[span.start : span.end] = True
    spoken = np.zeros_like(heard)
    for start, end in read_truth(name.rsplit(".", 1)[0]):
        spoken[start:end] = True
    assert (spoken & ~heard).sum() == 0
    silence = ~spoken
    assert (silence & heard).sum() <= 0.35 * spoken.sum()


def test_threshold_follows_the_gain_of_a_recording() -> None:
    pcm = np.concatenate([part for _ in range(10) for part in (noise(1, 3000), noise(1, 30, seed=2))])
    loud, quiet = (estimate_threshold(measure_energies(pcm_of(pcm * gain))) for gain in (1.0, 0.1))
    assert loud - quiet == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize(
    "sound", [np.zeros(32_000), noise(10, 1000), noise(10, 3), tone(5)], ids=["digital", "hiss", "quiet-hiss", "tone"]
)
def test_threshold_of_one_steady_sound_lets_nothing_through(sound: np.ndarray) -> None:  # type: ignore[type-arg]
    energies = measure_energies(pcm_of(sound))
    assert find_speech(energies, threshold_dbfs=estimate_threshold(energies), min_silence_ms=500) == []


@pytest.mark.parametrize("sound", [noise(0.05, 1000), np.concatenate([tone(2), np.zeros(32_000)])])
def test_threshold_of_a_short_sound_or_one_beside_silence_keeps_it(sound: np.ndarray) -> None:  # type: ignore[type-arg]
    energies = measure_energies(pcm_of(sound))
    threshold = estimate_threshold(energies)
    assert len(find_speech(energies, threshold_dbfs=threshold, min_silence_ms=500)) == 1


# Speech


def _find(*parts: np.ndarray) -> list[Span]:  # type: ignore[type-arg]
    energies = measure_energies(pcm_of(np.concatenate(parts)))
    return pad_spans(find_speech(energies, threshold_dbfs=-50, min_silence_ms=500), 2_400, energies.total_samples)


def test_find_speech_keeps_short_pauses_inside_and_pads_both_sides() -> None:
    spans = _find(np.zeros(16_000), tone(0.5), np.zeros(7_840), tone(0.5), np.zeros(16_000))
    assert spans == [Span(start=16_000 - 2_400, end=16_000 + 23_840 + 2_400)]


def test_find_speech_with_a_pause_of_the_least_length_separates() -> None:
    assert len(_find(tone(0.5), np.zeros(8_000), tone(0.5))) == 2


def test_find_speech_leaves_out_a_click_but_no_syllable() -> None:
    silence = np.zeros(16_000)
    assert _find(silence, tone(0.02), silence) == []
    assert len(_find(silence, tone(0.05), silence)) == 1
    assert len(_find(silence, tone(0.02), np.zeros(4_000), tone(0.3), silence)) == 1
    assert _find(silence, tone(0.02), np.zeros(4_000), tone(0.3), silence)[0].start == 16_000 - 2_400


def test_find_speech_at_the_edges_stays_inside_the_recording() -> None:
    assert _find(tone(1.003)) == [Span(start=0, end=16_048)]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 120)), max_size=20), st.integers(0, 30))
def test_find_speech_holds_every_sound_that_is_no_click(stretches: list[tuple[bool, int]], padding: int) -> None:
    sound = np.concatenate([np.full(length, loud) for loud, length in stretches] or [np.zeros(0, bool)]).astype(bool)
    pcm = np.repeat(np.where(sound, 3000, 0), 160)
    energies = measure_energies(pcm_of(pcm))
    found = find_speech(energies, threshold_dbfs=-50, min_silence_ms=500)
    spans = pad_spans(found, 160 * padding, energies.total_samples)
    heard = np.zeros(len(sound), bool)
    for span in spans:
        heard[span.start // 160 : -(-span.end // 160)] = True
    for first in np.flatnonzero(sound & ~heard):
        assert sound[max(0, first - 50) : first + 50].sum() <= 2
    assert all(left.end < right.start for left, right in itertools.pairwise(spans))
