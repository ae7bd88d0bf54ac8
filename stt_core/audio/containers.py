"""Files made of chunks (WAV, AIFF, Wave64, CAF), walked to see whether their header leaves sound out.

Recorders that crashed, or that wrote to a pipe, leave a length of 0, of a placeholder or of the time of their last
breath. Chunks behind the samples (LIST, id3, bext, cue) are no loss: they are walked, too, and end with the file.
Layouts: IBM/Microsoft RIFF 1.0 and EBU Tech 3306 (RF64, BW64), Apple's AIFF 1.3 and CAF 1.0, Sony's Wave64.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_CHUNKS_AT_MOST = 1_000
#: Samples are looked at in blocks to see whether they are padding.
_BLOCK_BYTES = 1 << 20
#: How far before the end chunks behind the samples are looked for, where no length says where they begin.
_TAIL_BYTES = 1 << 20
#: Chunks that stand behind the samples of a WAV.
_TRAILING = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"axml", b"cue ", b"smpl", b"inst", b"_PMX", b"JUNK", b"afsp")
_UNKNOWN = 0xFFFFFFFF


@dataclass(frozen=True)
class _Layout:
    """How a format writes its chunks: what stands before the first, and how a chunk's header reads."""

    first: int
    id_bytes: int
    size_bytes: int
    order: Literal["little", "big"]
    #: Chunks begin at multiples of so many bytes.
    align: int
    samples: bytes
    #: The size includes the header.
    inclusive: bool = False

    @property
    def header_bytes(self) -> int:
        return self.id_bytes + self.size_bytes


_LAYOUTS = {
    "wav": _Layout(12, 4, 4, "little", 2, b"data"),
    "aiff": _Layout(12, 4, 4, "big", 2, b"SSND"),
    "caf": _Layout(8, 4, 8, "big", 1, b"data"),
    "w64": _Layout(40, 16, 8, "little", 8, bytes.fromhex("64617461f3acd3118cd100c04f8edb8a"), inclusive=True),
}


@dataclass(frozen=True)
class Samples:
    """What a header states of the samples, against what there is."""

    #: Where they end, if they go on behind the stated end and ffmpeg can be told to read on (WAV only).
    end: int | None = None
    #: Bytes behind the stated end that look like more of them and cannot be read.
    unread_bytes: int = 0
    #: Bytes stated that are not there.
    missing_bytes: int = 0


def inspect_samples(data: mmap.mmap, demuxer: str, start: int, end: int) -> Samples:
    """Compare the header of the recording in `data[start:end]` with its samples; formats without chunks pass."""
    layout = _LAYOUTS.get(demuxer)
    if layout is None:
        return Samples()
    long_size = None
    for kind, at, size in _walk(data, layout, start + layout.first, end):
        if kind == b"ds64":
            long_size = int.from_bytes(data[at + 8 : at + 16], "little")
        if kind != layout.samples:
            continue
        if demuxer != "wav":
            is_open = size == 0 or size >= 1 << 63  # CAF: -1, to the end of the file
            unread = 0 if is_open or not _is_sound(data, layout, at + size, end) else end - at - size
            return Samples(unread_bytes=unread, missing_bytes=0 if is_open else max(0, at + size - len(data)))
        is_placeholder = _is_placeholder(size)
        if size == _UNKNOWN and long_size is not None:
            size, is_placeholder = long_size, long_size == 0
        if is_placeholder or _is_sound(data, layout, at + size, end):
            is_whole = at >= end or _are_chunks(data, layout, at, end)
            return Samples() if is_whole else Samples(end=_find_tail(data, layout, at, end))
        return Samples(missing_bytes=max(0, at + size - len(data)))
    return Samples()


def _walk(data: mmap.mmap, layout: _Layout, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's kind, where its content begins and how long it is said to be."""
    for _ in range(_CHUNKS_AT_MOST):
        header = data[position : min(position + layout.header_bytes, end)]
        if len(header) < layout.header_bytes:
            return
        size = int.from_bytes(header[layout.id_bytes :], layout.order)
        if layout.inclusive:
            size -= layout.header_bytes
        if size < 0:
            return
        position += layout.header_bytes
        yield header[: layout.id_bytes], position, size
        position += size + -size % layout.align


def _is_sound(data: mmap.mmap, layout: _Layout, position: int, end: int) -> bool:
    """Say whether what follows the samples is neither chunks nor padding."""
    if end - position <= layout.header_bytes:
        return False
    if any(_are_chunks(data, layout, position + pad, end) for pad in {0, -position % layout.align}):
        return False
    return any(
        data[block : min(block + _BLOCK_BYTES, end)].strip(b"\0") for block in range(position, end, _BLOCK_BYTES)
    )


def _are_chunks(data: mmap.mmap, layout: _Layout, position: int, end: int) -> bool:
    """Say whether chunks go on from here to the end, give or take their padding."""
    last = None
    for kind, at, size in _walk(data, layout, position, end):
        if layout.id_bytes == 4 and not all(0x20 <= byte < 0x7F for byte in kind):
            return False
        last = at + size
    return last is not None and 0 <= end - last <= layout.align


def _find_tail(data: mmap.mmap, layout: _Layout, position: int, end: int) -> int:
    """Return where the samples end and chunks begin that go on to the end of the file."""
    first = max(position, end - _TAIL_BYTES)
    tail = data[first:end]
    found = (tail.find(kind) for kind in _TRAILING)
    begins = sorted(first + at for at in found if at >= 0)
    return next((at for at in begins if _are_chunks(data, layout, at, end)), end)


def _is_placeholder(size: int) -> bool:
    """Say whether a recorder that could not go back to its header wrote this length: 0, or the greatest possible."""
    return size == 0 or size >= 0xFFFFF000 or 0x7FFFF000 - 4096 <= size <= 0x80000000
