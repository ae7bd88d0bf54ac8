"""The stretches of a file that are recordings by themselves: several that were joined, without the tags around them.

ffmpeg reads the first recording of most formats and drops the rest without a word (MP4, WebM, FLAC of another kind,
WAV, FLV, …), or reads the tags in between as sound. Each part is decoded by itself, so what was joined is read whole,
whatever its parts have in common. A new part begins where the magic of the format stands again; chunks are walked
where a format has them (`chunks`), so that a WAV header which states too little is found out.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from stt_core.audio.containers import inspect_samples
from stt_core.audio.detection import find_start
from stt_core.audio.formats import AudioFormat
from stt_core.audio.frames import find_frames
from stt_core.audio.tags import TAG_HEADER_BYTES, TRAILING_TAG_BYTES, measure_tag, measure_trailing_tag
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: Parts decoded of one file, each in a process of its own; what lies behind them is named as unread.
PARTS_AT_MOST = 256
_HEAD_BYTES = 64 * 1024
#: Bounds for files that were made to keep us busy: atoms, places of a magic, tags looked behind, tags at an end.
_ATOMS_AT_MOST = 1_000_000
_MAGICS_AT_MOST = 10_000
_TAGS_AT_MOST = 1_000
_TRAILING_TAGS_AT_MOST = 8
_JUNK_BEHIND_TAGS = 4096
_WAVPACK_INITIAL = 1 << 3

#: How a recording begins inside a file, by demuxer: enough fixed bytes that chance does not make them.
_MAGICS: dict[str, tuple[bytes, ...]] = {
    "wav": (rb"RIFF....WAVE[ -~]{4}", rb"RF64....WAVE[ -~]{4}", rb"BW64....WAVE[ -~]{4}"),
    "w64": (re.escape(bytes.fromhex("726966662e91cf11a5d628db04c10000")),),
    "aiff": (rb"FORM....AIF[FC][ -~]{4}",),
    "au": (rb"\.snd\0\0\0.....\0\0\0[\x01-\x1b]\0",),
    "caf": (rb"caff\0\x01\0\0desc",),
    "flac": (rb"fLaC[\0\x80]\0\0\x22",),
    "ogg": (rb"OggS\0\x02.{12}\0{4}",),
    "amr": (rb"#!AMR(?:-WB)?\n",),
    "asf": (re.escape(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")),),
    "matroska": (rb"\x1a\x45\xdf\xa3.{1,60}?(?:webm|matroska)",),
    "avi": (rb"RIFF....AVI LIST",),
    "flv": (rb"FLV\x01[\x01\x04\x05]\0\0\0\x09\0{4}",),
    "wv": (rb"wvpk....[\x02-\x10]\x04.{6}\0{4}",),
    "tta": (rb"TTA1[\x01-\x03]\0[\x01-\x08]\0[\x01-\x20]\0",),
    "voc": (rb"Creative Voice File\x1a",),
    "nistsphere": (rb"NIST_1A\n   1024\n",),
    "sox": (rb"\.SoX.\0\0\0",),
    "rm": (rb"\.RMF\0\0\0.\0[\0\x01]",),
    "mxf": (re.escape(bytes.fromhex("060e2b34020501010d0102010102")),),
    "ape": (rb"MAC [\x8c-\x96]\x0f\0\0\x34\0{3}",),
    "dsf": (rb"DSD \x1c\0{7}",),
}
#: Formats whose frames follow each other with tags in between.
_TAGGED_FRAMES = ("mp3", "aac", "ac3", "eac3")


@dataclass(frozen=True)
class Part:
    """A recording in a file, from byte `start` to byte `end` (None: to the end of the file)."""

    start: int = 0
    end: int | None = None
    #: The samples go on to the end of the part, whatever its header states.
    ignore_length: bool = False
    #: Bytes at its end that ffmpeg does not read, and which look like sound.
    unread_bytes: int = 0
    #: Bytes that its header states and that are not there.
    missing_bytes: int = 0

    def input_arguments(self, path: Path) -> list[str]:
        """Return ffmpeg's arguments that open this part of `path`, and nothing else: all but the demuxer."""
        ignore = ["-ignore_length", "1"] if self.ignore_length else []
        if self.end is None:
            return ["-protocol_whitelist", "file,pipe", *ignore, "-i", f"file:{path}"]
        url = f"subfile,,start,{self.start},end,{self.end},,:file:{path}"
        return ["-protocol_whitelist", "subfile,file,pipe", *ignore, "-i", url]


