from __future__ import annotations

import numpy as np
import pytest

from stt_core.audio import FrameEnergies, RecordingStream, detect_format, plan_recording
from stt_core.audio.energies import measure_energies
from stt_core.audio.plan import ChunkPlan
from stt_core.audio.rumble import RumbleFilter
from stt_core.audio.vad import Voice, measure_voice
from stt_core.settings import Settings
from stt_core.warnings import WarningName
from tests.core.audio.conftest import DATA, MakeRecording, decode, noise, pcm_of, read_truth, tone


def test_recording_is_planned_without_its_samples(settings: Settings) -> None:
    stream, _ = decode(DATA / "pauses.ogg", settings)
    stored = FrameEnergies.from_bytes(stream.energies.to_bytes())
    plan = plan_recording(stored, Voice.from_bytes(stream.voice.to_bytes()), settings)
    assert plan == plan_recording(stream.energies, stream.voice, settings)
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
    plan = plan_recording(stream.energies, stream.voice, settings)
    for chunk in plan.chunks:
        first_frame = chunk.spans[0].start // 160
        assert levels[first_frame : first_frame + 30].max() > plan.threshold_dbfs


def test_energies_are_there_only_at_the_end(settings: Settings) -> None:
    path = DATA / "sample-08.ogg"
    with RecordingStream(path, detect_format(path.read_bytes()), settings) as stream:
        stream.read(1000)
        with pytest.raises(RuntimeError, match="not read to its end"):
            _ = stream.energies


@pytest.mark.parametrize("strategy", ["auto", "silence", "vad", "fixed"])
def test_silence_has_no_chunk_by_any_strategy(strategy: str, settings: Settings) -> None:
    plan = plan_recording(*_measured(np.zeros(16_000 * 70)), settings, strategy=strategy)  # type: ignore[arg-type]
    assert plan.chunks == []
    assert plan.statistics.chunks == 0
    assert plan.statistics.silence_seconds == 70


@pytest.mark.parametrize("strategy", ["auto", "silence", "fixed"])
def test_a_twentieth_of_a_second_has_at_most_one_chunk(strategy: str, settings: Settings) -> None:
    chunks = plan_recording(*_measured(noise(0.05, 2000)), settings, strategy=strategy).chunks  # type: ignore[arg-type]
    assert [chunk.length for chunk in chunks] == [800]


