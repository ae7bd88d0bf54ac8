"""How many uploads one key may have under way at once: a place in Redis, renewed for as long as the upload takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import anyio
from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from api.auth import Caller
from stt_core.access.api_key import ApiKey
from stt_core.access.limits import PLACE_SECONDS, Limits
from stt_core.errors import SttError
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: Often enough for two renewals to fail before the place is lost.
_RENEWAL_SECONDS = PLACE_SECONDS / 3


@asynccontextmanager
async def upload_place(request: Request) -> AsyncIterator[None]:
    """Hold one of the caller's places for uploads while the block runs.

    The places of a process that dies meanwhile run out by themselves. Where Redis is away nothing is uploaded: it has
    the queue too.

    Raises:
        TooManyUploadsError: The key has no place left.
        QueueUnavailableError: Redis does not answer.
    """
    caller: Caller = request.state.caller
    if caller.key is None:
        yield
        return
    limits: Limits = request.app.state.services.limits
    upload_id = uuid4().hex
    await run_in_threadpool(limits.take_upload, caller.key, upload_id)
    renewing = asyncio.create_task(_renew(limits, caller.key, upload_id))
    try:
        yield
    finally:
        renewing.cancel()
        with anyio.CancelScope(shield=True):  # also where the client went away
            await _end(limits, caller.key, upload_id)


async def _renew(limits: Limits, key: ApiKey, upload_id: str) -> None:
    while True:
        await asyncio.sleep(_RENEWAL_SECONDS)
        try:
            await run_in_threadpool(limits.take_upload, key, upload_id)
        except SttError as error:
            logger.warning("the place of an upload could not be renewed: {}", error)


async def _end(limits: Limits, key: ApiKey, upload_id: str) -> None:
    try:
        await run_in_threadpool(limits.end_upload, key, upload_id)
    except SttError as error:
        logger.warning("the place of an upload is left to run out: {}", error)
