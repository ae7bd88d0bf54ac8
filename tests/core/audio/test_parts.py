"""Files that were joined are read whole, and are not damaged for that."""

from __future__ import annotations

import socket
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from stt_core.audio import formats, parts
from stt_core.audio.detection import detect_format
from stt_core.audio.parts import Part, find_parts
from stt_core.errors import NoAudioError, UnreadableAudioError
from stt_core.settings import Settings
from stt_core.warnings import WarningName
from tests.core.audio.conftest import (
    DATA,
    FORMATS,
    PICTURE,
    RAW_FRAMES,
    MakeRecording,
    ape_tag,
    decode,
    id3_tag,
    was_called,
)

#: The same container with another codec, rate or number of channels in it.
OTHERS: list[tuple[str, tuple[str, ...]]] = [
    ("voice.opus", ("-c:a", "libopus", "-ac", "2")),
    ("vorbis.ogg", ("-c:a", "libvorbis", "-ac", "2", "-ar", "44100")),
    ("vorbis.ogg", ("-c:a", "flac")),
    ("theora.ogv", (*PICTURE, "-c:v", "libtheora", "-c:a", "libvorbis", "-ac", "2")),
    ("plain.mp3", ("-ar", "22050", "-ac", "2")),
    ("plain.flac", ("-ar", "8000", "-ac", "2")),
    ("adts.aac", ("-ar", "44100", "-ac", "2")),
    ("s16.wav", ("-c:a", "pcm_mulaw", "-ar", "8000")),
    ("browser.webm", ("-c:a", "libvorbis", "-ac", "2")),
    ("apple.m4a", ("-c:a", "alac", "-ac", "2")),
]


@pytest.mark.parametrize(("name", "arguments", "_format"), FORMATS, ids=[item[0] for item in FORMATS])
def test_decode_of_a_file_joined_with_itself_gives_both_and_no_warning(
    make_recording: MakeRecording,
    tmp_path: Path,
    settings: Settings,
    name: str,
    arguments: tuple[str, ...],
    _format: str,
) -> None:
    path = make_recording(name, *arguments)
    assert_joined(tmp_path / name, path, path, settings)


@pytest.mark.parametrize(("name", "arguments"), OTHERS, ids=["-".join(item[1][1:2]) + item[0] for item in OTHERS])
def test_decode_of_files_joined_that_differ_gives_both_and_no_warning(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings, name: str, arguments: tuple[str, ...]
) -> None:
    first = make_recording(name)
    second = make_recording(f"{'-'.join(arguments[-5:]).replace('/', '-')}-{name}", *arguments)
    assert_joined(tmp_path / name, first, second, settings)
    assert_joined(tmp_path / f"reversed-{name}", second, first, settings)


def assert_joined(path: Path, first: Path, second: Path, settings: Settings) -> None:
    path.write_bytes(first.read_bytes() + second.read_bytes())
    stream, pcm = decode(path, settings)
    assert stream.info.warnings == []
    assert stream.info.duration_seconds == pytest.approx(20.24, abs=0.3)
    samples = np.frombuffer(pcm, "<i2").astype(float)
    middle = len(samples) // 2
    assert 0.5 < np.std(samples[:middle]) / np.std(samples[middle:]) < 2  # mono made stereo is 3 dB lower


@pytest.mark.parametrize("tag", ["none", "id3", "ape", "id3v1"])
def test_decode_of_mp3s_joined_with_tags_between_has_no_warning(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings, tag: str
) -> None:
    single = make_recording("raw-frames.mp3", *RAW_FRAMES)
    frames, seconds = single.read_bytes(), decode(single, settings)[0].info.duration_seconds
    old = b"TAG" + b"title".ljust(125, b"\0")
    between = {"none": b"", "id3": id3_tag(90_000), "ape": ape_tag(3000), "id3v1": old}[tag]
    path = tmp_path / "tagged.mp3"
    path.write_bytes(id3_tag(70_000) + frames + between + frames + between + frames + between)
    stream, _ = decode(path, settings)
    assert stream.info.warnings == []
    assert stream.info.duration_seconds == pytest.approx(3 * seconds, abs=0.2)


