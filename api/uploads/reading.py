"""The way in for a recording: refused before its body is read where it can be, and while it is read where it must.

FastAPI reads a form before it runs any dependency. `UploadRoute` comes before that: it checks the kind of body, the
announced size and the room in the queue, and counts the bytes of a body that announced nothing. The form's file is
spooled to an unnamed temporary file (over 1 MiB, in `TMPDIR`), which the operating system removes however this ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.types import Message

from api.capacity import Capacity
from api.readiness import Readiness
from api.uploads.bodies import read_json, read_recording, spooling
from api.uploads.places import upload_place
from api.uploads.schemas import UploadForm
from stt_core.errors import InvalidInputError, UnsupportedFormatError
from stt_core.logs import logged
from stt_core.services import Services

#: What a form may weigh beside its file, bytes: boundaries, part headers (python-multipart takes 4 KiB each), fields.
FORM_BYTES = 64 * 1024
#: The longest text field, bytes. None of ours comes near; a file sent without a filename would be read as one.
_FIELD_BYTES = 16 * 1024
#: What of a body is read before it is written to the disk, bytes.
_BLOCK_BYTES = 1024**2
_FORM = "multipart/form-data"


Reader = Callable[[Request], Coroutine[Any, Any, FormData]]


class UploadRoute(APIRoute):
    """A route whose body is an upload form."""

    @logged
    def reader(self, request: Request) -> Reader:
        """Return what reads the body of a request.

        Raises:
            UnsupportedFormatError: It is none that is taken.
        """
        media_type = _media_type(request)
        if media_type != _FORM:
            raise UnsupportedFormatError(
                f"The body is {media_type[:100] or 'of no type'!r}; an upload is {_FORM}.",
                mend="Send the recording as the form field `file`: curl -F file=@recording.mp3 ….",
            )
        return _read_form

    @logged
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind our checks."""
        handle = super().get_route_handler()

        async def handle_upload(request: Request) -> Response:
            read = self.reader(request)
            services: Services = request.app.state.services
            capacity: Capacity = request.app.state.capacity
            async with capacity.store.taken():
                await run_in_threadpool(_ensure_open, services, request.app.state.readiness, _announced_bytes(request))
            async with upload_place(request):
                counted = _CountedRequest(request, services)
                form = await counted.read(read)
                try:
                    async with capacity.uploads.taken():
                        return await handle(counted)  # which finds the form read
                finally:
                    await form.close()

        return handle_upload


class RecordingRoute(UploadRoute):
    """A route whose body is an upload form, the recording itself, or JSON with a `source_url` (`api.uploads.bodies`).

    Fields may stand in the query, too; those of the body go before them.
    """

    @logged
    def reader(self, request: Request) -> Reader:
        """Return what reads the body of a request.

        Raises:
            UnsupportedFormatError: It is the form of a web page without files, as which curl sends data by default.
        """
        media_type = _media_type(request)
        if media_type == "application/x-www-form-urlencoded":
            raise UnsupportedFormatError(
                f"The body is {media_type}.",
                mend="Send the recording with curl -T recording.mp3, or as a form with curl -F file=@recording.mp3.",
            )
        read: Reader = {_FORM: _read_form, "application/json": read_json}.get(media_type, read_recording)

        async def read_with_query(request: Request) -> FormData:
            form = await read(request)
            return FormData([*request.query_params.multi_items(), *form.multi_items()])

        return read_with_query


class _CountedRequest(Request):
    """A request whose body may not exceed the limit, whatever its headers said."""

    def __init__(self, request: Request, services: Services) -> None:
        super().__init__(request.scope, self._receive_counted)
        self._receive_next = request.receive
        self._submissions = services.submissions
        self._limit = services.settings.max_upload_bytes + FORM_BYTES
        self._seen = 0

    async def read(self, read: Reader) -> FormData:
        """Read the body; whoever asks for the request's form from now on is given what was read."""
        self._form = await read(self)
        return self._form

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the body in large blocks, since writing one to the disk costs a change of threads.

        While one is written, the next is received already.
        """
        parts = super().stream()
        following = asyncio.create_task(_gather(parts))
        try:
            while block := await following:
                following = asyncio.create_task(_gather(parts))
                yield block
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        yield b""

    async def _receive_counted(self) -> Message:
        message = await self._receive_next()
        self._seen += len(message.get("body", b""))
        if self._seen > self._limit:
            raise self._submissions.too_large(self._seen - FORM_BYTES)
        return message


async def _gather(parts: AsyncGenerator[bytes, None]) -> bytes:
    """Return the next block of a body; an empty one at its end."""
    block, size = [], 0
    async for part in parts:
        block.append(part)
        size += len(part)
        if size >= _BLOCK_BYTES:
            break
    return b"".join(block)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _announced_bytes(request: Request) -> int | None:
    """Return the least size that the file must have by the request's Content-Length, if there is one."""
    length = request.headers.get("content-length", "")
    return max(int(length) - FORM_BYTES, 0) if length.isdecimal() else None


def _ensure_open(services: Services, readiness: Readiness, announced_bytes: int | None) -> None:
    services.submissions.ensure_acceptable(announced_bytes)
    readiness.require()


async def _read_form(request: Request) -> FormData:
    fields = len(UploadForm.model_fields) + 8
    try:
        with spooling():
            return await request.form(max_files=1, max_fields=fields, max_part_size=_FIELD_BYTES)
    except (HTTPException, UnicodeError) as error:  # a body that is no form, or not in the `charset` that it names
        reason = error.detail if isinstance(error, HTTPException) else "its text is not in its charset."
        raise InvalidInputError(
            f"The form cannot be read: {reason}",
            mend="Send one multipart part named `file` with a filename, and short text fields beside it.",
        ) from error
