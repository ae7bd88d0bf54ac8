"""The priority queue in Redis: an index of the jobs that wait, never their truth.

A member is `<job_id>:<attempt>`, in the sorted set of its priority; its score is the moment at which it was queued, in
milliseconds. The highest priority that waits is next, and within it who came first. So that nothing starves, one start
in `FAIR_SHARE` goes to the oldest job of all lower priorities. The score follows from MongoDB alone, so that the queue
can be rebuilt exactly after Redis lost it; the count of starts may be lost.

Nothing is popped. A reader peeks, leases what it is about to start (`SET NX EX`), and the run that claims the job
acknowledges it; a lease that is not followed by a claim runs out, and the member is seen again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, islice
from typing import Any, cast

from redis.client import PubSub

from stt_core.errors import QueueFullError
from stt_core.jobs.job import Priority
from stt_core.logs import get_logger
from stt_core.settings import Settings
from stt_core.stores.redis_server import RedisServer, redis_errors

logger = get_logger(__name__)

# Atomic: the size check, the check that the member is not there already, the add, and the signal to the sensor.
_ENQUEUE = """
local size = 0
for _, key in ipairs(KEYS) do
  if redis.call('ZSCORE', key, ARGV[1]) then return 0 end
  size = size + redis.call('ZCARD', key)
end
if tonumber(ARGV[4]) > 0 and size >= tonumber(ARGV[4]) then return -1 end
redis.call('ZADD', KEYS[tonumber(ARGV[3])], ARGV[2], ARGV[1])
redis.call('PUBLISH', ARGV[5], ARGV[1])
return 1
"""

# Whoever gets the lease starts the job, and only that is a start.
_LEASE = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then return 0 end
redis.call('INCR', KEYS[2])
return 1
"""

#: From the highest to the lowest.
_PRIORITIES = tuple(Priority)
#: Of so many starts one goes to the oldest job of a lower priority than the highest that waits.
FAIR_SHARE = 5


