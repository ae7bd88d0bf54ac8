"""Which track and which channels are heard, and at which times."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from stt_core.audio import RecordingStream
from stt_core.audio.channels import ChannelMeter, mix_of
from stt_core.audio.detection import detect_file_format
from stt_core.audio.plan import SAMPLE_RATE
from stt_core.errors import AudioTooLongError, TrackNotFoundError
from stt_core.settings import Settings
from stt_core.warnings import WarningName
from tests.core.audio.conftest import DATA, MakeRecording, read_truth

SPEECH = ("-f", "lavfi", "-i")
#: Another sentence than that of the sample, to tell tracks apart by their length.
OTHER = DATA / "sample-01.mp3"


def heard(path: Path, settings: Settings, track: int | None = None) -> tuple[RecordingStream, bytes]:
    with path.open("rb") as file:
        audio_format = detect_file_format(file)
    with RecordingStream(path, audio_format, settings, track=track) as stream:
        pcm = b"".join(stream.blocks())
    return stream, pcm


def voice_seconds(stream: RecordingStream) -> float:
    return sum(span.length for span in stream.voice.spans(min_silence_ms=500)) / SAMPLE_RATE


def names(stream: RecordingStream) -> list[WarningName]:
    return [warning.name for warning in stream.info.warnings]


# Channels


@pytest.mark.parametrize("name", ["inverted.wav", "inverted.mp3", "inverted.m4a"])
def test_channel_that_is_the_other_turned_does_not_cancel_it(
    make_recording: MakeRecording, settings: Settings, name: str
) -> None:
    stream, pcm = heard(make_recording(name, "-af", "pan=stereo|c0=c0|c1=-1*c0"), settings)
    assert stream.info.channels_used == [1, 2] and stream.info.warnings == []
    assert voice_seconds(stream) > 5
    assert np.abs(np.frombuffer(pcm, "<i2").astype(int)).max() > 3000


@pytest.mark.parametrize(("count", "speaking"), [(3, 2), (4, 3), (6, 3), (8, 7)])
def test_speech_on_one_of_many_microphones_is_heard_at_its_level(
    make_recording: MakeRecording, settings: Settings, count: int, speaking: int
) -> None:
    layout = f"pan={count}c|c{speaking}=c0"
    stream, pcm = heard(make_recording(f"mic-{count}.wav", "-af", layout), settings)
    _, alone = heard(make_recording("mic-alone.wav"), settings)
    assert stream.info.channels == count and stream.info.channels_used == [speaking + 1]
    assert stream.info.warnings == []  # the others are silent: nothing was left out
    levels = [np.abs(np.frombuffer(one, "<i2").astype(int)).max() for one in (pcm, alone)]
    assert levels[0] == pytest.approx(levels[1], rel=0.02)


def test_channel_of_a_surround_sound_that_a_downmix_leaves_out_is_heard(
    make_recording: MakeRecording, settings: Settings
) -> None:
    stream, _ = heard(make_recording("lfe.flac", "-af", "pan=5.1|LFE=c0"), settings)
    assert stream.info.channels_used == [4] and voice_seconds(stream) > 5


def test_two_people_one_on_each_side_are_both_heard(make_recording: MakeRecording, settings: Settings) -> None:
    turns = "pan=stereo|c0=c0|c1=c0,volume='if(lt(t,5),1,0)':eval=frame"
    [(start, _), *_, (_, end)] = read_truth("sample-08")
    stream, _ = heard(
        make_recording("sides.flac", "-filter_complex", f"[0:a]{turns.split(',')[0]}[s];[s]anull"), settings
    )
    spans = stream.voice.spans(min_silence_ms=500)
    assert stream.info.channels_used == [1, 2]
    assert spans[0].start < start + SAMPLE_RATE // 4 and spans[-1].end > end - SAMPLE_RATE // 2


def test_channel_with_a_hum_and_no_voice_is_left_out_and_named(
    make_recording: MakeRecording, settings: Settings
) -> None:
    hum = make_recording(
        "hum.flac", *SPEECH, "sine=f=100:d=10", "-filter_complex", "[1:a][0:a]amerge=inputs=2[a]", "-map", "[a]"
    )
    stream, _ = heard(hum, settings)
    assert stream.info.channels_used == [2] and names(stream) == [WarningName.CHANNELS_LEFT_OUT]
    assert "number 1" in stream.info.warnings[0].message


def turned(make: MakeRecording, name: str, effect: str) -> Path:
    """The sample on both sides, the right one turned, and something done to both."""
    return make(name, "-af", f"aformat=sample_fmts=fltp,pan=stereo|c0=c0|c1=-1*c0,{effect}")


@pytest.mark.parametrize(
    "effect",
    [
        "dcshift=0.05",
        "aeval='0.3*val(0)+0.4*sin(314*t)|0.3*val(1)+0.4*sin(314*t)'",
        "aeval='val(0)|val(1)*if(lt(t,5),1,-1)'",
        "adelay=0|3",
    ],
    ids=["offset", "hum", "half of the time", "late"],
)
def test_turned_channel_cancels_nothing_whatever_else_is_wrong(
    make_recording: MakeRecording, settings: Settings, effect: str
) -> None:
    plain, _ = heard(make_recording("plain-time.wav"), settings)
    stream, _ = heard(turned(make_recording, f"turned-{len(effect)}.wav", effect), settings)
    assert stream.info.channels_used == [1, 2]
    assert voice_seconds(stream) == pytest.approx(voice_seconds(plain), abs=0.3)


def test_speaker_on_a_side_that_is_far_softer_is_heard_too(make_recording: MakeRecording, settings: Settings) -> None:
    sides = "pan=stereo|c0=c0|c1=c0,aeval='val(0)*if(lt(t,5),1,0)|val(1)*if(lt(t,5),0,0.005)'"
    plain, _ = heard(make_recording("plain-time.wav"), settings)
    stream, _ = heard(make_recording("soft-side.wav", "-af", sides), settings)
    assert voice_seconds(stream) == pytest.approx(voice_seconds(plain), abs=0.6)


def test_dead_channel_with_an_offset_is_left_out_without_a_warning(
    make_recording: MakeRecording, settings: Settings
) -> None:
    stream, _ = heard(make_recording("dead.wav", "-af", "pan=stereo|c0=c0,aeval='val(0)|0.3'"), settings)
    assert stream.info.channels_used == [1] and stream.info.warnings == []


def test_microphones_that_hear_the_speaker_faintly_do_not_make_the_mix_softer(
    make_recording: MakeRecording, settings: Settings
) -> None:
    others = "".join(f"|c{number}=.05*c0" for number in range(1, 8))
    stream, pcm = heard(make_recording("crosstalk.wav", "-af", f"pan=8c|c0=c0{others}"), settings)
    _, alone = heard(make_recording("mic-alone.wav"), settings)
    levels = [np.abs(np.frombuffer(one, "<i2").astype(int)).max() for one in (pcm, alone)]
    assert stream.info.channels == 8 and levels[0] == pytest.approx(levels[1], rel=0.05)


def test_mix_when_no_channel_has_a_voice_has_all_that_sound() -> None:
    meter = ChannelMeter(3)
    meter.add(np.outer(np.sin(np.arange(SAMPLE_RATE) / 5), [0, 900, 900]).astype("<i2"))
    assert mix_of(meter.finish()) == pytest.approx((0.0, 0.5, 0.5))
    silent = ChannelMeter(2)
    silent.add(np.zeros((SAMPLE_RATE, 2), "<i2"))
    assert mix_of(silent.finish()) == (0.5, 0.5)


# Tracks


def tracks(make: MakeRecording, name: str, first: str, *more: str) -> Path:
    """Two tracks: `first` as a source of ffmpeg's, then the sample."""
    return make(name, *SPEECH, first, "-map", "1:a", "-map", "0:a", *more)


