"""Which format a recording has, decided by its first bytes and never by its name.

The answer also names the one ffmpeg demuxer that may read the file. ffmpeg is never left to probe, so its playlist and
script demuxers (HLS, concat, …), which open further files and addresses (CVE-2016-1897, CVE-2017-9993), are out of
reach whatever the bytes say. A file that satisfies two formats at once is simply read as the one named here.

Magic numbers: the formats' own specifications.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from stt_core.audio import formats
from stt_core.audio.formats import AudioFormat
from stt_core.audio.frames import find_frames
from stt_core.audio.tags import measure_tag
from stt_core.errors import EmptyFileError, UnsupportedFormatError

#: How many bytes of a file `detect_format` looks at, behind its tags.
HEAD_BYTES = 64 * 1024
#: Tags skipped before a recording; files that were joined or tagged twice have two or three.
_TAGS_AT_MOST = 16

#: Reads so many bytes of a file from an offset; fewer where it ends.
ReadAt = Callable[[int, int], bytes]

_SUPPORTED = (
    "wav, mp3, flac, ogg, opus, m4a, aac, mp4, mov, webm, mkv, mpg, ts, avi, flv, amr, aiff, au, caf, wma, ac3, wv or "
    "another common format of audio or video"
)
_BY_FRAMES = {
    found.demuxer: found
    for found in (
        *(formats.MP3, formats.AAC, formats.LOAS, formats.AC3, formats.EAC3, formats.GSM),
        *(formats.MPEG_PS, formats.MPEG_TS),
    )
}
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_W64_HEADER = bytes.fromhex("726966662e91cf11a5d628db04c10000")
#: First atoms of QuickTime files from before `ftyp` existed.
_QUICKTIME_ATOMS = (b"moov", b"mdat", b"wide", b"pnot")
#: First atoms of files joined from the fragments of a stream, and of files whose first atom was made void.
_FRAGMENT_ATOMS = (b"styp", b"sidx", b"free", b"skip")
_DTS_SYNCS = (b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"\x1f\xff\xe8\x00\x07", b"\xff\x1f\x00\xe8")
_MXF_HEADER = bytes.fromhex("060e2b34020501010d01020101")
_DV_HEADERS = (b"\x1f\x07\x00\x3f", b"\x1f\x07\x00\xbf")
#: What begins so is no recording, though it may hold one that frames are found of.
_OTHERS = (
    b"PK\x03\x04", b"%PDF", b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"7z\xbc\xaf", b"Rar!", b"\x1f\x8b", b"BZh", b"MZ",
    b"\x7fELF", b"FWS", b"CWS", b"{\\rtf", b"<", b"\xd0\xcf\x11\xe0", b"SQLite format 3\0",
)  # fmt: skip


def detect_format(head: bytes, read_at: ReadAt | None = None) -> AudioFormat:
    """Return the format of a file from its first bytes, behind the tags that stand before it.

    Args:
        head: The beginning of the file, `HEAD_BYTES` of it are enough.
        read_at: Reads more of the file, behind a tag that is longer than `head`; without it `head` is the whole file.

    Raises:
        EmptyFileError: There are no bytes.
        UnsupportedFormatError: The bytes are of none of the formats we decode.
    """
    if not head:
        raise EmptyFileError("The file is empty.", mend="Send the recording itself; it has 0 bytes here.")
    found = find_start(head, read_at or (lambda offset, size: head[offset : offset + size]))
    if found is None:
        raise UnsupportedFormatError(
            "The file is not a recording in a format we decode, whatever its name says.",
            mend=f"Send {_SUPPORTED}.",
        )
    return found[0]


def detect_file_format(file: BinaryIO) -> AudioFormat:
    """Return the format of an open file, and leave it at its beginning; raises as `detect_format`."""

    def read_at(offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    try:
        return detect_format(read_at(0, HEAD_BYTES), read_at)
    finally:
        file.seek(0)


def find_start(head: bytes, read_at: ReadAt) -> tuple[AudioFormat, int] | None:
    """Return the format of a file and the byte at which the recording begins, behind tags and junk."""
    start, window = 0, head[:HEAD_BYTES]
    for _ in range(_TAGS_AT_MOST):
        length = measure_tag(window)
        if length is None:
            break
        start += length
        window = read_at(start, HEAD_BYTES)
    if measure_tag(window) is not None:
        return None
    if found := _detect(window):
        return found[0], start + found[1]
    # Tags that were written wrongly are longer or shorter than they say.
    return _detect_frames(head[:HEAD_BYTES]) if start else None


def _detect(head: bytes) -> tuple[AudioFormat, int] | None:
    padding = len(head) - len(head.lstrip(b"\0"))
    for start in dict.fromkeys((0, padding)):
        part = head[start:] if start else head
        for matches, found in _TABLE:
            if matches(part):
                return found, start
        if iso := _detect_iso(part):
            return iso, start
    return _detect_frames(head)


def _detect_frames(head: bytes) -> tuple[AudioFormat, int] | None:
    # Archives, pictures and documents may hold a recording, and are none.
    if head.startswith(_OTHERS) or head[257:262] == b"ustar":
        return None
    found = find_frames(head)
    return (_BY_FRAMES[found[0]], found[1]) if found else None


def _starts(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _chunked(containers: tuple[bytes, ...], kinds: tuple[bytes, ...]) -> Callable[[bytes], bool]:
    return lambda head: head[:4] in containers and head[8:12] in kinds


def _ebml(kind: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"\x1a\x45\xdf\xa3") and kind in head[:128]


_TABLE: tuple[tuple[Callable[[bytes], bool], AudioFormat], ...] = (
    (_chunked((b"RIFF", b"RF64", b"BW64"), (b"WAVE",)), formats.WAV),
    (_starts(_W64_HEADER), formats.WAVE64),
    (_chunked((b"FORM",), (b"AIFF", b"AIFC")), formats.AIFF),
    (_starts(b".snd\0"), formats.AU),
    (_starts(b"caff\0\x01"), formats.CAF),
    (_chunked((b"RIFF",), (b"AVI ",)), formats.AVI),
    (_starts(b"fLaC"), formats.FLAC),
    (lambda head: head.startswith(b"OggS\0") and b"OpusHead" in head[:128], formats.OPUS),
    (_starts(b"OggS\0"), formats.OGG),
    (_starts(b"#!AMR\n", b"#!AMR-WB\n"), formats.AMR),
    (_starts(_ASF_HEADER), formats.WMA),
    (_starts(b"wvpk"), formats.WAVPACK),
    (lambda head: head.startswith(b"MAC ") and head[5:6] in (b"\x0e", b"\x0f"), formats.APE),  # versions 3.80 to 3.99
    (_starts(b"TTA1"), formats.TTA),
    (_starts(b"tBaK"), formats.TAK),
    (_starts(b"MP+\x07", b"MP+\x17"), formats.MUSEPACK),
    (_starts(b"MPCK"), formats.MUSEPACK8),
    (_starts(b"DSD \x1c\0\0\0"), formats.DSF),
    (_starts(b"Creative Voice File\x1a"), formats.VOC),
    (_starts(b"NIST_1A\n"), formats.SPHERE),
    (_starts(b".SoX", b"XoS."), formats.SOX),
    (_starts(*_DTS_SYNCS), formats.DTS),
    (lambda head: head.startswith(b"\0\0\x01\xba") and head[4:5] != b"\0", formats.MPEG_PS),
    (_starts(b"FLV\x01"), formats.FLV),
    (_starts(b".RMF\0\0\0", b".ra\xfd"), formats.REALMEDIA),
    (_starts(_MXF_HEADER), formats.MXF),
    (_starts(*_DV_HEADERS), formats.DV),
    (_ebml(b"webm"), formats.WEBM),
    (_ebml(b"matroska"), formats.MATROSKA),
)


def _detect_iso(head: bytes) -> AudioFormat | None:
    if head[4:8] == b"ftyp" and len(head) >= 12:
        brand = head[8:12]
        if brand in (b"M4A ", b"M4B ", b"M4P "):
            return formats.M4A
        return formats.MOV if brand == b"qt  " else formats.MP4
    if len(head) < 16:
        return None
    if head[4:8] in _FRAGMENT_ATOMS and head[0] == 0:
        return formats.MP4
    return formats.MOV if head[4:8] in _QUICKTIME_ATOMS else None