def test_fixed_strategy_leaves_out_chunks_in_which_nothing_is_heard(settings: Settings) -> None:
    sound = np.concatenate([tone(5), np.zeros(16_000 * 90), tone(5)])
    plan = plan_recording(*_measured(sound), settings, strategy="fixed")
    assert [chunk.spans[0].start // 16_000 for chunk in plan.chunks] == [0, 81]
    assert [chunk.index for chunk in plan.chunks] == [0, 1]


def test_vad_strategy_finds_the_voice(settings: Settings) -> None:
    stream, _ = decode(DATA / "sample-08.ogg", settings)
    plan = plan_recording(stream.energies, stream.voice, settings, strategy="vad")
    heard = np.zeros(stream.energies.total_samples, bool)
    for chunk in plan.chunks:
        for span in chunk.spans:
            heard[span.start : span.end] = True
    assert all(heard[start:end].all() for start, end in read_truth("sample-08"))


def test_vad_strategy_hears_no_voice_in_noise(settings: Settings) -> None:
    assert plan_recording(*_measured(noise(10, 3000)), settings, strategy="vad").chunks == []


def test_threshold_of_the_settings_is_used_instead_of_the_estimate(settings: Settings) -> None:
    measured = _measured(np.concatenate([tone(2, 300), np.zeros(16_000), tone(2)]))
    for threshold, speech_seconds in ((-30.0, 2.35), (-50.0, 4.7)):
        fixed = settings.model_copy(update={"silence_threshold_dbfs": threshold})
        assert plan_recording(*measured, fixed).statistics.speech_seconds == pytest.approx(speech_seconds, abs=0.02)


def test_padding_is_widened_only_where_that_takes_no_more_chunks(settings: Settings) -> None:
    words = np.concatenate([np.zeros(32_000), *[np.concatenate([tone(2.6), np.zeros(32_000)])] * 10])
    for count, padding in ((5, 0.35), (10, 0.15)):  # 10 times 2.9 s just fit into 29 s
        [chunk] = plan_recording(*_measured(words[: 32_000 + count * 73_600]), settings).chunks
        assert len(chunk.spans) == count
        assert [span.length / 16_000 for span in chunk.spans] == pytest.approx([2.6 + 2 * padding] * count, abs=0.011)


def test_channels_are_planned_by_themselves(make_recording: MakeRecording, settings: Settings) -> None:
    call = make_recording("turns.flac", "-af", "pan=stereo|c0=c0|c1=c0,volume='if(lt(t,5),1,0)':eval=frame")
    left, right = (decode(call, settings, channel=channel)[0] for channel in (0, 1))
    first = plan_recording(left.energies, left.voice, settings, channel=0)
    second = plan_recording(right.energies, right.voice, settings, channel=1, first_index=len(first.chunks))
    chunks = [*first.chunks, *second.chunks]
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert {chunk.channel for chunk in first.chunks} == {0}
    assert {chunk.channel for chunk in second.chunks} == {1}


def _measured(sound: np.ndarray) -> tuple[FrameEnergies, Voice]:  # type: ignore[type-arg]
    pcm = pcm_of(sound)
    rumble = RumbleFilter()
    return measure_energies(rumble.add(pcm) + rumble.finish()), measure_voice([pcm])


# What speech is hidden in


def _speech(settings: Settings) -> np.ndarray:  # type: ignore[type-arg]
    """Three seconds of a sentence, peak 0 dBFS."""
    [(start, end), *_] = read_truth("sample-08")
    samples = np.frombuffer(decode(DATA / "sample-08.ogg", settings)[1], "<i2")[start:end].astype(float)
    return samples / np.abs(samples).max() * 32_767


def _heard(sound: np.ndarray, settings: Settings) -> tuple[ChunkPlan, np.ndarray]:  # type: ignore[type-arg]
    plan = plan_recording(*_measured(sound), settings)
    heard = np.zeros(len(sound), bool)
    for span in (span for chunk in plan.chunks for span in chunk.spans):
        heard[span.start : span.end] = True
    return plan, heard


@pytest.mark.parametrize("minutes", [1, 10])
def test_rare_speech_in_steady_hiss_is_heard_and_little_else(minutes: int, settings: Settings) -> None:
    speech = _speech(settings) * 0.1
    sound = noise(60 * minutes, 4.6)  # -77 dBFS
    sound[480_000 : 480_000 + len(speech)] += speech
    _, heard = _heard(sound, settings)
    assert heard[480_000 : 480_000 + len(speech)].all()
    assert heard.sum() < len(speech) + 2 * 16_000


@pytest.mark.parametrize("hertz", [0, 50, 60])
def test_speech_in_hum_or_on_an_offset_is_heard_and_its_pauses_are_not(hertz: int, settings: Settings) -> None:
    speech, pause = _speech(settings) * 0.125, np.zeros(3 * 16_000)
    sound = (
        np.concatenate([pause, speech, pause, speech, pause])
        + noise(9 + 2 * len(speech) / 16_000, 2)[: 9 * 16_000 + 2 * len(speech)]
    )
    hum = 8000 * np.cos(2 * np.pi * hertz * np.arange(len(sound)) / 16_000)
    plan, heard = _heard(sound + hum, settings)
    assert heard[48_000 : 48_000 + len(speech)].all()
    assert plan.statistics.silence_seconds > 6
    assert plan.warnings == []


def test_voice_no_louder_than_the_background_is_transcribed_with_a_warning(settings: Settings) -> None:
    speech = _speech(settings)
    loud = settings.model_copy(update={"silence_threshold_dbfs": -3.0})
    sound = np.concatenate([np.zeros(16_000), speech * 0.1, np.zeros(16_000)])
    plan, heard = _heard(sound, loud)
    assert heard[20_000 : 12_000 + len(speech)].all()
    assert [warning.name for warning in plan.warnings] == [WarningName.SPEECH_UNCERTAIN]
    assert "first at 1." in plan.warnings[0].message


# What is loud and no voice


def _bursts(seconds: int) -> np.ndarray:  # type: ignore[type-arg]
    """A second of loud noise, a second of nothing, and so on."""
    return np.concatenate([noise(1, 3000), np.zeros(16_000)] * (seconds // 2))


def test_voices_alone_are_heard_when_much_is_loud_that_is_no_voice(settings: Settings) -> None:
    speech = _speech(settings) * 0.5
    before = _bursts(90)
    plan, heard = _heard(np.concatenate([before, speech, before]), settings)
    assert heard[len(before) : len(before) + len(speech)].all()
    assert heard.sum() < len(speech) + 2 * 16_000
    assert [chunk.length for chunk in plan.chunks] == [heard.sum()]


def test_what_is_loud_and_no_voice_is_heard_when_it_takes_a_window_more_at_most(settings: Settings) -> None:
    speech = _speech(settings) * 0.5
    sound = np.concatenate([_bursts(26), speech, _bursts(26)])
    plan, heard = _heard(sound, settings)
    assert heard[:16_000].all() and heard[-32_000:-16_000].all()
    assert len(plan.chunks) == 2


def test_what_is_loud_is_heard_when_no_voice_is(settings: Settings) -> None:
    plan, heard = _heard(_bursts(180), settings)
    assert len(plan.chunks) > 3
    assert heard[:16_000].all() and heard[-32_000:-16_000].all()
