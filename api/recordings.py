"""Recordings as answers: block by block, so that whoever plays one slowly, or pauses, holds nothing of the store."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from starlette.types import Send

from api.capacity import Places
from stt_core.errors import RangeNotSatisfiableError, SttError
from stt_core.jobs.job import Source
from stt_core.logs import get_logger, log_exception
from stt_core.services import Services
from stt_core.stores.object_store import BLOCK_SIZE, ObjectStore

logger = get_logger(__name__)

_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII)


class _Recording(StreamingResponse):
    """An answer that breaks off where the recording cannot be read on: it is too late to say why."""

    async def stream_response(self, send: Send) -> None:
        """Send what can be sent; the server closes the connection of an answer that was not completed."""
        try:
            await super().stream_response(send)
        except SttError as error:
            log_exception(logger, "a recording breaks off", error)


async def recording_response(
    request: Request, job_id: str, owner: str | None, *, wanted: str, if_range: str
) -> Response:
    """Return the answer with a job's recording.

    Args:
        request: What it answers.
        job_id: The job.
        owner: Whose it must be.
        wanted: The `Range` header.
        if_range: The `If-Range` header: the range is meant of that version only.

    Raises:
        JobNotFoundError, RecordingGoneError, RangeNotSatisfiableError: There are no such bytes.
        ObjectNotFoundError, ObjectChangedError: The recording is not where MongoDB says, or another.
        TransientError: A server is away, or busy; later, the connection breaks.
    """
    services: Services = request.app.state.services
    source = await run_in_threadpool(services.tasks.get_task_source, job_id, owner=owner)
    version = f'"{source.sha256 or source.etag}"'
    part = parse_range(wanted if if_range in ("", version) else "", source.size_bytes)
    span = part or range(source.size_bytes)
    blocks = _blocks(services.store.in_bucket(source.bucket), source, span, request.app.state.capacity.store)
    first = await anext(blocks)  # so that what is wrong is told in the answer's status

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for block in blocks:
            yield block

    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(len(span)),
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(source.filename, safe='')}",
        "ETag": version,
    }
    if part:
        headers["Content-Range"] = f"bytes {part.start}-{part[-1]}/{source.size_bytes}"
    return _Recording(body(), status_code=206 if part else 200, media_type=source.content_type, headers=headers)


async def _blocks(store: ObjectStore, source: Source, span: range, places: Places) -> AsyncIterator[bytes]:
    position = span.start
    while position < span.stop:
        async with places.taken():
            block = await run_in_threadpool(
                store.get_range, source.key, position, min(BLOCK_SIZE, span.stop - position), etag=source.etag
            )
        position += len(block)
        yield block


def parse_range(header: str, size: int) -> range | None:
    """Return the one range that a `Range` header (RFC 9110, 14) asks for; None asks for the whole.

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
    return range(start, end)
