"""What a run shows of its job in the Dagster UI."""

from __future__ import annotations

import io

from dagster import MetadataValue

from stt_core.services import Services
from stt_dagster.tags import run_tags
from tests.dagster.conftest import DATA, RunJob, Upload

NAME = "Gespräch 日本 [b](javascript:x) <i>.mp3"


def test_run_when_it_published_shows_the_figures_and_links_that_a_browser_can_open(
    services: Services, upload: Upload, run_job: RunJob
) -> None:
    job_id = upload("sample-01.mp3")
    result = run_job(job_id)
    [output] = [event for event in result.all_node_events if event.is_successful_output and event.step_key == "publish"]
    shown = dict(output.step_output_data.metadata)
    task = f"{services.settings.api_url}/api/v1/tasks/{job_id}"
    assert (shown["transcript"], shown["job"]) == (MetadataValue.url(f"{task}/result"), MetadataValue.url(task))
    transcript = services.tasks.get_task_result(job_id)
    assert shown["preview"] == MetadataValue.text(transcript.text[:200])  # plain: nothing in it is rendered
    figures = {name: shown[name].value for name in ("duration_seconds", "words", "chunks", "language")}
    assert figures == {
        "duration_seconds": round(transcript.duration_seconds, 3),
        "words": transcript.statistics.words,
        "chunks": 1,
        "language": "en",
    }
    factor = shown["real_time_factor"].value
    assert isinstance(factor, float) and factor > 0


def test_tags_when_the_file_name_is_odd_hold_it_as_it_is(services: Services, run_job: RunJob) -> None:
    data = (DATA / "sample-01.mp3").read_bytes()
    job_id = services.submissions.create_task(io.BytesIO(data), filename=NAME, size_bytes=len(data)).job.job_id
    result = run_job(job_id)
    tags = run_tags(services.jobs.get_job(job_id))
    assert tags["stt/file"] == NAME
    assert {name: result.dagster_run.tags[name] for name in tags} == tags
