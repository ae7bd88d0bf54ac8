"""What the sources hold by now, found out page by page: which objects are new, changed or gone.

A page is one bounded listing, compared with the objects that are known in the same range of keys; so it takes the same
time in a bucket of any size, nothing is remembered of a round through the sources but where it stands, and a round that
breaks off goes on from there. The source objects are listed, and never read, written or removed.

Whoever takes up a page tells Dagster of it first, which can be repeated, and then MongoDB (`record_page`): one that was
not recorded, since a server was away or the process died, is found again in the next round.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pydantic import BaseModel

from stt_core.audio.formats import is_named_like_a_recording
from stt_core.backfill.objects import BucketObject, BucketObjects, ObjectUpdate
from stt_core.backfill.partitions import partition_key
from stt_core.errors import ConflictError, PartitionNotFoundError, StoreRefusedError
from stt_core.logs import get_logger, log_exception
from stt_core.services import Services
from stt_core.sources import BackfillSource
from stt_core.stores.documents import utc_now
from stt_core.stores.object_store import StoredObject

logger = get_logger(__name__)

#: Objects a page: what S3 servers list with one request.
PAGE_OBJECTS = 1000
#: Changed and vanished objects a page: each is a transaction in Dagster's SQLite, 20 to 50 ms, where new ones
#: come by the thousand.
PAGE_CHANGES = 50


@dataclass(frozen=True)
class Change:
    """An object that is known, and what of it is to be written; its bytes are others if the update has an ETag."""

    known: BucketObject
    update: ObjectUpdate

    @property
    def concerns_transcript(self) -> bool:
        """Whether there is a transcript, which is now of other bytes, or of the same again."""
        return self.known.current_etag is not None and self.update.etag is not None


@dataclass(frozen=True)
class DiscoveredPage:
    """What a listing of a range of keys tells of the objects there."""

    #: All that are there.
    present: list[str] = field(default_factory=list)
    new: list[BucketObject] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    #: Objects that were looked at, recordings or not.
    listed: int = 0
    #: The key that the source's next page begins after; None: that was its last.
    next_after: str | None = None
    #: Why the source could not be listed.
    refusal: str | None = None


class Round(BaseModel):
    """Where discovery stands in its round through the sources."""

    #: The name of the source that it is at; None before the first round.
    source: str | None = None
    #: The key there that it goes on after.
    after: str = ""
    started_at: datetime | None = None
    listed: int = 0
    #: The sources that objects may be known of: those of one that was removed go.
    sources: list[str] = []
    #: How long the round before took, seconds, when it ended, and how many objects it listed.
    last_seconds: float | None = None
    last_ended_at: datetime | None = None
    last_listed: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it ended, and the next page begins another."""
        return self.source is None

    @property
    def rests(self) -> bool:
        """Whether the next one should wait, as long as this one took: listing is never all that goes on."""
        if self.source is not None or self.last_ended_at is None:
            return False
        return 0 <= (utc_now() - self.last_ended_at).total_seconds() < (self.last_seconds or 0)


def discover_next(services: Services, current: Round, limit: int = PAGE_OBJECTS) -> tuple[DiscoveredPage, Round]:
    """Return the next page of the round, and where it stands after that.

    A source that cannot be listed is passed over, and what is known of it stays.

    Raises:
        TransientError: A server is away.
    """
    sources = {source.name: source for source in services.settings.backfill_sources}
    names = [*sources, *(name for name in current.sources if name not in sources)]
    if not names:
        return DiscoveredPage(), Round()
    if current.source is None or current.sources != names:  # another round; or other settings: from the beginning
        begun = Round(source=names[0], started_at=utc_now(), sources=names)
        current = begun.model_copy(update=current.model_dump(include={"last_seconds", "last_ended_at", "last_listed"}))
    name = current.source or ""
    try:
        if name in sources:
            page = discover_page(services, sources[name], current.after, limit)
        else:
            page = _removed_page(services, name, current.after)
    except StoreRefusedError as error:
        log_exception(logger, f"source {name}", error)
        page = DiscoveredPage(refusal=f"{name} cannot be listed: {error}")
    after = current.model_copy(update={"after": page.next_after or "", "listed": current.listed + page.listed})
    if page.next_after is not None:
        return page, after
    if name != names[-1]:
        return page, after.model_copy(update={"source": names[names.index(name) + 1]})
    now = utc_now()
    seconds = (now - (after.started_at or now)).total_seconds()
    return page, Round(sources=list(sources), last_seconds=seconds, last_ended_at=now, last_listed=after.listed)


