from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stt_core.audio.energies import measure_energies
from stt_core.audio.plan import Span
from stt_core.audio.silence import detect_speech, estimate_threshold, find_speech
from stt_core.settings import Settings
from tests.core.audio.conftest import DATA, decode, noise, pcm_of, read_truth, tone

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pydub.audio_segment import AudioSegment
    from pydub.silence import detect_nonsilent

#: Stretches of a recording: length in samples (not whole ms), amplitude.
_STRETCHES = st.lists(st.tuples(st.integers(1, 900), st.sampled_from([0, 1, 2, 3, 30, 3000, 32767])), max_size=14)
#: 20 log10(3 / 32768) and its like: thresholds that an integer RMS hits exactly.
_THRESHOLDS = st.sampled_from([-120.0, *(20 * float(np.log10(k / 32768)) for k in (1, 2, 3, 30)), -60.0, -1.0, 0.0])


def _build(stretches: list[tuple[int, int]]) -> bytes:
    rng = np.random.default_rng(len(stretches))
    parts = [rng.integers(-1, 2, length) * amplitude for length, amplitude in stretches]
    return np.concatenate(parts).astype("<i2").tobytes() if parts else b""


def _ask_pydub(pcm: bytes, threshold: float, min_silence_ms: int, step_ms: int) -> list[list[int]]:
    segment = AudioSegment(pcm, sample_width=2, frame_rate=16_000, channels=1)
    found = detect_nonsilent(segment, min_silence_ms, threshold, step_ms)
    return [item for item in found if item[0] < item[1]]  # of an empty recording pydub says [[0, 0]]


def _in_ms(spans: list[Span]) -> list[list[int]]:
    return [[round(span.start / 16), round(span.end / 16)] for span in spans]


@settings(max_examples=1500)
@given(_STRETCHES, _THRESHOLDS, st.integers(1, 60), st.integers(1, 40))
@example([(16, 3), (8, 0)], -60.0, 1, 1)  # a length that is rounded up to whole ms
@example([(24, 3000)], -60.0, 2, 1)
@example([(7, 3000)], -60.0, 1, 1)  # shorter than a ms
def test_detect_speech_says_what_pydub_says(
    stretches: list[tuple[int, int]], threshold: float, min_silence_ms: int, step_ms: int
) -> None:
    pcm = _build(stretches)
    spans = detect_speech(pcm, threshold_dbfs=threshold, min_silence_ms=min_silence_ms, step_ms=step_ms)
    assert _in_ms(spans) == _ask_pydub(pcm, threshold, min_silence_ms, step_ms)
    assert all(span.end <= len(pcm) // 2 for span in spans)


@given(_STRETCHES, _THRESHOLDS, st.integers(1, 6), st.integers(1, 4))
def test_detect_speech_by_energies_says_what_pydub_says_of_whole_frames(
    stretches: list[tuple[int, int]], threshold: float, windows: int, steps: int
) -> None:
    pcm = _build(stretches)
    energies = measure_energies(pcm)
    spans = detect_speech(energies, threshold_dbfs=threshold, min_silence_ms=10 * windows, step_ms=10 * steps)
    padded = pcm + bytes(-len(pcm) % 320)
    expected = _ask_pydub(padded, threshold, 10 * windows, 10 * steps)
    end_ms = round(energies.total_samples / 16)
    assert _in_ms(spans) == [[start, min(end, end_ms)] for start, end in expected]


def test_detect_speech_of_a_real_recording_says_what_pydub_says(settings: Settings) -> None:
    _, pcm = decode(DATA / "sample-08.ogg", settings)
    for threshold, window, step in ((-40.0, 200, 1), (-55.0, 300, 7), (-30.0, 1000, 10)):
        spans = detect_speech(pcm, threshold_dbfs=threshold, min_silence_ms=window, step_ms=step)
        assert _in_ms(spans) == _ask_pydub(pcm, threshold, window, step)


def test_detect_speech_with_frames_that_do_not_divide_the_window_refuses() -> None:
    with pytest.raises(ValueError, match="do not divide"):
        detect_speech(measure_energies(bytes(32_000)), threshold_dbfs=-40, min_silence_ms=15, step_ms=10)


# The threshold of a recording


@pytest.mark.parametrize("name", ["quiet.flac", "noisy.ogg", "sample-08.ogg", "pauses.ogg"])
def test_threshold_of_a_recording_keeps_its_speech_and_drops_its_silence(name: str, settings: Settings) -> None:
    energies = decode(DATA / name, settings)[0].energies
    spans = find_speech(energies, threshold_dbfs=estimate_threshold(energies), min_silence_ms=500, padding_ms=150)
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
    assert find_speech(energies, threshold_dbfs=estimate_threshold(energies), min_silence_ms=500, padding_ms=150) == []


@pytest.mark.parametrize("sound", [noise(0.05, 1000), np.concatenate([tone(2), np.zeros(32_000)])])
def test_threshold_of_a_short_sound_or_one_beside_silence_keeps_it(sound: np.ndarray) -> None:  # type: ignore[type-arg]
    energies = measure_energies(pcm_of(sound))
    threshold = estimate_threshold(energies)
    assert len(find_speech(energies, threshold_dbfs=threshold, min_silence_ms=500, padding_ms=0)) == 1


# Speech


def _find(*parts: np.ndarray) -> list[Span]:  # type: ignore[type-arg]
    energies = measure_energies(pcm_of(np.concatenate(parts)))
    return find_speech(energies, threshold_dbfs=-50, min_silence_ms=500, padding_ms=150)


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
    spans = find_speech(energies, threshold_dbfs=-50, min_silence_ms=500, padding_ms=10 * padding)
    heard = np.zeros(len(sound), bool)
    for span in spans:
        heard[span.start // 160 : -(-span.end // 160)] = True
    for first in np.flatnonzero(sound & ~heard):
        assert sound[max(0, first - 50) : first + 50].sum() <= 2
    assert all(left.end < right.start for left, right in itertools.pairwise(spans))
