"""Uploads that are no form, read as if they were one: a recording alone (`curl -T`), and JSON with a `source_url`.

Beside them the options stand in the query, or in the JSON itself. A recording is spooled to disk as that of a form.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, BinaryIO, cast

from fastapi.routing import APIRoute
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from stt_core.disk import disk_errors
from stt_core.errors import InvalidInputError
from stt_core.logs import logged

#: The longest JSON, bytes.
_JSON_BYTES = 64 * 1024
#: What of a recording is kept in memory, bytes.
_SPOOL_BYTES = 1024**2
#: The name of a recording that has none.
_NAMELESS = "recording"


class JsonRoute(APIRoute):
    """A route whose body is JSON: a short one, since FastAPI holds it in memory, however long it is."""

    @logged
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind our limit."""
        handle = super().get_route_handler()

        async def handle_short(request: Request) -> Response:
            request._body = await _read_short(request)  # where FastAPI looks for it
            return await handle(request)

        return handle_short


@contextmanager
def spooling() -> Iterator[None]:
    """Say what is full where the block finds no room for an upload."""
    with disk_errors(f"for uploads under way in {gettempdir()} of the API", mend="Free space where TMPDIR points."):
        yield


@logged
def new_spool(filename: str = _NAMELESS) -> UploadFile:
    """Return an empty file like that of a form: in memory while it is small, unnamed on disk after that."""
    file = SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - its UploadFile is closed
    return UploadFile(cast("BinaryIO", file), size=0, filename=filename)


@logged
async def read_recording(request: Request) -> FormData:
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


@logged
async def read_json(request: Request) -> FormData:
    """Return a JSON object as the fields of a form.

    Raises:
        InvalidInputError: It is none, or a very long one.
    """
    body = await _read_short(request)
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


async def _read_short(request: Request) -> bytes:
    body = bytearray()
    async for part in Request.stream(request):  # as it comes, and not in the blocks of an upload
        body += part
        if len(body) > _JSON_BYTES:
            raise InvalidInputError(f"The JSON has more than {_JSON_BYTES} bytes.", mend="Send less metadata.")
    return bytes(body)
