"""What must hold when a round is over, whatever was killed in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import psutil

from stt_core import object_keys
from stt_core.errors import SttError
from stt_core.jobs.job import JobModel, JobStatus
from stt_core.retention import sweep
from stt_core.transcript.formats import FORMATS
from tests.chaos.stack import ChaosStack
from tests.core.jobs.conftest import count_leases

#: So much may the times of words, and other figures, differ between two hearings of the same sound.
_SECONDS, _ROUNDING = 0.25, 0.01
#: A transcript without what names its job.
Text = Mapping[str, Any]


def transcript_of(stack: ChaosStack, job_id: str) -> Text:
    """Return what a client gets, without the job's name."""
    transcript: dict[str, Any] = stack.client.get(f"/api/v1/tasks/{job_id}/result").raise_for_status().json()
    del transcript["job_id"]
    return transcript


def alike(one: Any, other: Any, name: str = "") -> bool:
    """Say whether two transcripts have the same words, and times and figures but for what rounding makes of these.

    An engine has as many threads as there are cores free for it, and sums come out otherwise with another number of
    them: in the fifth digit of a probability, and by that in the time of a word, which whisper.cpp guesses.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key], key) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(alike(*pair, name) for pair in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= (_SECONDS if name in ("start", "end") else _ROUNDING)
    return bool(one == other)


def violations(stack: ChaosStack, accepted: set[str], jobs: list[JobModel], expected: Mapping[str, Text]) -> list[str]:
    """Return what does not hold, as sentences; empty when everything does.

    Args:
        stack: The system.
        accepted: The jobs that clients were told of.
        jobs: Every job of the round in MongoDB: more than `accepted` where an answer was lost.
        expected: The transcript of each recording of an undisturbed run, by file name.
    """
    try:
        # While jobs are on their way, nothing else is at rest.
        return [*_unfinished(stack, accepted, jobs)] or [
            *_wrong_transcripts(stack, jobs, expected),
            *_left_in_servers(stack, jobs),
            *_left_on_this_host(stack),
        ]
    except (SttError, httpx.HTTPError) as error:
        return [f"a server is away: {error}"]


def _unfinished(stack: ChaosStack, accepted: set[str], jobs: list[JobModel]) -> Iterator[str]:
    for name, part in stack.parts.items():
        if not part["ready"]:
            yield f"{name} is not ready"
    for job_id in accepted - {job.job_id for job in jobs}:
        yield f"job {job_id} was accepted and is gone"
    for job in jobs:
        if job.status is JobStatus.PENDING and job.job_id not in accepted:
            continue  # the API died in the middle of the upload: the reconciler ends it after an hour
        if not job.status.is_final:
            yield f"job {job.job_id} is {job.status} ({job.stage}) in attempt {job.attempt}"
        if job.status is JobStatus.FAILED and not (job.error and job.error.kind and job.error.message):
            yield f"job {job.job_id} failed without a reason"
        if job.status is JobStatus.CANCELLED:
            yield f"job {job.job_id} is cancelled, which nobody asked for"


def _wrong_transcripts(stack: ChaosStack, jobs: list[JobModel], expected: Mapping[str, Text]) -> Iterator[str]:
    for job in jobs:
        if job.status is JobStatus.COMPLETED and not alike(transcript_of(stack, job.job_id), expected[job.filename]):
            yield f"job {job.job_id}: another transcript of {job.filename} than undisturbed"


def _left_in_servers(stack: ChaosStack, jobs: list[JobModel]) -> Iterator[str]:
    services = stack.services
    if waiting := services.queue.members():
        yield f"Redis still holds {sorted(waiting)}"
    if leased := count_leases(services.queue):
        yield f"Redis still holds {leased} leases"
    if signs := services.heartbeats.signs():
        yield f"MongoDB still holds signs of life of {sorted(signs)}"
    yield from stack.unfinished_runs()
    sweep(services)  # what the schedule does every night
    stored = {key for area in object_keys.OF_JOBS for key in services.store.list_keys(area)}
    for job in jobs:
        of_job = {key for key in stored if object_keys.job_of(key) == job.job_id}
        source = {job.source.key} if job.source else set()
        results = {object_keys.transcript(job.result.prefix, name) for name in FORMATS} if job.result else set()
        if job.status is JobStatus.COMPLETED and of_job != source | results:
            yield f"job {job.job_id} has the objects {sorted(of_job)}, its results are {sorted(results)}"


def _left_on_this_host(stack: ChaosStack) -> Iterator[str]:
    parts = {name: part["pid"] for name, part in stack.parts.items()}
    expected = {*parts.values(), *_children(parts["code"])}  # the code server has two to fork runs by
    for pid, command in stack.marked_processes().items():
        if pid not in expected:
            yield f"process {pid} is left over: {command[:120]}"
    folders = sorted(stack.temporary.iterdir())
    if len(folders) > 1:  # one is the code server's
        yield f"{folders} are left over"


def _children(pid: int) -> set[int]:
    try:
        return {child.pid for child in psutil.Process(pid).children()}
    except psutil.NoSuchProcess:  # killed, and not started again yet
        return set()
