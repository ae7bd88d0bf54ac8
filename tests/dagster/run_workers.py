"""Run workers, as Dagster's code server starts them: `python -m tests.dagster.run_workers` starts one for each run id
that it reads from standard input, and answers with its process id. Everything is imported once, here.
"""

from __future__ import annotations

import os
import signal
import sys

from dagster import DagsterInstance
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._grpc.impl import core_execute_run

import stt_dagster.definitions  # noqa: F401  a worker costs a fork then


def work(run_id: str) -> None:
    with DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        repository = ReconstructableRepository.for_module("stt_dagster.definitions", "defs")
        for _ in core_execute_run(repository.get_reconstructable_job(run.job_name), run, instance, False):
            pass


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            work(line.strip())
            sys.exit(0)
        answers.write(f"{pid}\n")


if __name__ == "__main__":
    main()
