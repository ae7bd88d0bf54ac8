"""Signs of life on a real MongoDB, and what an observer makes of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stt_core.jobs.heartbeats import Heartbeats, has_stood_still, observe, observe_runs
from stt_core.jobs.job import JobModel, JobOptions, JobStatus
from stt_core.settings import Settings
from stt_core.stores.database import Database
from tests.conftest import wait_until


def _processing(run_id: str, version: int = 1) -> JobModel:
    options = JobOptions(model="demo")
    return JobModel(filename="a.wav", options=options, status=JobStatus.PROCESSING, run_id=run_id, version=version)


def test_beating_when_the_block_is_left_stops(database: Database, settings: Settings) -> None:
    heartbeats = Heartbeats(database, settings.model_copy(update={"run_silence_seconds": 0.12}))
    seen: set[str] = set()

    def third() -> bool:
        seen.update(heartbeats.signs().values())
        return len(seen) >= 3

    with heartbeats.beating("run-1"):
        wait_until(third, "three signs of life")
    heartbeats.forget(["run-1"])

    assert heartbeats.signs() == {}  # nobody beats any more


def test_beating_when_mongodb_is_away_lets_the_block_run(settings: Settings) -> None:
    away = Database(
        settings.model_copy(update={"mongodb_url": "mongodb://127.0.0.1:9", "mongodb_timeout_seconds": 0.1})
    )

    with Heartbeats(away, settings.model_copy(update={"run_silence_seconds": 0.12})).beating("run-1"):
        passed = True

    assert passed
    away.close()


def test_observe_runs_when_a_run_beats_or_writes_to_its_job_starts_counting_again(
    database: Database, settings: Settings
) -> None:
    heartbeats = Heartbeats(database, settings)
    for run_id in ("silent", "beating", "writing", "of no job"):
        heartbeats.beat(run_id)
    seen = observe_runs([_processing("silent"), _processing("beating"), _processing("writing")], heartbeats, {})
    heartbeats.beat("beating")

    seen = observe_runs([_processing("silent"), _processing("beating"), _processing("writing", 2)], heartbeats, seen)

    assert {run_id: observation.looks for run_id, observation in seen.items()} == {
        "silent": 2, "beating": 1, "writing": 1,
    }  # fmt: skip
    assert set(heartbeats.signs()) == {"silent", "beating", "writing"}


@given(silence=st.floats(0.1, 600), every=st.integers(1, 60))
def test_has_stood_still_when_that_long_has_passed_and_not_before(silence: float, every: int) -> None:
    settings = Settings.model_validate({"RECONCILE_SECONDS": every})
    seen = observe({"run": "same"}, {})
    looks = 1
    while not has_stood_still(seen["run"], silence, settings):
        seen = observe({"run": "same"}, seen)
        looks += 1

    assert silence <= (looks - 1) * every < max(silence, every) + every