class Doorbell:
    """Rings when something is enqueued while the block of `JobQueue.listen` is open."""

    def __init__(self, subscription: PubSub) -> None:
        self._subscription = subscription

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for a ring; return False when none came in time. Rings that came together count as one."""
        with redis_errors("waiting for jobs"):
            rang = self._next(timeout_seconds)
            while rang and self._next(0.0):
                pass
        return rang

    def _next(self, timeout_seconds: float) -> bool:
        return self._subscription.get_message(timeout=timeout_seconds) is not None


class JobQueue:
    """The jobs that wait for a run (see the module's text for the order)."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.queue_name
        self._keys = {priority: f"{self.name}:waiting:{priority}" for priority in _PRIORITIES}
        self._starts = f"{self.name}:starts"
        self.max_size = settings.queue_max_size
        self._lease_seconds = settings.queue_lease_seconds
        self._timeout_seconds = settings.redis_timeout_seconds
        #: Whoever else needs Redis in this process asks it through this connection.
        self.server = RedisServer(settings)
        self._redis = self.server.client
        self._enqueue_script = self._redis.register_script(_ENQUEUE)
        self._lease_script = self._redis.register_script(_LEASE)
        logger.info("Redis queue opened: name={} max_size={}", self.name, self.max_size)

    def ping(self) -> float:
        """Ask the server for a sign of life and return its latency in seconds."""
        return self.server.ping()

    def enqueue(self, member: str, priority: Priority, queued_at: datetime, *, bounded: bool = True) -> bool:
        """Add a member; return False when it is there already (adding twice changes nothing).

        Args:
            bounded: Refuse when `QUEUE_MAX_SIZE` jobs wait. Jobs that were accepted once come back unbounded.

        Raises:
            QueueFullError: The queue is full and `bounded` is set.
        """
        with self.server.asking(f"enqueueing {member}"):
            answer = self._enqueue_script(
                keys=list(self._keys.values()),
                args=[
                    member,
                    round(queued_at.timestamp() * 1000),
                    _PRIORITIES.index(priority) + 1,
                    self.max_size if bounded else 0,
                    self.name,
                ],
            )
        if answer == -1:
            raise self._full()
        logger.info("enqueued: member={} priority={} new={}", member, priority, bool(answer))
        return bool(answer)

    def ensure_room(self) -> None:
        """Raise QueueFullError when no further job can be accepted now."""
        if sum(self.statistics().values()) >= self.max_size:
            raise self._full()

    def peek(self, count: int) -> list[str]:
        """Return the next members that nobody has leased, at most `count`, the next first. Nothing is removed."""
        # Leased members stand at the heads until their runs claim them: look past them, boundedly.
        window = count + 256
        with self.server.asking("peeking"):
            heads: list[list[tuple[str, float]]] = self._of_each(
                lambda pipeline, key: pipeline.zrange(key, 0, window - 1, withscores=True)
            )
            leases = [self._lease(member) for member, _ in chain(*heads)]
            starts, *leased = cast("list[str | None]", self._redis.mget([self._starts, *leases]))
        is_free = {lease: owner is None for lease, owner in zip(leases, leased, strict=True)}
        free = [[entry for entry in head if is_free[self._lease(entry[0])]] for head in heads]
        return list(islice(_in_order(free, int(starts or 0)), count))

    def lease(self, member: str, owner: str) -> bool:
        """Take a member for `QUEUE_LEASE_SECONDS`; return False when somebody has it."""
        with self.server.asking(f"leasing {member}"):
            taken = self._lease_script(keys=[self._lease(member), self._starts], args=[owner, self._lease_seconds])
        logger.info("lease: member={} taken={}", member, bool(taken))
        return bool(taken)

    def remove(self, member: str) -> bool:
        """Remove a member and its lease; return whether it was waiting."""
        with self.server.asking(f"removing {member}"):
            pipeline = self._redis.pipeline(transaction=True)
            for key in self._keys.values():
                pipeline.zrem(key, member)
            pipeline.delete(self._lease(member))
            *removed, _ = pipeline.execute()
        return any(removed)

    def position(self, member: str) -> int | None:
        """Return the member's place in the queue (1 is next), or None when it does not wait.

        It counts the jobs of higher priorities and the older ones of the same: a lower job that gets its share of the
        starts may pass, and a member of a lower priority comes sooner than its place says.
        """
        with self.server.asking(f"looking for {member}"):
            ranks = self._of_each(lambda pipeline, key: pipeline.zrank(key, member))
            sizes = self._of_each(lambda pipeline, key: pipeline.zcard(key))
        return next((sum(sizes[:n]) + rank + 1 for n, rank in enumerate(ranks) if rank is not None), None)

    def drop_former(self) -> None:
        """Remove the entries of releases that scored them otherwise; their jobs are enqueued anew as missing ones."""
        with self.server.asking("removing former entries"):
            self._redis.delete(*(f"{self.name}:{priority}" for priority in _PRIORITIES))

    def statistics(self) -> dict[Priority, int]:
        """Return how many jobs wait, by priority."""
        with self.server.asking("counting"):
            sizes = self._of_each(lambda pipeline, key: pipeline.zcard(key))
        return dict(zip(_PRIORITIES, sizes, strict=True))

    def members(self) -> set[str]:
        """Return every member that waits."""
        with self.server.asking("reading members"):
            return set(chain(*self._of_each(lambda pipeline, key: pipeline.zrange(key, 0, -1))))

    @contextmanager
    def listen(self) -> Iterator[Doorbell]:
        """Open a doorbell that rings at every enqueue. Listen, then peek, then wait: no ring is missed so."""
        subscription: Any = cast("Any", self._redis).pubsub()  # untyped in redis-py
        try:
            with redis_errors("subscribing"):
                subscription.subscribe(self.name)
                # The server's confirmation: before it, a peek on another connection could overtake the subscription.
                subscription.get_message(timeout=self._timeout_seconds)
            yield Doorbell(subscription)
        finally:
            subscription.close()

    def ring(self) -> None:
        """Ring every doorbell, with nothing enqueued."""
        with self.server.asking("ringing"):
            self._redis.publish(self.name, "")

    def close(self) -> None:
        """Close the connections."""
        self.server.close()
        logger.info("Redis queue closed: name={}", self.name)

    def _of_each(self, ask: Callable[[Any, str], object]) -> list[Any]:
        """Ask the same of the entries of each priority, together, and return the answers."""
        pipeline = self._redis.pipeline(transaction=False)
        for key in self._keys.values():
            ask(pipeline, key)
        return pipeline.execute()

    def _lease(self, member: str) -> str:
        return f"{self.name}:lease:{member}"

    def _full(self) -> QueueFullError:
        return QueueFullError(
            f"The queue is full: {self.max_size} jobs are waiting.",
            mend="Try again later, or raise QUEUE_MAX_SIZE.",
            max_size=self.max_size,
        )


def _in_order(queues: list[list[tuple[str, float]]], starts: int) -> Iterator[str]:
    """Yield members in the order in which they are to start.

    Args:
        queues: Members and scores, the oldest first, of each priority, the highest first.
        starts: How many jobs were started before.
    """
    waiting = [deque(queue) for queue in queues if queue]
    while waiting:
        starts += 1
        highest, *lower = waiting
        is_theirs = lower and starts % FAIR_SHARE == 0
        chosen = min(lower, key=lambda queue: queue[0][1]) if is_theirs else highest
        yield chosen.popleft()[0]
        waiting = [queue for queue in waiting if queue]
