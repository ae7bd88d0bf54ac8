"""Which format a recording has, decided by its first bytes and never by its name.

The answer also names the one ffmpeg demuxer that may read the file. ffmpeg is never left to probe, so its playlist and
script demuxers (HLS, concat, …), which open further files and addresses (CVE-2016-1897, CVE-2017-9993), are out of
reach whatever the bytes say. A file that satisfies two formats at once is simply read as the one named here.

Magic numbers: the formats' own specifications; frame sizes of MPEG audio: ISO 11172-3 and 13818-3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from stt_core.errors import EmptyFileError, UnsupportedFormatError
from stt_core.logs import logged

#: How many bytes of a file `detect_format` looks at.
HEAD_BYTES = 64 * 1024
#: Recordings cut from a stream begin inside a frame: frames are searched in this many bytes.
_FRAME_SEARCH_BYTES = 4096


@dataclass(frozen=True)
class AudioFormat:
    """A format we decode.

    `extension` and `content_type` name the stored object; `demuxer` is what ffmpeg is told with `-f`. `compressed` is
    False where the samples lie in the file as they are, so that its size bounds its length.
    """

    name: str
    extension: str
    content_type: str
    demuxer: str
    compressed: bool = True


WAV = AudioFormat("wav", "wav", "audio/wav", "wav", compressed=False)
WAVE64 = AudioFormat("wave64", "w64", "audio/x-w64", "w64", compressed=False)
AIFF = AudioFormat("aiff", "aiff", "audio/aiff", "aiff", compressed=False)
AU = AudioFormat("au", "au", "audio/basic", "au", compressed=False)
CAF = AudioFormat("caf", "caf", "audio/x-caf", "caf")
MP3 = AudioFormat("mp3", "mp3", "audio/mpeg", "mp3")
AAC = AudioFormat("aac", "aac", "audio/aac", "aac")
FLAC = AudioFormat("flac", "flac", "audio/flac", "flac")
OGG = AudioFormat("ogg", "ogg", "audio/ogg", "ogg")
OPUS = AudioFormat("opus", "opus", "audio/ogg", "ogg")
AMR = AudioFormat("amr", "amr", "audio/amr", "amr")
WMA = AudioFormat("asf", "wma", "audio/x-ms-wma", "asf")
WEBM = AudioFormat("webm", "webm", "video/webm", "matroska")
MATROSKA = AudioFormat("matroska", "mkv", "video/x-matroska", "matroska")
M4A = AudioFormat("m4a", "m4a", "audio/mp4", "mov")
MP4 = AudioFormat("mp4", "mp4", "video/mp4", "mov")
MOV = AudioFormat("mov", "mov", "video/quicktime", "mov")

#: What names of such recordings end with: the extensions that we give, and others in use for the same formats.
_BY_EXTENSION: dict[str, AudioFormat] = {
    **dict.fromkeys(("wav", "wave"), WAV),
    "w64": WAVE64,
    **dict.fromkeys(("aif", "aiff", "aifc"), AIFF),
    **dict.fromkeys(("au", "snd"), AU),
    "caf": CAF,
    **dict.fromkeys(("mp2", "mp3", "mpga"), MP3),
    **dict.fromkeys(("aac", "adts"), AAC),
    "flac": FLAC,
    **dict.fromkeys(("ogg", "oga"), OGG),
    "opus": OPUS,
    "amr": AMR,
    **dict.fromkeys(("wma", "asf"), WMA),
    "webm": WEBM,
    **dict.fromkeys(("mkv", "mka"), MATROSKA),
    **dict.fromkeys(("m4a", "m4b"), M4A),
    **dict.fromkeys(("mp4", "m4v", "3gp"), MP4),
    **dict.fromkeys(("mov", "qt"), MOV),
}
_SUPPORTED = "wav, mp3, flac, ogg, opus, m4a, aac, mp4, mov, webm, mkv, amr, aiff, au, caf or wma"
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_W64_HEADER = bytes.fromhex("726966662e91cf11a5d628db04c10000")
#: First atoms of QuickTime files from before `ftyp` existed.
_QUICKTIME_ATOMS = (b"moov", b"mdat", b"wide", b"pnot")


@logged
def guess_format(name: str) -> AudioFormat | None:
    """Return the format that a file's name promises, where there are too many to look at the bytes of each."""
    return _BY_EXTENSION.get(PurePosixPath(name).suffix.lower().removeprefix("."))


@logged
def is_named_like_a_recording(name: str) -> bool:
    """Tell whether a file is worth a look at its bytes, as its name goes."""
    return guess_format(name) is not None


