"""Formats without a header, found by their frames: each tells its own length, so the next one must follow it.

One header alone is a dozen bits that any file may hold; several that follow each other, of the same kind, are not
chance: three of MPEG audio have 47 fixed bits. Frame sizes: MPEG audio by ISO 11172-3 and 13818-3, ADTS and LOAS by
ISO 14496-3, (E-)AC-3 by ETSI TS 102 366, GSM 06.10 as RFC 3551 packs it, transport stream packets by ISO 13818-1.
"""

from __future__ import annotations

import re
from collections.abc import Callable

#: What a frame's header says of it: its size in bytes, and what all frames of one recording share.
Frame = tuple[int, object]
Measure = Callable[[bytes], Frame | None]

#: Longest header read, bytes.
_HEADER_BYTES = 8
#: Frames that must follow each other behind junk, and where the file, or its padding of zeros, ends.
_FRAMES_BEHIND_JUNK, _FRAMES_AT_START = 4, 2
_PACKETS, _PACKETS_AT_LEAST = 8, 5
_GSM_FRAME_BYTES, _GSM_FRAMES = 33, 16


def find_frames(head: bytes) -> tuple[str, int] | None:
    """Return the demuxer for the frames in the beginning of a file and where the first one begins, if there are any.

    Recordings cut from a stream begin inside a frame, others behind junk: all of `head` is searched.
    """
    start = len(head) - len(head.lstrip(b"\0"))
    for demuxer, measure in _MEASURES:
        if _is_chain(head, start, measure, _FRAMES_AT_START):
            return demuxer, start
    if (packets := _find_packets(head)) is not None:
        return "mpegts", packets
    if (packs := _find_packs(head)) is not None:
        return "mpeg", packs
    if _is_gsm(head):
        return "gsm", 0
    for demuxer, measure in _MEASURES:
        for match in re.compile(_SYNC_BYTES[demuxer]).finditer(head, start):
            if _is_chain(head, match.start(), measure, _FRAMES_BEHIND_JUNK):
                return demuxer, match.start()
    return None


def _is_chain(head: bytes, position: int, measure: Measure, frames: int) -> bool:
    """Say whether so many frames of one kind follow each other, or a single whole one is all there is of the file."""
    first, kind = position, None
    for number in range(frames):
        frame = measure(head[position : position + _HEADER_BYTES])
        if frame is None or (number and frame[1] != kind):
            return False
        size, kind = frame
        position += size
        if position == len(head) and first == 0:
            return True
    return position <= len(head)


def _find_packets(head: bytes) -> int | None:
    """Return where the packets of an MPEG transport stream begin: plain, with a time code (M2TS), or error correction.

    Of each the sync byte, the error bit and the field that may not be 0 are looked at.
    """
    for size in (188, 192, 204):
        for start in range(min(size, len(head))):
            starts = range(start, len(head) - 3, size)[:_PACKETS]
            if len(starts) < _PACKETS_AT_LEAST:
                break
            if all(head[at] == 0x47 and not head[at + 1] & 0x80 and head[at + 3] & 0x30 for at in starts):
                return max(0, start - 4) if size == 192 else start
    return None


def _find_packs(head: bytes) -> int | None:
    """Return where the first of two packs of an MPEG program stream begins, in one that was cut or wrapped."""
    found = [match.start() for match in re.finditer(rb"\0\0\x01\xba", head) if _is_pack(head[match.end() :][:1])]
    return found[0] if len(found) > 1 else None


def _is_pack(first: bytes) -> bool:
    return bool(first) and (first[0] & 0xC4 == 0x44 or first[0] & 0xF1 == 0x21)


def _is_gsm(head: bytes) -> bool:
    """Say whether all of it is GSM frames, of which only four bits are fixed."""
    starts = head[::_GSM_FRAME_BYTES]
    return len(starts) > _GSM_FRAMES and all(first >> 4 == 0xD for first in starts) and len(set(head)) > 1


# kbit/s by (MPEG 1, layer III), (MPEG 1, layer II), (MPEG 2 and 2.5, layers II and III)
_BITRATES = {
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _measure_mpeg(header: bytes) -> Frame | None:
    """Measure a frame of MPEG audio, layer II or III."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate_index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer not in (2, 3) or bitrate_index in (0, 15) or rate_index == 3:
        return None
    is_mpeg1 = version == 3
    bits = _BITRATES[is_mpeg1, layer][bitrate_index - 1] * 1000
    slots = 72 if layer == 3 and not is_mpeg1 else 144
    return slots * bits // _SAMPLE_RATES[version][rate_index] + padding, (version, layer, rate_index)


def _measure_adts(header: bytes) -> Frame | None:
    """Measure a frame of AAC in ADTS."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return None
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return (size, (header[1], header[2] & 0xFC)) if size > 7 else None


def _measure_loas(header: bytes) -> Frame | None:
    """Measure a frame of AAC in LOAS."""
    if len(header) < 3 or header[0] != 0x56 or header[1] & 0xE0 != 0xE0:
        return None
    size = (header[1] & 0x1F) << 8 | header[2]
    return (3 + size, None) if size > 7 else None


# kbit/s of AC-3 by half its frame size code
_AC3_BITRATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AC3_RATES = (48_000, 44_100, 32_000)


def _measure_ac3(header: bytes) -> Frame | None:
    """Measure a frame of AC-3."""
    if len(header) < 6 or header[:2] != b"\x0b\x77" or header[5] >> 3 > 10:
        return None
    rate_index, size_code = header[4] >> 6, header[4] & 0x3F
    if rate_index == 3 or size_code >= 2 * len(_AC3_BITRATES):
        return None
    words = _AC3_BITRATES[size_code >> 1] * 96_000 // _AC3_RATES[rate_index]
    return 2 * (words + (size_code & 1 if rate_index == 1 else 0)), (rate_index, header[5] >> 3)


def _measure_eac3(header: bytes) -> Frame | None:
    """Measure a frame of Enhanced AC-3."""
    if len(header) < 6 or header[:2] != b"\x0b\x77" or not 10 < header[5] >> 3 <= 16:
        return None
    return 2 * (((header[2] & 7) << 8 | header[3]) + 1), header[5] >> 3


_MEASURES: tuple[tuple[str, Measure], ...] = (
    ("mp3", _measure_mpeg),
    ("aac", _measure_adts),
    ("ac3", _measure_ac3),
    ("eac3", _measure_eac3),
    ("loas", _measure_loas),
)
_SYNC_BYTES = {"mp3": b"\xff", "aac": b"\xff", "ac3": b"\x0b\x77", "eac3": b"\x0b\x77", "loas": b"\x56"}
