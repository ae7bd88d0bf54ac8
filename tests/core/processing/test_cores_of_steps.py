"""Steps of several recordings at once, on the cores that there are: real chunks, an engine that tells its threads."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from stt_core.audio.plan import AudioInfo, Chunk, Span
from stt_core.cores import cores_folder, lease_cores
from stt_core.engines.process import find_executable
from stt_core.engines.whisper_cpp import WhisperCpp
from stt_core.jobs.claims import Claim, ensure_claim
from stt_core.processing.handover import BatchResult, ChunkBatch, RecordingPlan
from stt_core.processing.planning import batches_of, plan_recording
from stt_core.processing.preparing import prepare_recording
from stt_core.processing.transcribing import transcribe_batch
from stt_core.services import Services
from stt_core.settings import Settings
from tests.multilingual_model import LANGUAGE, MODEL, make_multilingual_model

DATA = Path(__file__).parents[2] / "data" / "audio"
#: Of the host that the tests play.
CORES = [0, 1, 2]
#: Says with how many threads it begins, and when it is done.
ENGINE = """#!/bin/sh
for word in "$@"; do [ "$before" = -t ] && threads=$word; before=$word; done
echo "+$threads" >> {log}
{real} "$@"
code=$?
echo "-$threads" >> {log}
exit $code
"""


@dataclass(frozen=True)
class Recordings:
    """Plans recordings, and knows what the engine was called with."""

    services: Services
    log: Path

    def plan(self, name: str, *, slots: int, **options: object) -> tuple[Claim, list[ChunkBatch]]:
        """Upload a recording, claim its job, cut it up, and spread the chunks over steps."""
        data = (DATA / name).read_bytes()
        job = self.services.submissions.create_task(
            io.BytesIO(data), filename=name, size_bytes=len(data), model=MODEL, **options
        ).job  # type: ignore[arg-type]
        claim = ensure_claim(self.services.jobs, job.job_id, f"run-of-{job.job_id}", attempt=None)
        plan = plan_recording(self.services, claim, prepare_recording(self.services, claim), parallel=slots)
        return claim, batches_of(plan, slots=slots)

    def transcribe(self, claim: Claim, batch: ChunkBatch) -> BatchResult:
        """Do what the step of a batch does."""
        return transcribe_batch(self.services, claim, batch)

    @property
    def steps(self) -> list[int]:
        """By how much each begin and end of an engine changed the number of threads at work, in order."""
        return [int(line) for line in self.log.read_text().splitlines()]

    @property
    def calls(self) -> list[int]:
        """The threads of each call of the engine."""
        return [step for step in self.steps if step > 0]

    @property
    def most_threads(self) -> int:
        """How many threads were at work at the same time, at the most."""
        return max(sum(self.steps[:end]) for end in range(1, len(self.steps) + 1))


@pytest.fixture
def recordings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recordings]:
    """Recordings on a host with three cores, cut into many chunks."""
    monkeypatch.setattr(WhisperCpp, "chunks_per_call", 4)  # as of our own program, which this stands for
    for module in ("cores", "processing.texts"):
        monkeypatch.setattr(f"stt_core.{module}.usable_cores", lambda: CORES)
    engine, log = tmp_path / "engine", tmp_path / "log"
    engine.write_text(ENGINE.format(log=log, real=find_executable("stt-whisper-cli")))
    engine.chmod(0o755)
    log.touch()
    models = tmp_path / "models"
    models.mkdir()
    make_multilingual_model(models / f"ggml-{MODEL}.bin")
    changes = {
        "whisper_cpp_executable": str(engine),
        "whisper_models_dir": models,
        "chunk_max_seconds": 5.0,
        "cores_dir": tmp_path / "cores",
    }
    services = Services.open(settings.model_copy(update=changes))
    services.prepare()
    yield Recordings(services, log)
    services.close()


def test_recordings_when_two_are_transcribed_at_once_then_have_no_more_threads_than_there_are_cores(
    recordings: Recordings,
) -> None:
    planned = [
        recordings.plan(name, slots=slots, language=LANGUAGE) for name, slots in [("pauses.ogg", 2), ("noisy.ogg", 1)]
    ]
    steps = [(claim, batch) for claim, batches in planned for batch in batches]
    assert len(steps) > 2
    with ThreadPoolExecutor(len(steps)) as threads:
        results = list(threads.map(lambda step: recordings.transcribe(*step), steps))
    assert all(outcome.result_key for result in results for outcome in result.outcomes)
    assert len(recordings.calls) > len(steps)
    assert 1 < recordings.most_threads <= len(CORES)


def test_step_when_it_is_the_only_one_then_has_all_cores_and_else_its_share_a_few_chunks_at_a_time(
    recordings: Recordings,
) -> None:
    claim, [batch] = recordings.plan("noisy.ogg", slots=1, language=LANGUAGE)
    recordings.transcribe(claim, batch)
    assert recordings.calls[0] == 3
    assert len(recordings.calls) >= len(batch.chunks) / 4 > 1
    recordings.log.write_text("")
    claim, [first, _] = recordings.plan("noisy.ogg", slots=2, language=LANGUAGE, prompt="otherwise")
    recordings.transcribe(claim, first)
    assert set(recordings.calls) == {1}


def test_planning_when_the_language_is_listened_for_then_leases_cores_too(recordings: Recordings) -> None:
    with lease_cores(cores_folder(recordings.services.settings.cores_dir), 1, lane="upload"):
        recordings.plan("noisy.ogg", slots=1)
        assert recordings.calls == [2]
        recordings.plan("sample-08.ogg", slots=1)
        assert set(recordings.calls) == {2}


def test_planning_when_several_steps_will_transcribe_then_as_many_engines_listen_each_with_its_share(
    recordings: Recordings,
) -> None:
    recordings.plan("noisy.ogg", slots=2)
    assert recordings.calls == [1, 1]


def test_step_when_it_waits_for_a_core_then_that_is_not_the_engines_time(recordings: Recordings) -> None:
    claim, [batch] = recordings.plan("sample-08.ogg", slots=1, language=LANGUAGE)
    started = time.monotonic()
    with ThreadPoolExecutor(1) as threads:
        with lease_cores(cores_folder(recordings.services.settings.cores_dir), 3, lane="upload"):
            waiting = threads.submit(recordings.transcribe, claim, batch)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=3)
            assert recordings.calls == []
        engine_seconds = waiting.result(timeout=60).engine_seconds
    assert 0 < engine_seconds < time.monotonic() - started - 2


def test_batches_when_spread_then_as_many_as_can_be_run_at_once_and_the_last_are_small() -> None:
    def sizes(chunks: int, slots: int) -> list[int]:
        plan = RecordingPlan(
            job_id="j",
            tracks=[],
            audio=AudioInfo(samples=16_000, channels=1, codec="pcm"),
            chunks=[Chunk(index=index, spans=(Span(start=0, end=16_000),), joint=0) for index in range(chunks)],
            model="demo",
            model_digest="d",
            language="en",
            allow_partial=False,
        )
        batches = batches_of(plan, slots=slots)
        assert [chunk for batch in batches for chunk in batch.chunks] == plan.chunks
        assert {batch.parallel for batch in batches} <= {min(slots, len(batches))}
        return [len(batch.chunks) for batch in batches]

    assert (sizes(40, 1), sizes(0, 4), sizes(5, 2), sizes(9, 8)) == ([40], [], [3, 2], [3, 3, 3])
    assert sizes(14, 2) == [7, 7]
    assert sizes(21, 2) == [7, 7, 4, 3]
    assert sizes(128, 2) == [20, 20, 20, 20, 16, 16, 8, 8]
