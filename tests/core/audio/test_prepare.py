from __future__ import annotations

import numpy as np
import pytest

from stt_core.audio import FrameEnergies, RecordingStream, detect_format, plan_recording
from stt_core.audio.energies import measure_energies
from stt_core.errors import ConfigurationError
from stt_core.settings import Settings
from tests.core.audio.conftest import DATA, MakeRecording, decode, noise, pcm_of, read_truth, tone


def test_recording_is_planned_from_its_energies_alone(settings: Settings) -> None:
    stream, _ = decode(DATA / "pauses.ogg", settings)
    stored = FrameEnergies.from_bytes(stream.energies.to_bytes())
    plan = plan_recording(stored, settings)
    assert plan == plan_recording(stream.energies, settings)
    heard = np.zeros(stored.total_samples, bool)
    for chunk in plan.chunks:
        for span in chunk.spans:
            heard[span.start : span.end] = True
    assert all(heard[start:end].all() for start, end in read_truth("pauses"))
    assert plan.statistics.silence_seconds > 200
    assert plan.statistics.speech_seconds + plan.statistics.silence_seconds == pytest.approx(
        plan.statistics.duration_seconds
    )


def test_chunks_begin_with_speech(settings: Settings) -> None:
    stream, _ = decode(DATA / "pauses.ogg", settings)
    levels = stream.energies.levels()
    plan = plan_recording(stream.energies, settings)
    for chunk in plan.chunks:
        first_frame = chunk.spans[0].start // 160
        assert levels[first_frame : first_frame + 30].max() > plan.threshold_dbfs


def test_energies_are_there_only_at_the_end(settings: Settings) -> None:
    path = DATA / "sample-08.ogg"
    with RecordingStream(path, detect_format(path.read_bytes()), settings) as stream:
        stream.read(1000)
        with pytest.raises(RuntimeError, match="not read to its end"):
            _ = stream.energies


@pytest.mark.parametrize("strategy", ["silence", "vad", "fixed"])
def test_silence_has_no_chunk_by_any_strategy(strategy: str, settings: Settings) -> None:
    energies, pcm = _energies_of(np.zeros(16_000 * 70))
    plan = plan_recording(energies, settings, strategy=strategy, pcm_blocks=[pcm])  # type: ignore[arg-type]
    assert plan.chunks == []
    assert plan.statistics.chunks == 0
    assert plan.statistics.silence_seconds == 70


@pytest.mark.parametrize("strategy", ["silence", "fixed"])
def test_a_twentieth_of_a_second_has_at_most_one_chunk(strategy: str, settings: Settings) -> None:
    energies, _ = _energies_of(noise(0.05, 2000))
    chunks = plan_recording(energies, settings, strategy=strategy).chunks  # type: ignore[arg-type]
    assert [chunk.length for chunk in chunks] == [800]


def test_fixed_strategy_leaves_out_chunks_in_which_nothing_is_heard(settings: Settings) -> None:
    energies, _ = _energies_of(np.concatenate([tone(5), np.zeros(16_000 * 90), tone(5)]))
    plan = plan_recording(energies, settings, strategy="fixed")
    assert [chunk.spans[0].start // 16_000 for chunk in plan.chunks] == [0, 81]
    assert [chunk.index for chunk in plan.chunks] == [0, 1]


def test_vad_strategy_finds_the_voice(settings: Settings) -> None:
    stream, pcm = decode(DATA / "sample-08.ogg", settings)
    blocks = [pcm[start : start + 10_007] for start in range(0, len(pcm), 10_007)]
    plan = plan_recording(stream.energies, settings, strategy="vad", pcm_blocks=blocks)
    assert plan == plan_recording(stream.energies, settings, strategy="vad", pcm_blocks=[pcm])
    heard = np.zeros(stream.energies.total_samples, bool)
    for chunk in plan.chunks:
        for span in chunk.spans:
            heard[span.start : span.end] = True
    assert all(heard[start:end].all() for start, end in read_truth("sample-08"))


def test_vad_strategy_hears_no_voice_in_noise(settings: Settings) -> None:
    energies, pcm = _energies_of(noise(10, 3000))
    assert plan_recording(energies, settings, strategy="vad", pcm_blocks=[pcm]).chunks == []


def test_vad_strategy_without_samples_refuses(settings: Settings) -> None:
    energies, _ = _energies_of(tone(1))
    with pytest.raises(ConfigurationError, match="samples"):
        plan_recording(energies, settings, strategy="vad")


def test_threshold_of_the_settings_is_used_instead_of_the_estimate(settings: Settings) -> None:
    energies, _ = _energies_of(np.concatenate([tone(2, 300), np.zeros(16_000), tone(2)]))
    for threshold, speech_seconds in ((-30.0, 2.35), (-50.0, 4.7)):
        fixed = settings.model_copy(update={"silence_threshold_dbfs": threshold})
        assert plan_recording(energies, fixed).statistics.speech_seconds == pytest.approx(speech_seconds, abs=0.02)


def test_padding_is_widened_only_where_that_takes_no_more_chunks(settings: Settings) -> None:
    words = np.concatenate([np.zeros(32_000), *[np.concatenate([tone(2.6), np.zeros(32_000)])] * 10])
    for count, padding in ((5, 0.35), (10, 0.15)):  # 10 times 2.9 s just fit into 29 s
        energies, _ = _energies_of(words[: 32_000 + count * 73_600])
        [chunk] = plan_recording(energies, settings).chunks
        assert len(chunk.spans) == count
        assert [span.length / 16_000 for span in chunk.spans] == pytest.approx([2.6 + 2 * padding] * count, abs=0.011)


def test_channels_are_planned_by_themselves(make_recording: MakeRecording, settings: Settings) -> None:
    call = make_recording("turns.flac", "-af", "pan=stereo|c0=c0|c1=c0,volume='if(lt(t,5),1,0)':eval=frame")
    first = plan_recording(decode(call, settings, channel=0)[0].energies, settings, channel=0)
    second = plan_recording(
        decode(call, settings, channel=1)[0].energies, settings, channel=1, first_index=len(first.chunks)
    )
    chunks = [*first.chunks, *second.chunks]
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert {chunk.channel for chunk in first.chunks} == {0}
    assert {chunk.channel for chunk in second.chunks} == {1}


def _energies_of(sound: np.ndarray) -> tuple[FrameEnergies, bytes]:  # type: ignore[type-arg]

    pcm = pcm_of(sound)
    return measure_energies(pcm), pcm
