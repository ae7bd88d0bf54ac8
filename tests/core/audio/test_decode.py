from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from stt_core.audio import formats
from stt_core.audio.decode import PcmStream
from stt_core.audio.detection import detect_format
from stt_core.audio.formats import WAV
from stt_core.errors import (
    AudioTooLongError,
    DecoderError,
    ExecutableNotFoundError,
    NoAudioError,
    UnreadableAudioError,
)
from stt_core.settings import Settings
from stt_core.warnings import WarningName
from tests.core.audio.conftest import DATA, FORMATS, MakeRecording, decode, noise, pcm_of, was_called


@pytest.mark.parametrize(("name", "arguments", "_format"), FORMATS, ids=[item[0] for item in FORMATS])
def test_decode_of_any_format_gives_the_same_sound(
    make_recording: MakeRecording, settings: Settings, name: str, arguments: tuple[str, ...], _format: str
) -> None:
    _, reference = decode(DATA / "sample-08.ogg", settings)
    stream, pcm = decode(make_recording(name, *arguments), settings)
    assert stream.info.samples == len(pcm) // 2
    assert stream.info.duration_seconds == pytest.approx(10.12, abs=0.15)
    assert not stream.info.warnings
    likeness, lag = _compare(pcm, reference)
    assert likeness > 0.8
    assert abs(lag) < 0.1


def test_decode_tells_the_facts_of_the_source(make_recording: MakeRecording, settings: Settings) -> None:
    info = decode(make_recording("f64-5.1.wav", "-c:a", "pcm_f64le", "-ac", "6"), settings)[0].info
    assert (info.codec, info.channels, info.source_sample_rate) == ("pcm_f64le", 6, 48_000)


def test_decode_of_a_video_takes_its_sound(make_recording: MakeRecording, settings: Settings) -> None:
    picture = ("-f", "lavfi", "-i", "color=s=64x64:d=3:r=5", "-map", "0:a", "-map", "1:v", "-c:v", "libx264")
    for name in ("film.mp4", "film.mkv", "film.mov"):
        info = decode(make_recording(name, *picture, "-c:a", "aac"), settings)[0].info
        assert info.duration_seconds == pytest.approx(10.12, abs=0.15)
        assert not info.warnings


def test_decode_of_one_channel_leaves_the_others_out(make_recording: MakeRecording, settings: Settings) -> None:
    call = make_recording("call.flac", "-af", "pan=stereo|c1=c0")
    silent, left = decode(call, settings, channel=0)
    speaking, right = decode(call, settings, channel=1)
    assert not any(left)
    assert silent.info.channels == speaking.info.channels == 2
    assert np.abs(np.frombuffer(right, "<i2")).max() > 1000


def test_decode_of_a_channel_that_is_not_there_says_so(settings: Settings) -> None:
    with pytest.raises(NoAudioError, match="no channel 1"):
        decode(DATA / "sample-08.ogg", settings, channel=1)


def test_decode_of_a_twentieth_of_a_second_gives_it(tmp_path: Path, settings: Settings) -> None:
    stream, pcm = decode(_write_wav(tmp_path / "blip.wav", pcm_of(noise(0.05, 1000))), settings)
    assert stream.info.samples == 800
    assert len(pcm) == 1600


def test_read_returns_exactly_what_is_asked_for_until_the_end(settings: Settings) -> None:
    path = DATA / "sample-08.ogg"
    with PcmStream(path, detect_format(path.read_bytes()), settings) as stream:
        sizes = [len(part) for part in iter(lambda: stream.read(50_001), b"")]
        assert stream.read(10) == b""
    assert set(sizes[:-1]) == {50_001}
    assert sum(sizes) == stream.info.samples * 2


# Files that are no use


