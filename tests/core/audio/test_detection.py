from __future__ import annotations

import io
import random
import string
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_core.audio.detection import HEAD_BYTES, detect_file_format, detect_format
from stt_core.errors import EmptyFileError, UnsupportedFormatError
from tests.core.audio.conftest import DATA, FORMATS, RAW_FRAMES, MakeRecording, ape_tag, id3_tag

FORMAT_OF = {name: expected for name, _, expected in FORMATS}


@pytest.mark.parametrize(("name", "arguments", "expected"), FORMATS, ids=[item[0] for item in FORMATS])
def test_detect_format_of_a_real_file_names_it(
    make_recording: MakeRecording, name: str, arguments: tuple[str, ...], expected: str
) -> None:
    assert detect_format(make_recording(name, *arguments).read_bytes()[:HEAD_BYTES]).name == expected


@pytest.mark.parametrize(
    "text",
    [
        b"This is a text that somebody renamed to recording.mp3.\n" * 40,
        b"ID3 is what this text begins with, and still it is a text.\n" * 40,
        "\ufeffUTF-16 begins with the bits of a frame.".encode("utf-16-le") * 40,
        b"\xff\xfb\x90\x64" + b"one frame header and then nothing of the kind " * 40,
        b"\0" * 5000,
        b"<html><body>404</body></html>",
        b"%PDF-1.7 ...",
        b"PK\x03\x04" + b"\0" * 100,
        b"RIFF\x24\0\0\0WEBPVP8 ",
        b"G" * 4000,
        "Кириллица тоже не запись. ".encode() * 400,
        b"\0\0\x01\xba" + b"\0" * 400,
        b"RIFF",
        b"R",
    ],
)
def test_detect_format_of_something_else_refuses_it(text: bytes) -> None:
    with pytest.raises(UnsupportedFormatError, match="not a recording"):
        detect_format(text)


@pytest.mark.parametrize(
    "script",
    [
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"file '/etc/passwd'\n",
        b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
        b"ID3\x04\0\0\0\0\0\x00" + b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    ],
)
def test_detect_format_of_a_playlist_refuses_it(script: bytes) -> None:
    with pytest.raises(UnsupportedFormatError):
        detect_format(script)


def test_detect_format_of_no_bytes_says_the_file_is_empty() -> None:
    with pytest.raises(EmptyFileError):
        detect_format(b"")


# Behind tags and junk


@pytest.mark.parametrize("name", ["raw-frames.mp3", "plain.flac", "adts.aac", "dolby.ac3", "s16.wav", "vorbis.ogg"])
@pytest.mark.parametrize("size", [0, 50, 70_000, 3_000_000])
def test_detect_format_behind_a_tag_of_any_length_finds_the_recording(
    make_recording: MakeRecording, name: str, size: int
) -> None:
    data = id3_tag(size) + make_recording(name).read_bytes()
    assert detect_file_format(io.BytesIO(data)).name == FORMAT_OF[name]
    assert detect_file_format(io.BytesIO(id3_tag(20) + ape_tag(3000) + data)).name == FORMAT_OF[name]


@pytest.mark.parametrize("name", ["raw-frames.mp3", "adts.aac", "dolby.ac3", "dolby.eac3", "radio.loas", "layer2.mp3"])
def test_detect_format_of_frames_behind_junk_finds_them(make_recording: MakeRecording, name: str) -> None:
    data = make_recording(name).read_bytes()
    for junk in (b"", bytes(500), bytes(40_000), random.Random(5).randbytes(20_000), b"ICY 200 OK\r\n\r\n"):
        assert detect_format(junk + data).name == FORMAT_OF[name]
        assert detect_format(junk + data[77:]).name == FORMAT_OF[name]


@pytest.mark.parametrize("name", ["broadcast.ts", "mpeg-2.vob", "mpeg-1.mpg", "camera.m2ts"])
def test_detect_format_of_a_stream_cut_anywhere_names_it(make_recording: MakeRecording, name: str) -> None:
    data = make_recording(name).read_bytes()
    assert detect_format(data[31_001:]).name == FORMAT_OF[name]


