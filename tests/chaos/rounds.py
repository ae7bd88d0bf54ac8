"""One round: a stream of recordings, one kill, and the wait until nothing is left to complain of."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

import httpx
import psutil
from pydantic import BaseModel

from stt_core.errors import SttError
from stt_core.jobs.job import JobModel, JobStatus
from tests.chaos.faults import PARTS, Fault, find_victim, kill
from tests.chaos.invariants import Text, transcript_of, violations
from tests.chaos.stack import ChaosStack
from tests.system.conftest import DATA

#: A round takes no longer, seconds; what does not hold by then is a violation.
ROUND_SECONDS = 60.0
#: What is sent in a round, 10 to 18 s each; the run of the first, the longest, has step processes.
RECORDINGS = ("call.ogg", "sample-01.mp3", "sample-04.m4a", "sample-08.ogg")
#: How long a busy machine may need for the undisturbed run, seconds.
_REFERENCE_SECONDS = 180.0
#: The uploads of a round begin within so many seconds, and so does the kill.
_STREAM_SECONDS, _KILL_SECONDS = 5.0, 9.0
#: A process that comes and goes is killed within so many seconds of its birth: about as long as it lives.
_LINGER_SECONDS = {Fault.RUN_WORKER: 6.0, Fault.STEP: 1.5, Fault.WHISPER: 0.8}
_POLL_SECONDS = 0.25
_RETRY_SECONDS = 0.5


class RoundReport(BaseModel):
    """What a round was and what came of it. Durations in seconds."""

    seed: int
    fault: Fault
    #: From the first upload to the kill; None where nothing of that kind ran.
    kill_seconds: float | None = None
    #: Where the round's jobs stood when the process was killed.
    stages: dict[str, int] = {}
    uploads: int = 0
    #: Uploads that got no answer, or 503, and were sent again.
    refused: int = 0
    completed: int = 0
    #: Reasons of the jobs that failed.
    failed: list[str] = []
    attempts: list[int] = []
    #: From the kill until the killed part is ready again.
    ready_seconds: float | None = None
    #: From the kill until that, and every job that was accepted before it is finished.
    recovery_seconds: float | None = None
    #: From the kill until everything that must hold at the end holds.
    clean_seconds: float | None = None
    round_seconds: float = 0.0
    #: The machine's load average over the last minute: what a slow round may be put down to.
    load: float = 0.0
    violations: list[str] = []


@dataclass
class _Stream:
    """Clients that upload, and send again what was not accepted."""

    stack: ChaosStack
    accepted: set[str] = field(default_factory=set)
    refused: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def upload(self, name: str, at: float, deadline: float) -> None:
        """Send a recording at a moment, and again until it is accepted. Moments of `time.monotonic`."""
        content = (DATA / name).read_bytes()
        time.sleep(max(0.0, at - time.monotonic()))
        while time.monotonic() < deadline:
            try:
                answer = self.stack.upload(name, content)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 202:
                with self._lock:
                    self.accepted.add(answer.json()["job_id"])
                return
            if answer is not None and answer.status_code != 503:
                raise AssertionError(f"{name} was answered with {answer.status_code}: {answer.text}")
            with self._lock:
                self.refused += 1
            time.sleep(_RETRY_SECONDS)


def expected_transcripts(stack: ChaosStack, recordings: Sequence[str] = RECORDINGS) -> dict[str, Text]:
    """Return the transcript of each recording of an undisturbed run, by file name."""
    jobs = {name: stack.upload(name, (DATA / name).read_bytes()).json()["job_id"] for name in recordings}
    deadline = time.monotonic() + _REFERENCE_SECONDS
    while unfinished := [name for name, job_id in jobs.items() if stack.status(job_id)["status"] != "completed"]:
        if time.monotonic() > deadline:
            raise AssertionError(f"Undisturbed, {unfinished} were not transcribed within {_REFERENCE_SECONDS} s")
        time.sleep(_POLL_SECONDS)
    return {name: transcript_of(stack, job_id) for name, job_id in jobs.items()}


def play(
    stack: ChaosStack, seed: int, fault: Fault, expected: Mapping[str, Text], *, most_seconds: float = ROUND_SECONDS
) -> RoundReport:
    """Play the round of a seed, with the recordings of `expected`, on a stack at rest, and report it."""
    random = Random(seed)
    names = random.sample(list(expected), len(expected))
    uploads = [(name, 0.0 if number == 0 else random.uniform(0, _STREAM_SECONDS)) for number, name in enumerate(names)]
    moment, linger = random.uniform(0, _KILL_SECONDS), random.uniform(0, _LINGER_SECONDS.get(fault, 0.0))

    services = stack.services
    services.store.remove_prefix("chunks/")  # nothing is transcribed beforehand
    latest = max((job.job_id for job in services.jobs.list_jobs(limit=1).jobs), default="")
    report = RoundReport(seed=seed, fault=fault, uploads=len(uploads))
    stream = _Stream(stack)
    begin = time.monotonic()
    deadline = begin + most_seconds
    with ThreadPoolExecutor(len(uploads)) as clients:
        sent = [clients.submit(stream.upload, name, begin + at, deadline) for name, at in uploads]
        time.sleep(moment)
        victim = find_victim(stack, fault, linger=linger, deadline=deadline)
        before, affected = _jobs_since(stack, latest), stream.accepted.copy()
        has_struck = fault is Fault.NONE or (victim is not None and kill(victim))
        killed = time.monotonic()
        if has_struck:
            report.kill_seconds = killed - begin
            report.stages = dict(Counter(str(job.stage or job.status) for job in before))
        part = PARTS.get(fault)
        while True:
            try:
                jobs = _jobs_since(stack, latest)
                report.violations = violations(stack, stream.accepted, jobs, expected)
            except SttError as error:
                jobs, report.violations = [], [f"a server is away: {error}"]
            if not all(one.done() for one in sent):
                report.violations.append("a client still tries to upload")
            elapsed = time.monotonic() - killed
            if report.ready_seconds is None and part and _is_ready_again(stack, part, victim):
                report.ready_seconds = elapsed
            is_ready = part is None or report.ready_seconds is not None
            finished = {job.job_id for job in jobs if job.status.is_final}
            if has_struck and report.recovery_seconds is None and is_ready and affected <= finished:
                report.recovery_seconds = elapsed
            if not report.violations:
                report.clean_seconds = elapsed
                break
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
        for one in sent:
            if problem := one.exception():
                report.violations.append(str(problem))
    report.round_seconds = time.monotonic() - begin
    report.load = os.getloadavg()[0]
    report.refused = stream.refused
    report.completed = sum(job.status is JobStatus.COMPLETED for job in jobs)
    report.failed = [job.error.kind if job.error else "" for job in jobs if job.status is JobStatus.FAILED]
    report.attempts = [job.attempt for job in jobs]
    return report


def _jobs_since(stack: ChaosStack, latest: str) -> list[JobModel]:
    """Return the jobs created after a job; ids sort by age."""
    return [job for job in stack.services.jobs.list_jobs(limit=50).jobs if job.job_id > latest]


def _is_ready_again(stack: ChaosStack, part: str, victim: psutil.Process | None) -> bool:
    state = stack.parts[part]
    return bool(state["ready"]) and (victim is None or state["pid"] != victim.pid)