@pytest.mark.parametrize("name", ["plain.flac", "adts.aac", "s16.wav", "voice.opus", "dolby.ac3"])
def test_decode_behind_a_tag_with_a_large_cover_gives_the_sound(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings, name: str
) -> None:
    path = make_recording(name)
    tagged = tmp_path / name
    tagged.write_bytes(id3_tag(300_000) + path.read_bytes())
    stream, pcm = decode(tagged, settings)
    assert stream.info.warnings == []
    assert pcm == decode(path, settings)[1]


@pytest.mark.parametrize("name", ["raw-frames.mp3", "adts.aac", "dolby.ac3", "radio.loas"])
def test_decode_of_frames_behind_junk_gives_the_sound(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings, name: str
) -> None:
    path = make_recording(name)
    for junk in (bytes(30_000), np.random.default_rng(1).bytes(20_000)):
        behind = tmp_path / name
        behind.write_bytes(junk + path.read_bytes())
        stream, _ = decode(behind, settings)
        assert stream.info.warnings == []
        assert stream.info.duration_seconds == pytest.approx(10.15, abs=0.15)


@pytest.mark.parametrize("name", ["broadcast.ts", "mpeg-2.vob", "mpeg-1.mpg"])
def test_decode_of_a_film_cut_out_of_a_stream_is_not_damaged_by_its_picture(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings, name: str
) -> None:
    path = make_recording(name)
    cut = tmp_path / name
    cut.write_bytes(path.read_bytes()[31_001:])
    stream, _ = decode(cut, settings)
    assert stream.info.warnings == []
    assert 8 < stream.info.duration_seconds < 10.2


# What is lost is said


def test_decode_of_a_second_part_that_is_damaged_gives_the_first_and_says_which(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings
) -> None:
    whole = make_recording("plain.flac").read_bytes()
    damaged = whole[:60_000] + bytes(3000) + whole[63_000:]
    path = tmp_path / "half.flac"
    path.write_bytes(whole + damaged)
    stream, _ = decode(path, settings)
    assert [warning.name for warning in stream.info.warnings] == [WarningName.DAMAGED]
    assert stream.info.warnings[0].message.startswith("Part 2 of the recording is damaged")
    assert stream.info.duration_seconds > 19


def test_decode_of_a_second_part_that_is_not_readable_names_the_byte(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings
) -> None:
    whole = make_recording("voice.opus").read_bytes()
    path = tmp_path / "header.opus"
    header = bytearray(whole[:47])
    header[28 + 8] = 0xFF  # a version that no decoder knows
    path.write_bytes(whole + bytes(header) + np.random.default_rng(1).bytes(500) + whole)
    stream, _ = decode(path, settings)
    [warning] = stream.info.warnings
    assert warning.name == WarningName.UNREAD
    assert f"from byte {len(whole)} on" in warning.message
    assert str(tmp_path) not in warning.message
    assert stream.info.duration_seconds == pytest.approx(20.24, abs=0.1)


