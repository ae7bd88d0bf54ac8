"""The nightly sweep as Dagster runs it."""

from __future__ import annotations

from dagster import DagsterInstance, DefaultScheduleStatus, build_schedule_context

from stt_core import object_keys
from stt_core.services import Services
from tests.dagster.conftest import Transcribe


def test_schedule_when_its_tick_comes_runs_a_sweep_that_shows_what_it_did(
    services: Services, transcribe: Transcribe
) -> None:
    from stt_dagster.definitions import defs

    job_id = transcribe("sample-08.ogg")
    outputs = services.store.list_keys("runs/")
    assert outputs

    schedule = defs.resolve_schedule_def("nightly_retention")
    assert schedule.default_status is DefaultScheduleStatus.RUNNING
    with DagsterInstance.ephemeral() as instance, build_schedule_context(instance) as context:
        [request] = schedule.evaluate_tick(context).run_requests or []
        swept = defs.resolve_job_def(schedule.job_name).execute_in_process(instance=instance, tags=request.tags)

    [output] = [event for event in swept.all_node_events if event.is_successful_output]
    metadata = output.step_output_data.metadata
    assert metadata["objects_removed"].value == {"runs": len(outputs)}
    assert services.store.list_keys("runs/") == []
    job = services.jobs.get_job(job_id)
    assert job.result is not None
    assert object_keys.transcript(job.result.prefix, "json") in services.store.list_keys("results/")
