"""Versions of objects compared, on real servers, and the report that people read."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from stt_core import object_keys
from stt_core.backfill.comparing import Difference, Version, compare_versions, summarize
from stt_core.backfill.objects import BucketObject, BucketObjects, ObjectUpdate
from stt_core.backfill.partitions import partition_key
from stt_core.backfill.reporting import escape, plot, to_markdown
from stt_core.jobs.job import JobModel, JobResult, JobStatus, Lane, Source
from stt_core.options import JobOptions
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.stores.documents import utc_now
from stt_core.transcript.document import Transcript, TranscriptStatistics


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    opened = Services.open(
        Settings.model_validate(settings.model_dump() | {"backfill_sources": [{"bucket": "calls", "prefix": "a/"}]})
    )
    opened.prepare()
    yield opened
    opened.close()


def figures(prefix: str = "", **more: object) -> JobResult:
    return JobResult.model_validate(
        {
            "prefix": prefix,
            "formats": ["json"],
            "language": "en",
            "duration_seconds": 10,
            "words": 6,
            "segments": 1,
            "text_preview": "",
            "confidence": 0.9,
            "engine_seconds": 2,
            "cpu_seconds": 4,
        }
        | more
    )


def add_object(services: Services, key: str) -> str:
    partition = partition_key("calls", key)
    found = BucketObject(
        partition=partition,
        bucket="calls",
        key=key,
        etag="e1",
        size_bytes=3,
        last_modified=utc_now(),
        source="calls/a/",
    )
    BucketObjects.of(services).add_many([found])
    return partition


def add_version(
    services: Services,
    partition: str,
    model: str,
    text: str,
    *,
    current: bool = False,
    etag: str = "e1",
    language: str = "en",
    status: JobStatus = JobStatus.COMPLETED,
) -> str:
    source = Source(
        filename="a", bucket="calls", key="a", etag=etag, format="wav", content_type="audio/wav", size_bytes=3
    )
    job = JobModel(
        status=status, lane=Lane.BACKFILL, partition=partition, filename="a", options=JobOptions(model=model),
        source=source,
    )  # fmt: skip
    job.result = figures(object_keys.result_prefix(job.job_id, 1))
    services.jobs.insert_job(job)
    transcript = Transcript(
        job_id=job.job_id, text=text, language=language, model=model, duration_seconds=10, segments=[],
        statistics=TranscriptStatistics(words=6, speech_seconds=9, chunks=1),
    )  # fmt: skip
    stored = transcript.model_dump_json().encode()
    services.store.put_bytes(object_keys.transcript(job.result.prefix, "json"), stored, content_type="application/json")
    if current:
        BucketObjects.of(services).change(
            partition, lambda _: ObjectUpdate(current_job_id=job.job_id, current_etag=etag)
        )
    return job.job_id


def difference(partition: str = "calls/a.wav", *, changed: int = 1, words: int = 10, **other: object) -> Difference:
    number = partition[-1]
    current, latest = Version(f"old{number}", "base", figures()), Version(f"new{number}", "large", figures(**other))
    return Difference(partition, current, latest, changed, words)


def test_versions_when_models_differ_then_the_words_that_changed_are_counted(services: Services) -> None:
    partition = add_object(services, "a/1.wav")
    before = add_version(services, partition, "base", "The cat sat on the mat.", current=True)
    add_version(services, partition, "large", "nothing of it")
    latest = add_version(services, partition, "large", "the cat sat, on a mat today")
    [found] = compare_versions(services)
    assert (found.current.job_id, found.other.job_id) == (before, latest)
    assert (found.changed, found.words) == (2, 6)


def test_versions_when_they_are_no_match_then_they_are_not_compared(services: Services) -> None:
    partition = add_object(services, "a/1.wav")
    add_version(services, partition, "base", "one", current=True)
    add_version(services, partition, "base", "two")
    add_version(services, partition, "of-other-bytes", "two", etag="e0")
    add_version(services, partition, "failed", "two", status=JobStatus.FAILED)
    never = add_object(services, "a/2.wav")
    add_version(services, never, "large", "two")
    assert compare_versions(services) == []


def test_versions_when_a_place_model_or_number_is_named_then_others_are_left_out(services: Services) -> None:
    for key in ("a/1.wav", "a/2.wav", "b/3.wav"):
        partition = add_object(services, key)
        add_version(services, partition, "base", "one", current=True)
        for model in ("large", "tiny"):
            add_version(services, partition, model, "one")

    def compared(**wanted: object) -> list[tuple[str, str]]:
        found = compare_versions(services, **wanted)  # type: ignore[arg-type]
        return [(one.partition.removeprefix("calls/"), one.other.model) for one in found]

    everything = [("a/1.wav", "large"), ("a/1.wav", "tiny"), ("a/2.wav", "large"), ("a/2.wav", "tiny")]
    assert compared() == everything  # of the source
    assert compared(limit=3) == everything[:3]
    assert compared(model="tiny") == everything[1::2]
    assert compared(bucket="calls", prefix="b/") == [("b/3.wav", "large"), ("b/3.wav", "tiny")]


def test_versions_when_a_language_does_not_part_its_words_then_characters_are_compared(services: Services) -> None:
    partition = add_object(services, "a/1.wav")
    add_version(services, partition, "base", "駅を出ます。", current=True, language="ja")
    add_version(services, partition, "large", "駅に出ます。", language="ja")
    [found] = compare_versions(services)
    assert (found.changed, found.words) == (1, 5)


def test_versions_when_one_says_nothing_then_every_word_of_the_other_counts(services: Services) -> None:
    partition = add_object(services, "a/1.wav")
    add_version(services, partition, "base", "", current=True)
    add_version(services, partition, "large", "five words came of it")
    [found] = compare_versions(services)
    assert (found.changed, found.words, found.rate) == (5, 0, 5.0)


def test_summary_when_objects_are_long_and_short_then_each_word_and_second_weighs_the_same() -> None:
    base, large = summarize(
        [
            difference("calls/1", changed=1, words=10, confidence=0.8, cpu_seconds=10, duration_seconds=10),
            difference("calls/2", changed=0, words=90, confidence=0.9, cpu_seconds=20, duration_seconds=90),
        ]
    )
    assert (base.model, base.word_difference) == ("base", None)
    assert (large.model, large.word_difference, large.cpu_factor) == ("large", 0.01, 0.3)


def test_report_when_sounds_were_known_then_shows_no_cost() -> None:
    cached = difference(cpu_seconds=0, engine_seconds=0.01)
    assert (cached.other.cpu_factor, cached.other.real_time_factor) == (None, None)
    assert "0.400 → –" in to_markdown([cached], "http://api")


def test_report_when_written_then_shows_models_and_links_and_the_most_different_object_first() -> None:
    report = to_markdown([difference("calls/1", changed=1), difference("calls/2", changed=5)], "http://api")
    assert "| large | 2 | 30.0% | 0.900 | 0.400 | 0.200 |" in report
    assert report.index("calls\\/2") < report.index("calls\\/1")
    assert "[large](http://api/api/v1/tasks/new2/result?format=text)" in report


def test_report_when_a_key_is_markup_then_shows_it_as_it_is() -> None:
    key = "a|b <img src=x>\n[x](http://evil) `c`.wav"
    report = to_markdown([difference(key)], "http://api")
    assert r"a\|b \<img src\=x\> \[x\]\(http\:\/\/evil\) \`c\`\.wav" in report
    assert escape("ü 日本") == "ü 日本"


def test_plot_when_made_then_is_an_image_with_each_model_and_nothing_from_elsewhere() -> None:
    image = plot([difference("calls/1"), difference("calls/2", cpu_seconds=0)])
    drawn = ElementTree.fromstring(image)
    texts = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"base", "large"} <= texts
    assert b"href" not in image and b"src=" not in image
