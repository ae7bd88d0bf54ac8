"""Objects of a bucket and versions of their transcripts, as discovery and runs leave them."""

from __future__ import annotations

from stt_core.backfill.exporting import release_transcript
from stt_core.backfill.objects import BucketObject, BucketObjects, ObjectUpdate
from stt_core.backfill.partitions import partition_key
from stt_core.jobs.job import JobModel, JobOptions, JobStatus, Lane, Source
from stt_core.services import Services
from stt_core.stores.documents import utc_now
from tests.api.conftest import publish


def discover(services: Services, key: str, *, etag: str = "e1") -> str:
    """Let an object be known; return its partition."""
    partition = partition_key("calls", key)
    found = BucketObject(
        partition=partition, bucket="calls", key=key, etag=etag, size_bytes=3, last_modified=utc_now(), source="calls/"
    )
    BucketObjects.of(services).add_many([found])
    return partition


def open_version(services: Services, partition: str, *, model: str = "base", etag: str = "e1") -> str:
    """Create a job of an object, as its run does; return its id."""
    source = Source(
        filename="a.wav", bucket="calls", key="a.wav", etag=etag, format="wav", content_type="audio/wav", size_bytes=3
    )
    job = services.jobs.insert_job(
        JobModel(
            status=JobStatus.QUEUED, lane=Lane.BACKFILL, partition=partition, filename="a.wav",
            options=JobOptions(model=model), source=source, attempt=1, queued_at=utc_now(),
        )
    )  # fmt: skip
    BucketObjects.of(services).change(partition, lambda item: ObjectUpdate(latest_job_id=job.job_id))
    return job.job_id


def complete_version(services: Services, partition: str, *, model: str = "base", etag: str = "e1") -> str:
    """Transcribe an object; return the id of the job."""
    job_id = open_version(services, partition, model=model, etag=etag)
    publish(services, job_id)
    release_transcript(services, services.jobs.get_job(job_id))
    return job_id
