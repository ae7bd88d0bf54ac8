"""Promoting: a model's transcripts become the current ones, of many objects at once."""

from __future__ import annotations

from pydantic import BaseModel

from stt_core.backfill.exporting import export_current
from stt_core.backfill.objects import BucketObject, BucketObjects, ObjectUpdate
from stt_core.backfill.partitions import partition_key
from stt_core.backfill.views import ensure_source
from stt_core.errors import PermanentError
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs.claims import describe_error
from stt_core.jobs.job import JobError, JobModel, JobStatus
from stt_core.logs import get_logger, log_exception
from stt_core.services import Services

logger = get_logger(__name__)

#: Objects of one request: each has its transcript written again in every format, which takes tenths of a second.
_PAGE = 100


class PromotionFailure(BaseModel):
    """An object that did not get the transcript."""

    key: str
    error: JobError


class Promotion(BaseModel):
    """What became of a page of objects, in numbers of them."""

    promoted: int
    #: Those whose transcript was that model's before.
    current: int
    #: Those without a transcript of their present bytes by that model.
    without: int
    #: Those that could not be promoted, and keep no other from it.
    failed: list[PromotionFailure]
    #: Leads to the next page; None after the last.
    next_cursor: str | None


def promote_model(
    services: Services, *, bucket: str, model: str, key: str | None = None, prefix: str = "", cursor: str = ""
) -> Promotion:
    """Make a model's latest transcript the current one, for each object of a page that has one by it.

    One that cannot be promoted, since its output is not there or its transcript is gone, keeps back no other.

    Args:
        services: The core.
        bucket: One that a source is in.
        model: Whose transcripts.
        key: That object alone.
        prefix: Where `key` is None: what the keys of the objects begin with.
        cursor: `next_cursor` of the answer before.

    Raises:
        BucketNotConfiguredError: No source is in that bucket.
        PartitionNotFoundError: No such object is known.
        TransientError: A server is away.
    """
    ensure_source(services, bucket)
    if key is not None:
        items, next_cursor = [BucketObjects.of(services).get(partition_key(bucket, key))], None
    else:
        items = BucketObjects.of(services).find_range(bucket, prefix, after=cursor, limit=_PAGE)
        next_cursor = items[-1].key if len(items) == _PAGE else None
    versions: dict[str | None, JobModel] = {}
    for job in services.jobs.find_versions(item.partition for item in items):  # the latest first
        if job.status is JobStatus.COMPLETED and job.options.model_name == model:
            versions.setdefault(job.partition, job)
    result = Promotion(promoted=0, current=0, without=0, failed=[], next_cursor=next_cursor)
    for item in items:
        version = versions.get(item.partition)
        if version is None or version.source is None or version.source.etag != item.etag:
            result.without += 1
            continue
        try:
            was_another = promote(services, version)
        except PermanentError as error:
            log_exception(logger, f"promoting {item.partition}", error)
            result.failed.append(PromotionFailure(key=item.key, error=describe_error(error)))
            continue
        result.promoted += was_another
        result.current += not was_another
    return result


def promote(services: Services, version: JobModel) -> bool:
    """Make a completed job's transcript its object's current one, and export it; return whether another was before.

    One that is current already is exported again: whoever promoted it may have died before that.

    Raises:
        PartitionNotFoundError: The object is gone.
        ObjectNotFoundError: The transcript's files are.
        StoreRefusedError: The output's bucket is not there, or not ours to write to.
        TransientError: A server is away.
    """
    etag = version.source.etag if version.source else None
    before: str | None = None

    def change(item: BucketObject) -> ObjectUpdate | None:
        nonlocal before
        before = item.current_job_id
        is_current = before == version.job_id
        return None if is_current else ObjectUpdate(current_job_id=version.job_id, current_etag=etag)

    item = BucketObjects.of(services).change(version.partition or "", change)
    failpoint(Failpoint.VERSION_PROMOTED)
    export_current(services, version)
    logger.info("{}: job {} is promoted over {}", item.partition, version.job_id, before)
    return before != version.job_id
