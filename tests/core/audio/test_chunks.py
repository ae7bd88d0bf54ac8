"""Headers that state less sound than there is: it is read, or named; other chunks are no sound."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from stt_core.settings import Settings
from stt_core.warnings import WarningName
from tests.core.audio.conftest import MakeRecording, decode, id3_tag, noise, pcm_of

SECONDS = 5
PCM = pcm_of(noise(SECONDS, 3000))
MULAW = np.random.default_rng(4).integers(0x40, 0x7F, SECONDS * 16_000).astype(np.uint8).tobytes()  # looks like letters

W64_REST = bytes.fromhex("f3acd3118cd100c04f8edb8a")
LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf61.0.100\0\0"
TRAILERS = {
    "nothing": b"",
    "list": LIST,
    "id3": b"id3 " + struct.pack("<I", 1010) + id3_tag(1000),
    "odd": b"iXML" + struct.pack("<I", 7) + b"<a></a>\0",
    "odd-unpadded": b"iXML" + struct.pack("<I", 7) + b"<a></a>",
    "several": b"bext" + struct.pack("<I", 602) + bytes(602) + LIST + b"cue " + struct.pack("<I", 4) + bytes(4),
}


def wav(data: bytes, stated: int, *, tag: bytes = b"RIFF", mulaw: bool = False, before: bytes = b"") -> bytes:
    """Return a mono WAV at 16 kHz whose header states `stated` bytes of samples."""
    form = (
        struct.pack("<HHIIHH", 7, 1, 16_000, 16_000, 1, 8)
        if mulaw
        else struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
    )
    chunks = before + b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", stated) + data
    return tag + struct.pack("<I", (4 + len(chunks)) & 0xFFFFFFFF) + b"WAVE" + chunks


def read(content: bytes, tmp_path: Path, settings: Settings) -> tuple[list[WarningName], bytes]:
    path = tmp_path / "recording"
    path.write_bytes(content)
    stream, pcm = decode(path, settings)
    return [warning.name for warning in stream.info.warnings], pcm


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("stated", [0, 2, 32_000, len(PCM) - 1000, len(PCM), 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_decode_of_a_wav_whatever_its_header_states_gives_all_samples_and_nothing_else(
    tmp_path: Path, settings: Settings, stated: int, trailer: str
) -> None:
    names, pcm = read(wav(PCM, stated) + TRAILERS[trailer], tmp_path, settings)
    assert names == []
    assert pcm == PCM


@pytest.mark.parametrize("stated", [0, 100, 16_000, 0xFFFFFFFF])
def test_decode_of_a_mulaw_wav_whose_samples_look_like_letters_gives_them_all(
    tmp_path: Path, settings: Settings, stated: int
) -> None:
    names, pcm = read(wav(MULAW, stated, mulaw=True) + LIST, tmp_path, settings)
    assert names == []
    assert len(pcm) == 2 * len(MULAW)


@pytest.mark.parametrize("tag", [b"RF64", b"BW64"])
@pytest.mark.parametrize("stated", [0, 32_000, len(PCM), 2**40])
def test_decode_of_an_rf64_whatever_its_header_states_gives_all_samples(
    tmp_path: Path, settings: Settings, tag: bytes, stated: int
) -> None:
    sizes = b"ds64" + struct.pack("<IQQQI", 28, stated + 72, stated, stated // 2, 0)
    names, pcm = read(wav(PCM, 0xFFFFFFFF, tag=tag, before=sizes), tmp_path, settings)
    assert len(pcm) == len(PCM)
    assert names == ([WarningName.CUT_OFF] if stated > len(PCM) else [])


def test_decode_of_a_wav_padded_with_zeros_takes_them_for_padding(tmp_path: Path, settings: Settings) -> None:
    assert read(wav(PCM, len(PCM)) + bytes(4000), tmp_path, settings) == ([], PCM)


def test_decode_of_a_wav_with_a_header_that_states_too_much_is_cut_off(tmp_path: Path, settings: Settings) -> None:
    names, pcm = read(wav(PCM, 2 * len(PCM)), tmp_path, settings)
    assert (names, pcm) == ([WarningName.CUT_OFF], PCM)


@pytest.mark.parametrize("stated", [0, 32_000, len(PCM), 0xFFFFFFFF])
def test_decode_of_wavs_appended_gives_all_of_both_whatever_their_headers_state(
    tmp_path: Path, settings: Settings, stated: int
) -> None:
    second = wav(MULAW, len(MULAW), mulaw=True)
    for content in (wav(PCM, stated) + second, wav(PCM, stated) + LIST + second):
        names, pcm = read(content, tmp_path, settings)
        assert names == []
        assert pcm[: len(PCM)] == PCM
        assert len(pcm) == len(PCM) + 2 * len(MULAW)


def test_decode_of_wavs_appended_by_the_header_of_the_first_leaves_the_second_header_out(
    tmp_path: Path, settings: Settings
) -> None:
    both = PCM + wav(PCM, len(PCM))
    assert read(wav(both, len(both)), tmp_path, settings) == ([], PCM + PCM)


@pytest.mark.parametrize(
    ("name", "field", "order"),
    [("apple.aiff", b"SSND", "big"), ("core.caf", b"data\0\0\0\0", "big"), ("sony.w64", b"data" + W64_REST, "little")],
)
def test_decode_of_another_header_that_states_too_little_names_the_bytes_that_were_not_read(
    make_recording: MakeRecording,
    tmp_path: Path,
    settings: Settings,
    name: str,
    field: bytes,
    order: Literal["little", "big"],
) -> None:
    arguments = ("-c:a", "pcm_s16le") if name.endswith("caf") else ()
    whole = bytearray(make_recording(name, *arguments).read_bytes())
    assert read(bytes(whole), tmp_path, settings)[0] == []
    at = whole.index(field) + len(field)
    whole[at : at + 4] = (200_008).to_bytes(4, order)
    path = tmp_path / name
    path.write_bytes(whole)
    stream, pcm = decode(path, settings)
    [warning] = stream.info.warnings
    assert warning.name == WarningName.UNREAD
    unread, begin = (int(word) for word in warning.message.split() if word.isdigit())
    assert unread + begin == len(whole)
    assert unread > 500_000
    assert stream.info.duration_seconds == pytest.approx(200_000 / 96_000, abs=0.1)
    assert pcm


def test_decode_of_hostile_chunks_ends(tmp_path: Path, settings: Settings) -> None:
    many = b"JUNK\0\0\0\0" * 100_000
    huge = b"JUNK\xff\xff\xff\x7f"
    for before in (many, huge):
        with pytest.raises(Exception, match=r"header and no samples|damaged beyond decoding"):
            read(wav(b"", 0, before=before), tmp_path, settings)