SILENCE = "anullsrc=r=16000:cl=mono:d=10"


@pytest.mark.parametrize("name", ["silent-first.mp4", "silent-first.mkv", "silent-first.mov", "silent-first.ts"])
def test_first_track_that_is_silent_gives_way_to_the_one_with_a_voice(
    make_recording: MakeRecording, settings: Settings, name: str
) -> None:
    stream, _ = heard(tracks(make_recording, name, SILENCE), settings)
    assert stream.info.track == 2 and [one.number for one in stream.info.tracks] == [1, 2]
    assert voice_seconds(stream) > 5
    assert names(stream) == [WarningName.TRACKS_LEFT_OUT]


def two_voices(make: MakeRecording, name: str, default: int) -> Path:
    flags = (
        "-disposition:a:0",
        "default" if default == 1 else "0",
        "-disposition:a:1",
        "default" if default == 2 else "0",
    )
    languages = ("-metadata:s:a:0", "language=fre", "-metadata:s:a:1", "language=eng")
    return make(name, "-i", OTHER, "-map", "1:a", "-map", "0:a", *languages, *flags)


@pytest.mark.parametrize("default", [1, 2])
def test_track_that_is_the_default_one_is_heard_wherever_it_stands(
    make_recording: MakeRecording, settings: Settings, default: int
) -> None:
    stream, _ = heard(two_voices(make_recording, f"default-{default}.mkv", default), settings)
    assert stream.info.track == default
    assert [one.language for one in stream.info.tracks] == ["fre", "eng"]
    assert "fre" if default == 2 else "eng" in stream.info.warnings[0].message


