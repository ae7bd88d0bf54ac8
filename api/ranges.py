"""Parts of a file over HTTP (RFC 9110, 14): what a player asks for to jump to a place."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stt_core.errors import RangeNotSatisfiableError
from stt_core.logs import logged

_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII)


@dataclass(frozen=True)
class ByteRange:
    """The bytes from `start` up to `end`, which is not among them."""

    start: int
    end: int


@logged
def parse_range(header: str, size: int) -> ByteRange | None:
    """Return the one range that a `Range` header asks for; None asks for the whole.

    A header that is not understood is to be ignored, and several ranges at once may be: no player needs them.

    Args:
        header: Its value; empty where there is none.
        size: Length of the file, bytes.

    Raises:
        RangeNotSatisfiableError: The file has no such bytes.
    """
    match = _ONE_RANGE.fullmatch(header)
    if match is None or not any(match.groups()):
        return None
    first, last = (int(digits) if digits else None for digits in match.groups())
    if first is None:
        start, end = max(size - (last or 0), 0), size
    else:
        if last is not None and last < first:
            return None
        start, end = first, min((last if last is not None else size) + 1, size)
    if start >= size:
        raise RangeNotSatisfiableError(f"The file has {size} bytes.", mend="Ask for some of them.", size_bytes=size)
    return ByteRange(start, end)
