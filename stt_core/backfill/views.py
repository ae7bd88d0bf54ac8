"""What clients see of the objects of the sources: the state of each, and the versions of its transcript."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from urllib.parse import quote

from pydantic import BaseModel

from stt_core.backfill.objects import BucketObject, BucketObjects, ObjectState
from stt_core.errors import BucketMissingError, BucketNotConfiguredError, BucketNotFoundError, SttError
from stt_core.jobs.job import JobError, JobModel, JobStatus
from stt_core.logs import get_logger
from stt_core.services import Services

logger = get_logger(__name__)

_PAGE_OF_PARTITION = "/assets/bucket_transcripts?view=partitions&partition="


class VersionView(BaseModel):
    """A transcript of an object, or the attempt to make one."""

    job_id: str
    #: Whether it is the object's transcript until another is promoted.
    is_current: bool
    model: str
    status: JobStatus
    #: Of the bytes that it is of.
    etag: str | None
    error: JobError | None
    #: Whether its object has been given it, which takes some seconds: the files of the current one are in the output.
    passed_on: bool
    words: int | None
    created_at: datetime
    completed_at: datetime | None
    #: Where the API has its job; its transcript is under `/result` there.
    url: str

    @classmethod
    def of(cls, job: JobModel, item: BucketObject) -> Self:
        """Return the view of one of an object's jobs."""
        return cls(
            **job.model_dump(include={"job_id", "status", "created_at", "completed_at"}),
            is_current=job.job_id == item.current_job_id,
            model=job.options.model_name,
            etag=job.source.etag if job.source else None,
            error=job.error,
            passed_on=job.status is JobStatus.COMPLETED and not job.release_due,
            words=job.result.words if job.result else None,
            url=f"/api/v1/tasks/{job.job_id}",
        )


class ObjectView(BaseModel):
    """An object of a source."""

    #: The key of its partition in Dagster: `bucket/key`, what Dagster refuses percent-encoded.
    partition: str
    bucket: str
    key: str
    state: ObjectState
    etag: str
    size_bytes: int
    last_modified: datetime
    #: Newest first.
    versions: list[VersionView]
    #: Where Dagster shows its runs, its transcripts and their checks.
    dagster_url: str

    @classmethod
    def of(cls, item: BucketObject, jobs: list[JobModel], dagster_url: str) -> Self:
        """Return the view of an object, given its jobs, the newest first."""
        latest = {job.job_id: job for job in jobs}.get(item.latest_job_id or "")
        shown = {"partition", "bucket", "key", "etag", "size_bytes", "last_modified"}
        return cls(
            **item.model_dump(include=shown),
            state=item.state(latest),
            versions=[VersionView.of(job, item) for job in jobs],
            dagster_url=f"{dagster_url}{_PAGE_OF_PARTITION}{quote(item.partition, safe='')}",
        )

    def state_with(self, model: str) -> ObjectState:
        """Return the state as of one model: whether that has transcribed it."""
        made = [version for version in self.versions if version.model == model]
        own = [version.status for version in made if version.etag == self.etag]
        if any(not status.is_final for status in own):
            return ObjectState.RUNNING
        if JobStatus.COMPLETED in own:
            return ObjectState.DONE
        if own:
            return ObjectState.FAILED
        return ObjectState.STALE if made else ObjectState.MISSING


class ObjectList(BaseModel):
    """A page of objects, in the order of their keys."""

    objects: list[ObjectView]
    #: Leads to the next page; None on the last.
    next_cursor: str | None


def list_objects(
    services: Services,
    *,
    bucket: str,
    prefix: str = "",
    state: ObjectState | None = None,
    cursor: str = "",
    limit: int = 50,
) -> ObjectList:
    """Return a page of the objects of a bucket whose keys begin with `prefix`.

    Raises:
        BucketNotConfiguredError: No source is in that bucket.
        BucketMissingError: Nothing is known of the bucket, since it is not there.
    """
    ensure_source(services, bucket)
    items, next_cursor = BucketObjects.of(services).list_page(bucket, prefix, state=state, cursor=cursor, limit=limit)
    if not items and not cursor:
        _ensure_bucket(services, bucket)
    jobs: dict[str | None, list[JobModel]] = {}
    for job in services.jobs.find_versions(item.partition for item in items):
        jobs.setdefault(job.partition, []).append(job)
    url = services.settings.dagster_url
    views = [ObjectView.of(item, jobs.get(item.partition, []), url) for item in items]
    return ObjectList(objects=views, next_cursor=next_cursor)


def _ensure_bucket(services: Services, bucket: str) -> None:
    try:
        services.store.in_bucket(bucket).ping()
    except BucketNotFoundError as error:
        raise BucketMissingError(error.message, mend=error.mend) from error
    except SttError as error:
        logger.warning("whether there is a bucket {} cannot be told: {}", bucket, error)


def ensure_source(services: Services, bucket: str) -> None:
    """Refuse a bucket that no source is in.

    Raises:
        BucketNotConfiguredError: So it is.
    """
    buckets = sorted({source.bucket for source in services.settings.backfill_sources})
    if bucket not in buckets:
        raise BucketNotConfiguredError(
            f"No source of backfills is in the bucket {bucket[:100]}.",
            mend=f"BACKFILL_SOURCES has {', '.join(buckets) if buckets else 'none'}; add it there and start again.",
        )
