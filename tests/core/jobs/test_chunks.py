"""The contract of the repository's chunks, proved on every database that stands behind it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from stt_core.errors import ConflictError, SupersededError
from stt_core.jobs.chunks import ChunkRepository
from stt_core.jobs.job import ChunkModel, ChunkStatus, JobError, Progress
from stt_core.jobs.repository import JobRepository


def _plan(job_id: str, count: int, attempt: int = 1) -> list[ChunkModel]:
    return [
        ChunkModel(
            chunk_id=f"{job_id}:{index}",
            job_id=job_id,
            index=index,
            attempt=attempt,
            start_seconds=index * 29.0,
            end_seconds=index * 29.0 + 29.0,
            speech_seconds=20.1,
            dbfs=-23.5,
            updated_at=datetime(2026, 3, 1, tzinfo=UTC),
        )
        for index in range(count)
    ]


def test_replace_chunks_when_a_hundred_are_planned_gives_them_back_in_order(any_chunks: ChunkRepository) -> None:
    plan = _plan("j", 100)
    any_chunks.replace_chunks("other", _plan("other", 2))

    any_chunks.replace_chunks("j", reversed(plan))

    assert any_chunks.get_chunks("j") == plan
    assert len(any_chunks.get_chunks("other")) == 2


def test_replace_chunks_when_repeated_or_planned_anew_leaves_the_latest_plan(any_chunks: ChunkRepository) -> None:
    any_chunks.replace_chunks("j", _plan("j", 5))
    any_chunks.replace_chunks("j", _plan("j", 5))
    any_chunks.replace_chunks("j", _plan("j", 3, attempt=2))

    assert any_chunks.get_chunks("j") == _plan("j", 3, attempt=2)


def test_replace_chunks_when_there_is_no_speech_leaves_none(any_chunks: ChunkRepository) -> None:
    any_chunks.replace_chunks("j", _plan("j", 5))
    any_chunks.replace_chunks("j", [])

    assert any_chunks.get_chunks("j") == []
    assert any_chunks.get_progress("j") == Progress()


def test_replace_chunks_when_a_later_attempt_has_planned_changes_nothing(any_chunks: ChunkRepository) -> None:
    any_chunks.replace_chunks("j", _plan("j", 3, attempt=2))

    with pytest.raises(ConflictError, match="j"):
        any_chunks.replace_chunks("j", _plan("j", 3, attempt=1))

    assert any_chunks.get_chunks("j") == _plan("j", 3, attempt=2)


def test_update_chunk_when_it_is_of_the_plan_writes_it_whole(any_chunks: ChunkRepository) -> None:
    plan = _plan("j", 3)
    any_chunks.replace_chunks("j", plan)
    done = plan[1].model_copy(
        update={
            "status": ChunkStatus.DONE,
            "result_key": "chunks/ab/ab.json",
            "words": 12,
            "language": "en",
            "error": JobError(kind="engine-failed", message="ü"),
        }
    )

    any_chunks.update_chunk(done)
    any_chunks.update_chunk(done)

    assert any_chunks.get_chunks("j") == [plan[0], done, plan[2]]


def test_update_chunk_when_another_attempt_has_planned_is_superseded(any_chunks: ChunkRepository) -> None:
    any_chunks.replace_chunks("j", _plan("j", 2, attempt=2))

    with pytest.raises(SupersededError, match="j:1"):
        any_chunks.update_chunk(_plan("j", 2, attempt=1)[1])

    assert any_chunks.get_chunks("j") == _plan("j", 2, attempt=2)


def test_get_progress_when_workers_finish_chunks_at_once_counts_each(any_chunks: ChunkRepository) -> None:
    plan = _plan("j", 40)
    any_chunks.replace_chunks("j", plan)
    finished = [chunk.model_copy(update={"status": ChunkStatus.DONE}) for chunk in plan[:25]]
    failed = plan[39].model_copy(update={"status": ChunkStatus.FAILED})

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(any_chunks.update_chunk, [*finished, failed]))

    assert any_chunks.get_progress("j") == Progress(
        chunks_done=25, chunks_total=40, audio_seconds_done=502.5, audio_seconds_total=804.0
    )


def test_get_progress_when_nothing_is_planned_is_zero(any_chunks: ChunkRepository) -> None:
    assert any_chunks.get_progress("nobody") == Progress()


def test_delete_job_takes_its_chunks_and_no_others(any_jobs: JobRepository, any_chunks: ChunkRepository) -> None:
    any_chunks.replace_chunks("j", _plan("j", 2))
    any_chunks.replace_chunks("other", _plan("other", 2))

    any_jobs.delete_job("j")

    assert any_chunks.get_chunks("j") == []
    assert len(any_chunks.get_chunks("other")) == 2
