"""What another model makes of the same recordings: how far its words differ, how sure it was, and what it cost.

An object's current version is compared with the latest one of every other model that is of the same bytes. The word
difference is the word error rate with the current version as the reference: what somebody who read both would find
changed, not which of the two is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import fmean

import jiwer

from stt_core import object_keys
from stt_core.backfill.objects import BucketObject, BucketObjects
from stt_core.jobs.job import JobModel, JobResult, JobStatus
from stt_core.languages import UNSPACED
from stt_core.logs import get_logger
from stt_core.services import Services
from stt_core.transcript.document import Transcript
from stt_core.transcript.text import bare

logger = get_logger(__name__)

#: Objects read at a time.
_PAGE = 200


@dataclass(frozen=True)
class Version:
    """A completed transcript of an object."""

    job_id: str
    model: str
    result: JobResult

    @property
    def cpu_factor(self) -> float | None:
        """CPU seconds of the engine for a second of the recording; None where every text was known already."""
        return _per_second(self.result.cpu_seconds, self.result)

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of wall time that the engine took for a second of the recording; None as above."""
        return _per_second(self.result.engine_seconds, self.result) if self.result.cpu_seconds else None


@dataclass(frozen=True)
class Difference:
    """Two versions of an object's transcript."""

    partition: str
    current: Version
    other: Version
    #: Words to change, leave out or put in, of `words` of the current version.
    changed: int
    words: int

    @property
    def rate(self) -> float:
        """Changed words for each word of the current version."""
        return self.changed / max(1, self.words)


@dataclass(frozen=True)
class ModelFigures:
    """What one model did with the objects that were compared; None where there is nothing to measure."""

    model: str
    objects: int
    #: None for the models of the current versions.
    word_difference: float | None
    confidence: float | None
    cpu_factor: float | None
    real_time_factor: float | None


def compare_versions(
    services: Services, *, bucket: str | None = None, prefix: str = "", model: str | None = None, limit: int = 100
) -> list[Difference]:
    """Compare the versions of the objects under a prefix that several models transcribed, in the order of their keys.

    Args:
        services: The core.
        bucket: Where the objects are; None: all sources.
        prefix: What their keys in that bucket begin with.
        model: Only this one, instead of every other than the current version's.
        limit: Differences at the most.

    Raises:
        TransientError: A server is away.
    """
    found: list[Difference] = []
    places = [(bucket, prefix)] if bucket else [(one.bucket, one.prefix) for one in services.settings.backfill_sources]
    pairs = (pair for place in places for pair in _pairs(services, *place, model))
    for item, current, other in islice(pairs, limit):
        before, after = (_words(services, version) for version in (current, other))
        found.append(Difference(item.partition, current, other, _changed(before, after), len(before)))
    logger.info("compared {} versions of objects in {}/{}", len(found), bucket or "all sources", prefix)
    return found


def summarize(differences: list[Difference]) -> list[ModelFigures]:
    """Return the figures of every model: first those of the current versions, then the others, by name."""
    rows = []
    for is_current in (True, False):
        for model, versions in by_model(one.current if is_current else one.other for one in differences):
            compared = [] if is_current else [one for one in differences if one.other.model == model]
            results = [version.result for version in versions]
            heard = [result for result in results if result.cpu_seconds]
            seconds = sum(result.duration_seconds for result in heard)
            sure = [result.confidence for result in results if result.confidence is not None]
            rows.append(
                ModelFigures(
                    model=model,
                    objects=len(versions),
                    word_difference=sum(one.changed for one in compared) / max(1, sum(one.words for one in compared))
                    if compared
                    else None,
                    confidence=fmean(sure) if sure else None,
                    cpu_factor=sum(result.cpu_seconds for result in heard) / seconds if seconds else None,
                    real_time_factor=sum(result.engine_seconds for result in heard) / seconds if seconds else None,
                )
            )
    return rows


def by_model(versions: Iterable[Version]) -> list[tuple[str, list[Version]]]:
    """Return the versions of each model, by name, each of them once."""
    models: dict[str, dict[str, Version]] = {}
    for version in versions:
        models.setdefault(version.model, {})[version.job_id] = version
    return [(model, list(by_job.values())) for model, by_job in sorted(models.items())]


def _pairs(
    services: Services, bucket: str, prefix: str, model: str | None
) -> Iterator[tuple[BucketObject, Version, Version]]:
    after = ""
    while items := BucketObjects.of(services).find_range(bucket, prefix, after=after, limit=_PAGE):
        versions: dict[str | None, list[JobModel]] = {}
        for job in services.jobs.find_versions(item.partition for item in items):  # the latest first
            if job.status is JobStatus.COMPLETED:
                versions.setdefault(job.partition, []).append(job)
        for item in items:
            jobs = versions.get(item.partition, [])
            current = next((job for job in jobs if job.job_id == item.current_job_id), None)
            if current is None:
                continue
            latest: dict[str, JobModel] = {}
            for job in jobs:
                if job.source and current.source and job.source.etag == current.source.etag:
                    latest.setdefault(job.options.model_name, job)
            for name in sorted(latest.keys() - {current.options.model_name}):
                if model in (None, name):
                    yield item, _version(current), _version(latest[name])
        after = items[-1].key


def _version(job: JobModel) -> Version:
    assert job.result is not None  # it is completed
    return Version(job.job_id, job.options.model_name, job.result)


def _words(services: Services, version: Version) -> list[str]:
    """Return the words without case and punctuation; characters where a language does not part its words."""
    stored = services.store.get_bytes(object_keys.transcript(version.result.prefix, "json"))
    transcript = Transcript.model_validate_json(stored)
    spoken = bare(transcript.text)
    is_spaced = transcript.language not in UNSPACED or transcript.task == "translate"
    return spoken.split() if is_spaced else list("".join(spoken.split()))


def _changed(before: list[str], after: list[str]) -> int:
    if not before or not after:
        return max(len(before), len(after))
    output = jiwer.process_words(" ".join(before), " ".join(after))
    return int(output.substitutions + output.deletions + output.insertions)


def _per_second(spent: float, result: JobResult) -> float | None:
    return spent / result.duration_seconds if spent and result.duration_seconds else None
