from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_core.audio.detection import HEAD_BYTES, detect_format
from stt_core.errors import EmptyFileError, UnsupportedFormatError
from tests.core.audio.conftest import DATA, FORMATS, RAW_FRAMES, MakeRecording


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
        b"RIFF\x24\0\0\0AVI LIST",
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


def test_detect_format_of_an_mp3_cut_from_a_stream_finds_its_frames(make_recording: MakeRecording) -> None:
    data = make_recording("raw-frames.mp3", *RAW_FRAMES).read_bytes()
    assert detect_format(data[77:]).name == "mp3"
    assert detect_format(b"\0" * 500 + data).name == "mp3"


def test_detect_format_of_an_mp3_with_a_long_tag_believes_the_tag(make_recording: MakeRecording) -> None:
    tag = b"ID3\x04\0\0" + bytes([0, 0x10, 0, 0]) + b"\0" * 0x40000
    data = tag + make_recording("raw-frames.mp3", *RAW_FRAMES).read_bytes()
    assert detect_format(data[:HEAD_BYTES]).name == "mp3"


def test_detect_format_of_a_polyglot_names_the_one_format_it_is_read_as() -> None:
    sound = (DATA / "sample-08.ogg").read_bytes()
    assert detect_format(sound + b"PK\x03\x04").name == "opus"
    assert detect_format(b"RIFF\xff\xff\xff\xffWAVE#EXTM3U\nfile:///etc/passwd\n").demuxer == "wav"


@given(st.text(alphabet=string.printable + "äöüß€", min_size=1, max_size=3000))
def test_detect_format_of_any_text_refuses_it(text: str) -> None:
    magics = ("#!AMR", "RIFF", "FORM", "fLaC", "OggS", "caff", ".snd", "ID3")
    if not text.startswith(magics) and text[4:8] not in ("ftyp", "moov", "mdat", "wide", "pnot"):
        with pytest.raises(UnsupportedFormatError):
            detect_format(text.encode())


@given(st.binary(min_size=1, max_size=300))
def test_detect_format_of_any_bytes_answers_or_refuses(data: bytes) -> None:
    try:
        assert detect_format(data).demuxer not in ("hls", "concat", "dash")
    except UnsupportedFormatError as error:
        assert error.mend