@pytest.mark.parametrize("track", [1, 2])
def test_track_that_is_asked_for_is_heard_without_a_warning(
    make_recording: MakeRecording, settings: Settings, track: int
) -> None:
    stream, pcm = heard(two_voices(make_recording, "default-1.mkv", 1), settings, track)
    source = make_recording("plain-one.wav", source=OTHER if track == 1 else DATA / "sample-08.ogg")
    assert stream.info.track == track and stream.info.warnings == []
    assert len(pcm) == pytest.approx(len(heard(source, settings)[1]), abs=8000)


def test_track_that_is_not_there_is_an_error_that_names_those_that_are(
    make_recording: MakeRecording, settings: Settings
) -> None:
    with pytest.raises(TrackNotFoundError, match=r"no audio track 3; it has 2: 1 \(fre, vorbis\), 2 \(eng"):
        heard(two_voices(make_recording, "default-1.mkv", 1), settings, 3)


# Time


def starts(stream: RecordingStream) -> list[float]:
    return [span.start / SAMPLE_RATE for span in stream.voice.spans(min_silence_ms=500)]


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.ts", "late.mov"])
def test_sound_that_begins_after_the_picture_has_the_times_of_a_player(
    make_recording: MakeRecording, settings: Settings, name: str
) -> None:
    plain, _ = heard(make_recording("plain-time.wav"), settings)
    picture = (*SPEECH, "color=s=64x64:d=14:r=10")
    late = make_recording(name, *picture, "-map", "1:v", "-map", "0:a", "-filter:a", "asetpts=PTS+4/TB")
    stream, _ = heard(late, settings)
    assert starts(stream) == pytest.approx([start + 4 for start in starts(plain)], abs=0.15)
    assert stream.info.warnings == []


@pytest.mark.parametrize("name", ["gap.mkv", "gap.mp4", "gap.webm"])
def test_sound_that_is_missing_by_its_time_stamps_is_silence_and_named(
    make_recording: MakeRecording, settings: Settings, name: str
) -> None:
    plain, _ = heard(make_recording("plain-time.wav"), settings)
    gap = make_recording(name, "-af", "asetpts='if(gt(T,5),PTS+5/TB,PTS)'")
    stream, _ = heard(gap, settings)
    assert stream.info.duration_seconds == pytest.approx(plain.info.duration_seconds + 5, abs=0.3)
    assert starts(stream)[-1] == pytest.approx(starts(plain)[-1] + 5, abs=0.2)
    assert names(stream) == [WarningName.TIMESTAMP_GAPS]
    assert re.search(r"leave out (4\.9|5\.\d) s", stream.info.warnings[0].message)


