"""How much a key may do, counted in Redis: requests a minute, and uploads under way at once.

Requests: the generic cell rate algorithm, which is a bucket that holds a minute's worth of requests and fills up
steadily, kept as the one moment at which it will be full again. Uploads: a place each, in a set sorted by when it runs
out; whoever uploads renews it, so that the place of a process that died is free again within a minute.

Both are scripts, so that requests that come together are counted one after the other, by Redis' own clock alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stt_core.access.api_key import ApiKey
from stt_core.errors import RateLimitedError, TooManyUploadsError
from stt_core.logs import get_logger
from stt_core.stores.redis_server import RedisServer

logger = get_logger(__name__)

#: What a rate counts in, seconds.
WINDOW_SECONDS = 60
#: A place that is not renewed for so long is free again, seconds.
PLACE_SECONDS = 60

# Times are milliseconds; one of them is rounding. Where Redis' clock was put back, a key begins afresh.
_COUNT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or now)
if full < now or full > now + window + 1 then full = now end
full = full + window / rate
local left = now + window - full
if left <= -1 then return {-1, math.ceil(-left)} end
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.max(1, math.ceil(full - now)))
return {math.max(0, math.floor(left * rate / window)), math.ceil(full - now)}
"""
_TAKE = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


@dataclass(frozen=True)
class Allowance:
    """What is left of a key's rate: requests that may come now, and seconds until all of them may."""

    rate: int
    remaining: int
    reset_seconds: int


class Limits:
    """The limits of all keys.

    Args:
        server: The connection to Redis.
        prefix: What its keys there begin with.
    """

    def __init__(self, server: RedisServer, prefix: str) -> None:
        self._server = server
        self._prefix = f"{prefix}:limits"
        self._count = server.client.register_script(_COUNT)
        self._take = server.client.register_script(_TAKE)

    def count_request(self, key: ApiKey) -> Allowance:
        """Count a request and return what is left.

        Raises:
            RateLimitedError: The key has no request left; it is not counted.
            QueueUnavailableError: Redis does not answer.
        """
        with self._server.asking("counting requests"):
            remaining, milliseconds = self._count(
                keys=[f"{self._prefix}:requests:{key.key_id}"], args=[WINDOW_SECONDS * 1000, key.rate]
            )
        seconds = math.ceil(milliseconds / 1000)
        if remaining < 0:
            raise RateLimitedError(
                f"This key may send {key.rate} requests a minute, and has.",
                mend=f"Come back in {seconds} s, and ask less often.",
                retry_after_seconds=seconds,
                rate=key.rate,
            )
        return Allowance(key.rate, remaining, seconds)

    def take_upload(self, key: ApiKey, upload_id: str) -> None:
        """Take a place for an upload, or renew it: it is held for `PLACE_SECONDS` from now.

        Raises:
            TooManyUploadsError: All of the key's places are taken.
            QueueUnavailableError: Redis does not answer.
        """
        with self._server.asking("counting uploads"):
            taken = self._take(keys=[self._uploads(key)], args=[upload_id, key.concurrent, PLACE_SECONDS])
        if not taken:
            raise TooManyUploadsError(
                f"This key may have {key.concurrent} uploads under way at once, and has.",
                mend="Send the next recording when one has arrived.",
                # Nobody knows when an upload ends: soon enough to go on, seldom enough not to hammer.
                retry_after_seconds=5,
                concurrent=key.concurrent,
            )

    def end_upload(self, key: ApiKey, upload_id: str) -> None:
        """Give the place of an upload back.

        Raises:
            QueueUnavailableError: Redis does not answer; the place runs out by itself.
        """
        with self._server.asking("counting uploads"):
            self._server.client.zrem(self._uploads(key), upload_id)

    def _uploads(self, key: ApiKey) -> str:
        return f"{self._prefix}:uploads:{key.key_id}"