def test_detect_format_of_a_tag_whose_length_is_wrong_finds_the_frames(make_recording: MakeRecording) -> None:
    frames = make_recording("raw-frames.mp3", *RAW_FRAMES).read_bytes()
    for stated in (10, 3_000_000):
        tag = id3_tag(stated)[:10] + bytes(range(200))
        assert detect_format(tag + frames).name == "mp3"


def test_detect_format_of_thousands_of_tags_refuses_them(make_recording: MakeRecording) -> None:
    frames = make_recording("raw-frames.mp3", *RAW_FRAMES).read_bytes()
    for behind in (b"x" * 100, frames, b""):
        with pytest.raises(UnsupportedFormatError):
            detect_file_format(io.BytesIO(id3_tag(0) * 6000 + behind))


def test_detect_format_leaves_the_file_at_its_beginning(make_recording: MakeRecording) -> None:
    file = io.BytesIO(id3_tag(100_000) + make_recording("plain.flac").read_bytes())
    assert detect_file_format(file).name == "flac"
    assert file.tell() == 0


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"MAC \x96\x0f", "ape"),
        (b"tBaK", "tak"),
        (b"MP+\x07", "musepack"),
        (b"MPCK", "musepack8"),
        (b"DSD \x1c\0\0\0", "dsf"),
        (b"NIST_1A\n   1024\n", "sphere"),
        (b".ra\xfd", "realmedia"),
        (b"#!AMR-WB\n", "amr"),
        (b"\0\0\0\x18styp", "mp4"),
        (b"\xfe\x7f\x01\x80", "dts"),
    ],
)
def test_detect_format_of_what_no_encoder_here_makes_goes_by_its_magic(head: bytes, expected: str) -> None:
    assert detect_format(head + bytes(100)).name == expected


def test_detect_format_of_gsm_frames_goes_by_all_of_them() -> None:
    chance = random.Random(7)
    frames = [bytes([0xD0 | chance.randrange(16)]) + chance.randbytes(32) for _ in range(200)]
    assert detect_format(b"".join(frames)).name == "gsm"
    with pytest.raises(UnsupportedFormatError):
        detect_format(b"".join([*frames, b"\0" * 33]))


# What is no recording


def test_detect_format_of_random_bytes_refuses_them() -> None:
    chance = random.Random(11)
    for _ in range(60):
        with pytest.raises(UnsupportedFormatError):
            detect_format(b"\x01" + chance.randbytes(HEAD_BYTES))


def test_detect_format_of_an_archive_or_picture_with_sound_refuses_it(
    make_recording: MakeRecording,
) -> None:
    sound = make_recording("raw-frames.mp3", *RAW_FRAMES)
    packed, taped = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.write(sound, "a.mp3")
    with tarfile.open(fileobj=taped, mode="w") as tape:
        tape.add(sound, "a.mp3")
    for content in (packed.getvalue(), taped.getvalue(), b"\xff\xd8\xff\xe0\0\x10JFIF" + sound.read_bytes()):
        with pytest.raises(UnsupportedFormatError):
            detect_format(content)


def test_detect_format_of_a_polyglot_names_the_one_format_it_is_read_as() -> None:
    sound = (DATA / "sample-08.ogg").read_bytes()
    assert detect_format(sound + b"PK\x03\x04").name == "opus"
    assert detect_format(b"RIFF\xff\xff\xff\xffWAVE#EXTM3U\nfile:///etc/passwd\n").demuxer == "wav"


@given(st.text(alphabet=string.printable + "äöüß€", min_size=1, max_size=3000))
def test_detect_format_of_any_text_refuses_it(text: str) -> None:
    magics = ("#!AMR", "RIFF", "FORM", "fLaC", "OggS", "caff", ".snd", "ID3", "wvpk", "TTA1", "tBaK", ".SoX", "XoS.")
    if not text.startswith(magics) and text[4:8] not in ("ftyp", "moov", "mdat", "wide", "pnot"):
        with pytest.raises(UnsupportedFormatError):
            detect_format(text.encode())


@given(st.binary(min_size=1, max_size=300))
def test_detect_format_of_any_bytes_answers_or_refuses(data: bytes) -> None:
    try:
        assert detect_format(data).demuxer not in ("hls", "concat", "dash")
    except UnsupportedFormatError as error:
        assert error.mend