@pytest.mark.parametrize("name", ["clock.ts", "clock.mpg"])
def test_stream_whose_clock_does_not_begin_at_zero_begins_at_zero(
    make_recording: MakeRecording, settings: Settings, name: str
) -> None:
    plain, _ = heard(make_recording("plain-time.wav"), settings)
    stream, _ = heard(make_recording(name, "-output_ts_offset", "36000", "-muxdelay", "0"), settings)
    assert stream.info.duration_seconds == pytest.approx(plain.info.duration_seconds, abs=0.3)
    assert starts(stream) == pytest.approx(starts(plain), abs=0.15)


def test_time_stamp_that_jumps_beyond_the_limit_is_an_error_and_not_hours_of_silence(
    make_recording: MakeRecording, settings: Settings
) -> None:
    jump = make_recording("jump.mkv", "-af", "asetpts='if(gt(T,5),PTS+360000/TB,PTS)'")
    with pytest.raises(AudioTooLongError):
        heard(jump, settings.model_copy(update={"max_audio_seconds": 60.0}))


def test_pause_of_an_hour_by_the_time_stamps_loses_nothing_after_it(
    make_recording: MakeRecording, settings: Settings
) -> None:
    plain, _ = heard(make_recording("plain-time.wav"), settings)
    stream, _ = heard(make_recording("hour.mka", "-af", "asetpts='if(gt(T,5),PTS+3600/TB,PTS)'"), settings)
    assert starts(stream)[-1] == pytest.approx(starts(plain)[-1] + 3600, abs=0.2)
    assert names(stream) == [WarningName.TIMESTAMP_GAPS]


def test_gap_of_a_broadcast_stream_is_no_joint(make_recording: MakeRecording, settings: Settings) -> None:
    plain, _ = heard(make_recording("plain-time.wav"), settings)
    stream, _ = heard(make_recording("gap.ts", "-af", "asetpts='if(gt(T,5),PTS+30/TB,PTS)'", "-c:a", "aac"), settings)
    assert starts(stream)[-1] == pytest.approx(starts(plain)[-1] + 30, abs=0.2)


@pytest.mark.parametrize(("name", "codec"), [("joined.ts", "aac"), ("joined.mpg", "mp2")])
def test_streams_that_were_joined_follow_each_other_without_a_pause(
    make_recording: MakeRecording, settings: Settings, tmp_path: Path, name: str, codec: str
) -> None:
    first = make_recording(f"mono-{name}", "-c:a", codec)
    second = make_recording(f"stereo-{name}", "-c:a", codec, "-ac", "2")
    joined = tmp_path / name
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    stream, _ = heard(joined, settings)
    plain = starts(heard(first, settings)[0])
    assert starts(stream) == pytest.approx([*plain, *(start + 10.15 for start in plain)], abs=0.15)
    assert WarningName.TIMESTAMP_GAPS not in names(stream)


@pytest.mark.parametrize(
    "stamps", ["if(gt(PTS*TB,5),PTS-4/TB,PTS)", "PTS+0.15/TB*mod(floor(N/10),2)"], ids=["backwards", "uneven"]
)
def test_time_stamps_that_run_backwards_lose_no_sound(
    make_recording: MakeRecording, settings: Settings, stamps: str
) -> None:
    plain, _ = heard(make_recording("plain-time.wav"), settings)
    opus = make_recording("whole.mka", "-c:a", "libopus")
    name = f"stamps-{len(stamps)}.mka"
    stream, _ = heard(make_recording(name, "-c", "copy", "-bsf:a", f"setts=ts='{stamps}'", source=opus), settings)
    assert stream.info.duration_seconds == pytest.approx(plain.info.duration_seconds, abs=0.2)
    assert voice_seconds(stream) == pytest.approx(voice_seconds(plain), abs=0.3)
    assert stream.info.warnings == []