def find_parts(path: Path, audio_format: AudioFormat) -> list[Part]:
    """Return the recordings in a file in their order, at least one; one more than `PARTS_AT_MOST` is all the rest.

    The file is searched once from its beginning to its end: 2 GB of it a second, where it is in memory.
    """
    if not path.is_file() or not path.stat().st_size:
        return [Part()]  # ffmpeg says what is wrong with it
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = find_start(data[:_HEAD_BYTES], lambda offset, size: data[offset : offset + size])
        start = found[1] if found and found[0].demuxer == audio_format.demuxer else 0
        parts = []
        borders = islice(_borders(data, audio_format.demuxer, start), PARTS_AT_MOST)
        for border, following in (*borders, (len(data), len(data))):
            if start < border:
                parts.append(_make_part(data, audio_format.demuxer, start, border))
            start = following
        if parts == [Part(0, len(data))]:
            return [Part()]
    logger.info("{} part(s) in the file, the first from byte {}", len(parts), parts[0].start)
    return parts


def _make_part(data: mmap.mmap, demuxer: str, start: int, end: int) -> Part:
    """Return the part between two borders, without the tags at its end."""
    for _ in range(_TRAILING_TAGS_AT_MOST):
        length = measure_trailing_tag(data[max(start, end - TRAILING_TAG_BYTES) : end])
        if length is None or end - length <= start:
            break
        end -= length
    samples = inspect_samples(data, demuxer, start, end)
    if samples.end is not None:
        return Part(start, samples.end, ignore_length=True)
    return Part(start, end, unread_bytes=samples.unread_bytes, missing_bytes=samples.missing_bytes)


def _borders(data: mmap.mmap, demuxer: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield where a part ends and where the next one begins, tags between them left out, in order."""
    if demuxer == "mov":
        yield from _movie_borders(data, start)
        return
    begins = set(_find_magics(data, demuxer, start))
    borders = dict.fromkeys(begins, 0) | dict(_find_tags(data, demuxer, start, begins))
    previous = start
    for begin in sorted(borders):
        end = borders[begin] or begin
        if end > previous:  # otherwise it lies in the tag before
            yield end, begin
            previous = begin


def _find_magics(data: mmap.mmap, demuxer: str, start: int) -> Iterator[int]:
    """Yield where the magic of the format stands again."""
    matches = (re.finditer(magic, data, re.DOTALL) for magic in _MAGICS.get(demuxer, ()))
    found = (match.start() for one in matches for match in islice(one, _MAGICS_AT_MOST))
    beside = start  # where the next stream of the same Ogg file begins
    for position in sorted(found):
        if demuxer == "ogg":
            segments = data[position + 27 : position + 27 + data[position + 26]]
            is_companion, beside = position == beside, position + 27 + len(segments) + sum(segments)
            if is_companion:
                continue
        elif demuxer == "wv" and not data[position + 25] & _WAVPACK_INITIAL:
            continue
        if position > start:
            yield position


def _find_tags(data: mmap.mmap, demuxer: str, start: int, begins: set[int]) -> Iterator[tuple[int, int]]:
    """Yield where the sound goes on behind a tag, or the file ends, and where that tag begins."""
    if not begins and demuxer not in _TAGGED_FRAMES:
        return
    tags = 0
    for magic in (b"ID3[\x02-\x04]", b"APETAGEX"):
        looked_behind = 0
        for match in islice(re.finditer(magic, data), _MAGICS_AT_MOST):
            if match.start() < looked_behind or tags == _TAGS_AT_MOST:
                continue
            begin = end = match.start()
            for _ in range(_TAGS_AT_MOST):
                length = measure_tag(data[end : end + TAG_HEADER_BYTES])
                if length is None:
                    break
                end += length
            looked_behind = end
            if begin <= start or begin == end:
                continue
            tags += 1
            if end == begin + TAG_HEADER_BYTES:  # a footer: the tag is in front of it
                begin = end
            if end in begins or end == len(data):
                yield end, begin
            elif demuxer in _TAGGED_FRAMES:
                frames = find_frames(data[end : end + _HEAD_BYTES])
                if frames and frames[0] == demuxer and frames[1] <= _JUNK_BEHIND_TAGS:
                    yield end + frames[1], begin


def _movie_borders(data: mmap.mmap, start: int) -> Iterator[tuple[int, int]]:
    """Yield where an MP4 or QuickTime file has another one behind it: its atoms are walked."""
    position, has_index = start, False
    for _ in range(_ATOMS_AT_MOST):
        size, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size < 8:
            return
        if kind == b"ftyp" and has_index:
            yield position, position
            has_index = False
        has_index = has_index or kind == b"moov"
        position += size