@logged
def detect_format(head: bytes) -> AudioFormat:
    """Return the format of a file from its first bytes.

    Args:
        head: The beginning of the file; at most the first `HEAD_BYTES` are looked at. A shorter `head` is taken for
            the whole file.

    Raises:
        EmptyFileError: There are no bytes.
        UnsupportedFormatError: The bytes are of none of the formats we decode.
    """
    if not head:
        raise EmptyFileError("The file is empty.", mend="Send the recording itself; it has 0 bytes here.")
    found = _detect(memoryview(head)[:HEAD_BYTES].tobytes())
    if found is None:
        raise UnsupportedFormatError(
            "The file is not a recording in a format we decode, whatever its name says.",
            mend=f"Send {_SUPPORTED}.",
        )
    return found


def _detect(head: bytes) -> AudioFormat | None:
    if head[:3] == b"ID3" and (tag_end := _id3_end(head)) is not None:
        # ID3 also stands before AAC and FLAC; a tag longer than what we see (cover art) is an MP3's in practice.
        return MP3 if tag_end >= len(head) > 10 else _detect(head[tag_end:].lstrip(b"\0"))
    for matches, found in _TABLE:
        if matches(head):
            return found
    return _detect_iso(head) or _detect_frames(head)


def _id3_end(head: bytes) -> int | None:
    """Return where an ID3v2 tag ends, or None where its header is not one."""
    if len(head) < 10 or head[3] not in (2, 3, 4) or any(byte & 0x80 for byte in head[6:10]):
        return None
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _starts(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _chunked(containers: tuple[bytes, ...], kinds: tuple[bytes, ...]) -> Callable[[bytes], bool]:
    return lambda head: head[:4] in containers and head[8:12] in kinds


def _ebml(kind: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"\x1a\x45\xdf\xa3") and kind in head[:128]


_TABLE: tuple[tuple[Callable[[bytes], bool], AudioFormat], ...] = (
    (_chunked((b"RIFF", b"RF64", b"BW64"), (b"WAVE",)), WAV),
    (_starts(_W64_HEADER), WAVE64),
    (_chunked((b"FORM",), (b"AIFF", b"AIFC")), AIFF),
    (_starts(b".snd\0"), AU),
    (_starts(b"caff\0\x01"), CAF),
    (_starts(b"fLaC"), FLAC),
    (lambda head: head.startswith(b"OggS\0") and b"OpusHead" in head[:128], OPUS),
    (_starts(b"OggS\0"), OGG),
    (_starts(b"#!AMR\n", b"#!AMR-WB\n"), AMR),
    (_starts(_ASF_HEADER), WMA),
    (_ebml(b"webm"), WEBM),
    (_ebml(b"matroska"), MATROSKA),
)


def _detect_iso(head: bytes) -> AudioFormat | None:
    if head[4:8] == b"ftyp" and len(head) >= 12:
        brand = head[8:12]
        if brand in (b"M4A ", b"M4B ", b"M4P "):
            return M4A
        return MOV if brand == b"qt  " else MP4
    return MOV if head[4:8] in _QUICKTIME_ATOMS and len(head) >= 16 else None


def _detect_frames(head: bytes) -> AudioFormat | None:
    """Find MPEG audio by its frames: one header alone is 11 bits that any text may hold, a chain of them is not."""
    for measure, found in ((_mpeg_frame_bytes, MP3), (_adts_frame_bytes, AAC)):
        start = len(head) - len(head.lstrip(b"\0"))
        if _is_frame_chain(head, start, measure, frames=2):
            return found
        for position in range(start + 1, min(start + _FRAME_SEARCH_BYTES, len(head))):
            if head[position] == 0xFF and _is_frame_chain(head, position, measure, frames=4):
                return found
    return None


def _is_frame_chain(head: bytes, position: int, measure: Callable[[bytes], int | None], *, frames: int) -> bool:
    """Say whether `frames` frames follow each other, or a single whole one is all there is of the file."""
    first = position
    for _ in range(frames):
        size = measure(head[position : position + 7])
        if size is None:
            return False
        position += size
        if position == len(head) and first == 0:
            return True
    return position <= len(head)


# kbit/s by (MPEG 1, layer III), (MPEG 1, layer II), (MPEG 2 and 2.5, layers II and III)
_BITRATES = {
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _mpeg_frame_bytes(header: bytes) -> int | None:
    """Return the size of the MPEG audio frame (layer II or III) with this header, or None where it is not one."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate_index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer not in (2, 3) or bitrate_index in (0, 15) or rate_index == 3:
        return None
    is_mpeg1 = version == 3
    bits = _BITRATES[is_mpeg1, layer][bitrate_index - 1] * 1000
    slots = 72 if layer == 3 and not is_mpeg1 else 144
    return slots * bits // _SAMPLE_RATES[version][rate_index] + padding


def _adts_frame_bytes(header: bytes) -> int | None:
    """Return the size of the ADTS (AAC) frame with this header, or None where it is not one."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return None
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if size > 7 else None
