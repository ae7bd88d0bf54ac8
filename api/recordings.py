"""Recordings as answers: block by block, so that whoever plays one slowly, or pauses, holds nothing of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from starlette.types import Send

from api.capacity import Capacity
from api.ranges import ByteRange, parse_range
from stt_core.errors import SttError
from stt_core.jobs.job import Source
from stt_core.logs import get_logger, log_exception, logged
from stt_core.services import Services
from stt_core.stores.object_store import BLOCK_SIZE

logger = get_logger(__name__)


class _Recording(StreamingResponse):
    """An answer that breaks off where the recording cannot be read on: it is too late to say why."""

    async def stream_response(self, send: Send) -> None:
        """Send what can be sent; the server closes the connection of an answer that was not completed."""
        try:
            await super().stream_response(send)
        except SttError as error:
            log_exception(logger, "a recording breaks off", error)


class Recordings:
    """The recordings of jobs, for one request."""

    def __init__(self, request: Request) -> None:
        self._services: Services = request.app.state.services
        self._capacity: Capacity = request.app.state.capacity

    @logged
    async def response(self, job_id: str, owner: str | None, *, wanted: str = "", if_range: str = "") -> Response:
        """Return the answer with a job's recording.

        Args:
            job_id: The job.
            owner: Whose it must be.
            wanted: The `Range` header.
            if_range: The `If-Range` header: the range is meant of that version only.

        Raises:
            JobNotFoundError, RecordingGoneError, RangeNotSatisfiableError: There are no such bytes.
            ObjectNotFoundError, ObjectChangedError: The recording is not where MongoDB says, or another.
            TransientError: A server is away, or busy; later, the connection breaks.
        """
        source = await run_in_threadpool(self._services.tasks.get_task_source, job_id, owner=owner)
        version = f'"{source.sha256 or source.etag}"'
        part = parse_range(wanted if if_range in ("", version) else "", source.size_bytes)
        span = part or ByteRange(0, source.size_bytes)
        blocks = self._blocks(source, span)
        first = await anext(blocks)  # so that what is wrong is told in the answer's status

        async def body() -> AsyncIterator[bytes]:
            yield first
            async for block in blocks:
                yield block

        headers = {
            "Accept-Ranges": "bytes",
            "Content-Length": str(span.end - span.start),
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(source.filename, safe='')}",
            "ETag": version,
        }
        if part:
            headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{source.size_bytes}"
        return _Recording(body(), status_code=206 if part else 200, media_type=source.content_type, headers=headers)

    async def _blocks(self, source: Source, span: ByteRange) -> AsyncIterator[bytes]:
        store = self._services.store.in_bucket(source.bucket)
        position = span.start
        while position < span.end:
            async with self._capacity.store.taken():
                block = await run_in_threadpool(
                    store.get_range, source.key, position, min(BLOCK_SIZE, span.end - position), etag=source.etag
                )
            position += len(block)
            yield block
