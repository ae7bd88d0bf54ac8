"""What the schedule of the system calls by name is there under that name, also where only a user's code calls it."""

from __future__ import annotations

import pytest

from stt_core.jobs.chunks import ChunkModel
from stt_core.jobs.job import JobCreate, JobModel, JobStatus, JobUpdate
from stt_core.jobs.queue import JobQueue
from stt_core.jobs.repository import JobRepository
from stt_core.tasks.service import JobService
from stt_core.tasks.submission import Submissions


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (JobRepository, "create_job get_job update_job update_status get_pending_jobs delete_job"),
        (JobQueue, "enqueue statistics position"),
        (Submissions, "create_task"),
        (JobService, "get_task_status get_task_result"),
    ],
)
def test_method_when_the_schedule_names_it_then_it_is_there(owner: type, names: str) -> None:
    assert [name for name in names.split() if not callable(getattr(owner, name, None))] == []


@pytest.mark.parametrize("model", [ChunkModel, JobModel, JobCreate, JobUpdate, JobStatus])
def test_model_when_the_schedule_names_it_then_it_says_what_it_is(model: type) -> None:
    assert model.__doc__