def test_decode_of_a_header_without_samples_says_so(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(NoAudioError, match="no samples"):
        decode(_write_wav(tmp_path / "empty.wav", b""), settings)


def test_decode_of_a_video_without_sound_says_so(make_recording: MakeRecording, settings: Settings) -> None:
    silent = make_recording("silent.mp4", "-f", "lavfi", "-i", "color=s=64x64:d=1:r=5", "-map", "1:v")
    with pytest.raises(NoAudioError, match="no audio track"):
        decode(silent, settings)


def test_decode_of_a_truncated_mp3_gives_what_is_there_and_says_so(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings
) -> None:
    cut = tmp_path / "cut.mp3"
    whole = make_recording("plain.mp3", "-ar", "44100").read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    info = decode(cut, settings)[0].info
    assert [warning.name for warning in info.warnings] == [WarningName.CUT_OFF]
    assert info.duration_seconds == pytest.approx(5, abs=0.3)


def test_decode_of_an_mp4_without_its_index_says_it_is_damaged(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings
) -> None:
    cut = tmp_path / "cut.m4a"
    cut.write_bytes(make_recording("apple.m4a", "-c:a", "aac").read_bytes()[:30_000])
    with pytest.raises(UnreadableAudioError, match="damaged beyond decoding") as caught:
        decode(cut, settings)
    assert str(tmp_path) not in str(caught.value)


def test_decode_of_damage_in_the_middle_goes_on_and_says_so(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings
) -> None:
    data = bytearray(make_recording("plain.flac").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    damaged = tmp_path / "damaged.flac"
    damaged.write_bytes(data)
    info = decode(damaged, settings)[0].info
    assert [warning.name for warning in info.warnings] == [WarningName.DAMAGED]
    assert info.duration_seconds > 8


def test_decode_of_noise_behind_any_magic_ends_with_a_named_error(tmp_path: Path, settings: Settings) -> None:
    junk = np.random.default_rng(3).bytes(20_000)
    for magic in (b"fLaC", b"OggS\0", b"\x1a\x45\xdf\xa3webm", b"\0\0\0\x18ftypM4A ", b"FORM\0\0\0\0AIFF"):
        path = tmp_path / "junk"
        path.write_bytes(magic + junk)
        with pytest.raises((UnreadableAudioError, NoAudioError)):
            decode(path, settings)


# Hostile files


def test_decode_of_a_bomb_stops_at_the_limit(make_recording: MakeRecording) -> None:
    hours = make_recording(
        "bomb.flac", "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=8000", "-map", "1:a", "-frame_size", "65535"
    )
    assert hours.stat().st_size < 100_000
    started = time.monotonic()
    with pytest.raises(AudioTooLongError, match="limit of 3600 s"):
        decode(hours, Settings(_env_file=None, max_audio_seconds=3600))  # type: ignore[call-arg]
    assert time.monotonic() - started < 10


def test_decode_of_a_recording_whose_header_hides_its_length_stops_at_the_limit(
    make_recording: MakeRecording, tmp_path: Path
) -> None:
    data = bytearray(make_recording("plain.flac").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # total samples: unknown
    path = tmp_path / "unknown.flac"
    path.write_bytes(data)
    with pytest.raises(AudioTooLongError):
        decode(path, Settings(_env_file=None, max_audio_seconds=5))  # type: ignore[call-arg]


def test_decode_of_exactly_the_limit_is_allowed(tmp_path: Path) -> None:
    path = _write_wav(tmp_path / "five.wav", pcm_of(noise(5, 1000)))
    limit = Settings(_env_file=None, max_audio_seconds=5)  # type: ignore[call-arg]
    assert decode(path, limit)[0].info.samples == 80_000


def test_decode_of_a_playlist_opens_nothing_whatever_it_is_taken_for(
    tmp_path: Path, settings: Settings, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    secret = tmp_path / "secret.wav"
    _write_wav(secret, pcm_of(noise(1, 1000)))
    scripts = [
        f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10,\nhttp://127.0.0.1:{port}/a.ts\n#EXTINF:10,\nfile:{secret}\n",
        f"ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/a.wav'\nfile '{secret}'\nfile '/etc/passwd'\n",
    ]
    demuxers = {f.demuxer: f for f in vars(formats).values() if isinstance(f, formats.AudioFormat)}
    for number, script in enumerate(scripts):
        for name, audio_format in demuxers.items():
            path = tmp_path / f"{number}.{name}"
            path.write_text(script)
            if name == "gsm":  # takes whatever bytes there are for sound
                assert decode_as(audio_format, path, settings) < 1
                continue
            with (
                pytest.raises((UnreadableAudioError, NoAudioError)),
                PcmStream(path, audio_format, settings) as stream,
            ):
                stream.read(10_000_000)
    assert not was_called(listener)


def decode_as(audio_format: formats.AudioFormat, path: Path, settings: Settings) -> float:
    with PcmStream(path, audio_format, settings) as stream:
        assert stream.read(10_000_000)
    return stream.info.duration_seconds


def test_decode_may_open_no_address_even_if_told_to(
    tmp_path: Path, settings: Settings, listener: socket.socket
) -> None:
    address = Path(f"http://127.0.0.1:{listener.getsockname()[1]}/sound.wav")
    with pytest.raises(UnreadableAudioError), PcmStream(address, WAV, settings) as stream:
        stream.read()
    assert not was_called(listener)


def decoders() -> list[psutil.Process]:
    """Return this process's decoders; the servers of other tests may be its children too."""
    return [child for child in psutil.Process().children() if child.name().startswith("ffmpeg")]


def test_decode_writes_no_file_and_inherits_no_secret(
    make_recording: MakeRecording, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIO_SECRET_KEY", "do-not-tell")
    path = _long_wav(make_recording)
    with PcmStream(path, WAV, settings) as stream:
        stream.read(1000)
        (process,) = decoders()
        assert "MINIO_SECRET_KEY" not in process.environ()
        assert process.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_AS)[0] == 1024**3
        assert process.rlimit(psutil.RLIMIT_CPU)[0] < 3600
    assert not psutil.pid_exists(process.pid)


def test_decode_left_early_ends_its_process(make_recording: MakeRecording, settings: Settings) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        PcmStream(_long_wav(make_recording), WAV, settings) as stream,
    ):
        stream.read(1000)
        (process,) = decoders()
        raise KeyboardInterrupt
    assert not process.is_running()


def test_decode_whose_process_is_killed_may_be_tried_again(make_recording: MakeRecording, settings: Settings) -> None:
    with (
        pytest.raises(DecoderError, match="SIGKILL") as caught,
        PcmStream(_long_wav(make_recording), WAV, settings) as stream,
    ):
        stream.read(1000)
        decoders()[0].kill()
        stream.read(10**9)
    assert caught.value.transient


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_decode_whose_parent_is_killed_dies_with_it(make_recording: MakeRecording, tmp_path: Path) -> None:
    script = (
        "import sys, psutil; from pathlib import Path\n"
        "from stt_core.audio.decode import PcmStream; from stt_core.audio.formats import WAV\n"
        "from stt_core.settings import Settings\n"
        "with PcmStream(Path(sys.argv[1]), WAV, Settings(_env_file=None)) as stream:\n"
        "    stream.read(1000)\n"
        "    sys.stdout.write(f'{psutil.Process().children()[0].pid}\\n'); sys.stdout.flush(); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(_long_wav(make_recording))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(timeout=10)
    assert not child.is_running()


# ffmpeg itself


def test_decode_without_ffmpeg_names_the_setting(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, ffmpeg_executable="/nowhere/ffmpeg")  # type: ignore[call-arg]
    with pytest.raises(ExecutableNotFoundError, match="FFMPEG_EXECUTABLE"):
        decode(DATA / "sample-08.ogg", settings)


def test_decode_with_something_that_is_not_ffmpeg_fails(settings: Settings) -> None:
    other = settings.model_copy(update={"ffmpeg_executable": "false"})
    with pytest.raises(UnreadableAudioError, match="ended with 1"):
        decode(DATA / "sample-08.ogg", other)


def _write_wav(path: Path, pcm: bytes) -> Path:
    sizes = (36 + len(pcm)).to_bytes(4, "little"), len(pcm).to_bytes(4, "little")
    form = bytes.fromhex("666d74201000000001000100803e0000007d000002001000")
    path.write_bytes(b"RIFF" + sizes[0] + b"WAVE" + form + b"data" + sizes[1] + pcm)
    return path


def _long_wav(make_recording: MakeRecording) -> Path:
    """A recording that does not fit into a pipe, so that its decoder waits for a reader."""
    return make_recording("long.wav", "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=300", "-map", "1:a")


def _compare(pcm: bytes, reference: bytes) -> tuple[float, float]:
    """Return the greatest correlation of two sounds and how many seconds the first is late there."""
    size = 2 ** (max(len(pcm), len(reference)) // 2).bit_length()
    ours, theirs = (np.frombuffer(sound, "<i2").astype(float) for sound in (pcm, reference))
    product = np.fft.irfft(np.fft.rfft(ours, size) * np.conj(np.fft.rfft(theirs, size)))
    best = int(product.argmax())
    lag = (best if best < size // 2 else best - size) / 16_000
    return float(product[best] / np.sqrt((ours @ ours) * (theirs @ theirs))), lag
