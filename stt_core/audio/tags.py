"""Tags around a recording (ID3, APE), which are none of its sound: how long they are, by their own headers.

ID3v2 by id3.org's specification of 2.4.0, APEv2 by its own. A tag may be megabytes long: covers are kept in it.
"""

from __future__ import annotations

#: Bytes of a tag's header, of either kind: enough to measure it.
TAG_HEADER_BYTES = 32
#: Bytes at the end of a file that tell of a tag there: an ID3v1 tag, or the footer of another.
TRAILING_TAG_BYTES = 128
_APE_IS_HEADER, _APE_HAS_HEADER = 1 << 29, 1 << 31


def measure_tag(head: bytes) -> int | None:
    """Return the length of the ID3v2 or APEv2 tag that begins here, in bytes, or None where none does."""
    if head[:8] == b"APETAGEX" and len(head) >= TAG_HEADER_BYTES:
        size, flags = int.from_bytes(head[12:16], "little"), int.from_bytes(head[20:24], "little")
        return TAG_HEADER_BYTES + size if flags & _APE_IS_HEADER else TAG_HEADER_BYTES
    if len(head) < 10 or head[:3] != b"ID3" or head[3] not in (2, 3, 4) or any(byte & 0x80 for byte in head[6:10]):
        return None
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def measure_trailing_tag(tail: bytes) -> int | None:
    """Return the length of the ID3v1 or APEv2 tag that ends with `tail`, in bytes, or None where none does."""
    if tail[-TRAILING_TAG_BYTES:][:3] == b"TAG" and len(tail) >= TRAILING_TAG_BYTES:
        return TRAILING_TAG_BYTES
    footer = tail[-TAG_HEADER_BYTES:]
    if footer[:8] == b"APETAGEX" and len(footer) == TAG_HEADER_BYTES:
        size, flags = int.from_bytes(footer[12:16], "little"), int.from_bytes(footer[20:24], "little")
        return size + (TAG_HEADER_BYTES if flags & _APE_HAS_HEADER else 0)
    return None