def discover_page(services: Services, source: BackfillSource, after: str, limit: int = PAGE_OBJECTS) -> DiscoveredPage:
    """List up to `limit` objects of a source with keys beyond `after`, and compare them with those that are known.

    Raises:
        StoreRefusedError: There is no such bucket, or it is not ours to list.
        TransientError: A server is away.
    """
    listed = services.store.in_bucket(source.bucket).list_page(source.prefix, after=after, limit=limit)
    last = listed[-1].key if len(listed) == limit else None
    known = BucketObjects.of(services).find_range(source.bucket, source.prefix, after=after, last=last, limit=limit)
    if len(known) == limit:  # more may be known than are listed now
        last = known[-1].key
    excluded = services.settings.own_prefixes(source.bucket)
    found = {
        item.key: item
        for item in listed
        if source.matches(item.key) and is_named_like_a_recording(item.key) and not item.key.startswith(excluded)
    }
    changed = {
        item.key: Change(item, update)
        for item in known
        if item.key in found and (update := _compare(item, found[item.key], source)) is not None
    }
    vanished = {item.key: item.partition for item in known if item.key not in found}
    if len(changed) + len(vanished) > PAGE_CHANGES:
        last = min(last or "\U0010ffff", sorted([*changed, *vanished])[PAGE_CHANGES - 1])

    def is_in_page(key: str) -> bool:
        return last is None or key <= last

    known_keys = {item.key for item in known}
    present = {partition_key(source.bucket, key): item for key, item in found.items() if is_in_page(key)}
    return DiscoveredPage(
        present=list(present),
        new=[
            BucketObject.found(partition, item.key, source, item)
            for partition, item in present.items()
            if item.key not in known_keys
        ],
        changed=[change for key, change in changed.items() if is_in_page(key)],
        vanished=[partition for key, partition in vanished.items() if is_in_page(key)],
        listed=sum(is_in_page(item.key) for item in listed),
        next_after=last,
    )


def record_page(services: Services, page: DiscoveredPage) -> None:
    """Write what a page found into MongoDB.

    Raises:
        TransientError: MongoDB is away; what was not written is found again.
    """
    BucketObjects.of(services).add_many(page.new)
    for change in page.changed:
        try:
            BucketObjects.of(services).update(change.known, change.update)
        except (ConflictError, PartitionNotFoundError) as error:
            logger.info("left for the next round: {}", error)
    if page.vanished:
        BucketObjects.of(services).remove_many(page.vanished)


def _removed_page(services: Services, name: str, after: str) -> DiscoveredPage:
    """Find the objects of a source that is not among the settings any more; another one may have taken some over."""
    bucket, _, prefix = name.partition("/")
    known = BucketObjects.of(services).find_range(bucket, prefix, after=after, limit=PAGE_CHANGES)
    return DiscoveredPage(
        vanished=[item.partition for item in known if item.source == name],
        next_after=known[-1].key if len(known) == PAGE_CHANGES else None,
    )


def _compare(known: BucketObject, found: StoredObject, source: BackfillSource) -> ObjectUpdate | None:
    """Return what is to be written of an object that is known; None where it is as it was."""
    changed_bytes = {"etag": found.etag, "size_bytes": found.size_bytes, "last_modified": found.modified_at}
    update: dict[str, object] = changed_bytes if found.etag != known.etag else {}
    if source.name != known.source:
        update["source"] = source.name
    return ObjectUpdate.model_validate(update) if update else None
