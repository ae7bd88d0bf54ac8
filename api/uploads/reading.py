"""The way in for a recording: refused before its body is read where it can be, and while it is read where it must.

FastAPI reads a form before it runs any dependency. `UploadRoute` comes before that: it checks the kind of body, the
announced size and the room in the queue, and counts the bytes of a body that announced nothing. The form's file is
spooled to an unnamed temporary file (over 1 MiB, in `TMPDIR`), which the operating system removes however this ends.

Uploads that are no form are read as if they were one: a recording alone (`curl -T`), spooled to disk as that of a form,
and JSON with a `source_url`. Beside them the options stand in the query, or in the JSON itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, BinaryIO, cast

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Message

from api.capacity import Capacity, upload_place
from api.uploads.schemas import UploadForm
from stt_core.disk import disk_errors
from stt_core.errors import InvalidInputError, UnsupportedFormatError
from stt_core.services import Services

#: What a form may weigh beside its file, bytes: boundaries, part headers (python-multipart takes 4 KiB each), fields.
FORM_BYTES = 64 * 1024
#: The longest text field, bytes. None of ours comes near; a file sent without a filename would be read as one.
_FIELD_BYTES = 16 * 1024
#: What of a body is read before it is written to the disk, bytes.
_BLOCK_BYTES = 1024**2
#: The longest JSON, bytes.
_JSON_BYTES = 64 * 1024
#: What of a recording is kept in memory, bytes.
_SPOOL_BYTES = 1024**2
_FORM = "multipart/form-data"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Reader = Callable[[Request], Coroutine[Any, Any, FormData]]


class UploadRoute(APIRoute):
    """A route whose body is an upload form."""

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

    def get_route_handler(self) -> Handler:
        """Return FastAPI's handler behind our checks."""
        handle = super().get_route_handler()

        async def handle_upload(request: Request) -> Response:
            read = self.reader(request)
            services: Services = request.app.state.services
            capacity: Capacity = request.app.state.capacity
            async with capacity.store.taken():
                await run_in_threadpool(services.submissions.ensure_acceptable, _announced_bytes(request))
                await run_in_threadpool(request.app.state.readiness.require)
            async with asynccontextmanager(upload_place)(request):
                form = await read(_CountedRequest(request, services))
                try:
                    async with capacity.uploads.taken():
                        return await handle(_ReadRequest(request, form))
                finally:
                    await form.close()

        return handle_upload


class RecordingRoute(UploadRoute):
    """A route whose body is an upload form, the recording itself, or JSON with a `source_url`.

    Fields may stand in the query, too; those of the body go before them.
    """

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
        read: Reader = {_FORM: _read_form, "application/json": _read_json}.get(media_type, _read_recording)

        async def read_with_query(request: Request) -> FormData:
            form = await read(request)
            return FormData([*request.query_params.multi_items(), *form.multi_items()])

        return read_with_query


class JsonRoute(APIRoute):
    """A route whose body is JSON: a short one, since FastAPI holds it in memory, however long it is.

    Its `max_body_size` would answer a long one with a 413 that says nothing of JSON.
    """

    def get_route_handler(self) -> Handler:
        """Return FastAPI's handler behind our limit."""
        handle = super().get_route_handler()

        async def handle_short(request: Request) -> Response:
            short = _ShortRequest(request.scope, request.receive)
            await short.body()  # which it keeps; an error in FastAPI's own reading would lose its name
            return await handle(short)

        return handle_short


class _ShortRequest(Request):
    """A request whose body must be short."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the body up to the limit."""
        size = 0
        async for part in super().stream():
            size += len(part)
            if size > _JSON_BYTES:
                raise InvalidInputError(f"The JSON has more than {_JSON_BYTES} bytes.", mend="Send less metadata.")
            yield part


class _ReadRequest(Request):
    """A request whose form was read: FastAPI is given that when it asks for it."""

    def __init__(self, request: Request, form: FormData) -> None:
        super().__init__(request.scope, request.receive)
        self._read = form

    async def form(self, **_: Any) -> FormData:  # type: ignore[override]  # FastAPI awaits it, and enters nothing
        """Return what was read."""
        return self._read


class _CountedRequest(Request):
    """A request whose body may not exceed the limit, whatever its headers said."""

    def __init__(self, request: Request, services: Services) -> None:
        super().__init__(request.scope, self._receive_counted)
        self._receive_next = request.receive
        self._submissions = services.submissions
        self._limit = services.settings.max_upload_bytes + FORM_BYTES
        self._seen = 0

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


@contextmanager
def spooling() -> Iterator[None]:
    """Say what is full where the block finds no room for an upload."""
    with disk_errors(f"for uploads under way in {gettempdir()} of the API", mend="Free space where TMPDIR points."):
        yield


def new_spool() -> UploadFile:
    """Return an empty file like that of a form: in memory while it is small, unnamed on disk after that."""
    file = SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - its UploadFile is closed
    return UploadFile(cast("BinaryIO", file), size=0, filename="recording")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _announced_bytes(request: Request) -> int | None:
    """Return the least size that the file must have by the request's Content-Length, if there is one."""
    length = request.headers.get("content-length", "")
    return max(int(length) - FORM_BYTES, 0) if length.isdecimal() else None


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


async def _read_recording(request: Request) -> FormData:
    """Return a body as the `file` of a form."""
    upload = new_spool()
    try:
        with spooling():
            async with aclosing(request.stream()) as stream:
                async for block in stream:
                    await upload.write(block)
            await upload.seek(0)
    except BaseException:
        await upload.close()
        raise
    return FormData([("file", upload)])


async def _read_json(request: Request) -> FormData:
    """Return a JSON object as the fields of a form.

    Raises:
        InvalidInputError: It is none, or a very long one.
    """
    body = await _ShortRequest(request.scope, request.receive).body()
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("The body is not JSON.", mend="Correct it, or its Content-Type.") from error
    if not isinstance(fields, dict):
        raise InvalidInputError("The JSON is not an object.", mend='Send {"source_url": "https://…"}.')
    return FormData(
        [
            (name, value if isinstance(value, str) else json.dumps(value))
            for name, value in fields.items()
            if value is not None
        ]
    )