def test_decode_of_more_parts_than_are_read_names_the_rest(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_core.audio.decode.PARTS_AT_MOST", 2)
    whole = make_recording("voice.opus").read_bytes()
    path = tmp_path / "many.opus"
    path.write_bytes(whole * 4)
    stream, _ = decode(path, settings)
    assert [warning.name for warning in stream.info.warnings] == [WarningName.UNREAD]
    assert f"from byte {2 * len(whole)} on were not read" in stream.info.warnings[0].message
    assert stream.info.duration_seconds == pytest.approx(20.24, abs=0.1)


def test_decode_of_a_channel_that_only_one_part_has_keeps_the_time(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "mono-stereo.wav"
    mono, stereo = make_recording("s16.wav", "-c:a", "pcm_s16le"), make_recording("stereo.wav", "-ac", "2")
    path.write_bytes(mono.read_bytes() + stereo.read_bytes())
    stream, pcm = decode(path, settings, channel=1)
    samples = np.frombuffer(pcm, "<i2")
    assert stream.info.channels == 2
    assert stream.info.duration_seconds == pytest.approx(20.24, abs=0.01)
    assert not samples[:160_000].any()
    assert np.abs(samples[165_000:]).max() > 1000
    with pytest.raises(NoAudioError, match="no channel 2"):
        decode(path, settings, channel=2)


def test_decode_of_parts_without_any_sound_says_so(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings
) -> None:
    silent = make_recording("silent.mp4", "-f", "lavfi", "-i", "color=s=64x64:d=1:r=5", "-map", "1:v").read_bytes()
    path = tmp_path / "silent-twice.mp4"
    path.write_bytes(silent * 2)
    with pytest.raises(NoAudioError, match="no audio track"):
        decode(path, settings)


# Where parts begin


def test_find_parts_of_any_bytes_behind_a_magic_ends(tmp_path: Path, settings: Settings) -> None:
    chance = np.random.default_rng(9)
    heads = [
        *(b"RIFF\0\0\0\0WAVEfmt ", b"FORM\0\0\0\0AIFFCOMM", b"fLaC\0\0\0\x22", b"OggS\0\2" + bytes(21) + b"\xff"),
        *(b"\0\0\0\x08ftypmp42\0\0\0\x08moov", b"#!AMR\n", b"caff\0\1\0\0", b"wvpk" + bytes(5)),
        *(b"ID3\4\0\0\0\0\0\0", b"APETAGEX" + bytes(24)),
    ]
    path = tmp_path / "junk"
    for demuxer in ("wav", "aiff", "flac", "ogg", "mov", "mp3", "amr", "caf", "w64", "wv"):
        path.write_bytes(b"".join(head + chance.bytes(chance.integers(200)) for head in heads * 20))
        audio_format = next(item for item in vars(formats).values() if getattr(item, "demuxer", "") == demuxer)
        found = find_parts(path, audio_format)
        borders = [(part.start, part.end or path.stat().st_size) for part in found]
        assert all(start < end for start, end in borders)
        assert all(end <= start for (_, end), (start, _) in pairwise(borders))


@pytest.mark.parametrize(
    ("content", "audio_format"),
    [
        (b"ID3\4" + bytes(6), formats.MP3),
        (b"ID3\4" + bytes(7), formats.MP3),
        (b"TAG" + bytes(125), formats.MP3),
        (b"APETAGEX" + bytes(24), formats.MP3),
        (b"#!AMR\n", formats.AMR),
        (b"OggS\0\2" + bytes(21), formats.OGG),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", formats.WAV),
        (b"RIFF\0\0\0\0WAVEdata\1\0\0\0" + b"JUNK\0\0\0\0" * 1000, formats.WAV),
        (b"\0\0\0\x08ftyp\0\0\0\x08moov", formats.MP4),
        (b"\0\0\0\x08free", formats.MP4),
        (b"\xff\xfb\x90\x64", formats.MP3),
    ],
)
def test_find_parts_of_a_file_made_to_keep_it_busy_ends_soon(
    tmp_path: Path, content: bytes, audio_format: formats.AudioFormat
) -> None:
    path = tmp_path / "busy"
    path.write_bytes(content * (20_000_000 // len(content)))
    begin = time.process_time()
    assert len(find_parts(path, audio_format)) <= parts.PARTS_AT_MOST + 1
    assert time.process_time() - begin < 20  # it takes 0 to 3 s


def test_find_parts_of_a_file_that_is_one_recording_leaves_it_whole(make_recording: MakeRecording) -> None:
    for name, arguments, _ in FORMATS:
        if "mp3" not in name and name not in ("lossless.wv", "lossless.tta"):  # those have tags
            path = make_recording(name, *arguments)
            assert find_parts(path, detect_format(path.read_bytes())) == [Part()]


def test_decode_of_a_path_that_reads_like_an_address_opens_that_file_only(
    make_recording: MakeRecording, tmp_path: Path, settings: Settings, listener: socket.socket
) -> None:
    folder = tmp_path / f"http:127.0.0.1:{listener.getsockname()[1]},,end,0,,:"
    folder.mkdir()
    path = folder / "voice.opus"
    path.write_bytes((DATA / "sample-08.ogg").read_bytes() * 2)
    assert decode(path, settings)[0].info.duration_seconds == pytest.approx(20.24, abs=0.1)
    path.write_bytes(b"OggS\0\2" + bytes(300))
    with pytest.raises(UnreadableAudioError) as caught:
        decode(path, settings)
    assert str(tmp_path) not in str(caught.value)
    assert not was_called(listener)
