"""What is told of the cost of processes, and of several runs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from real import Run, medians, run_measured, turn
from watching import EngineWatch, await_no_engine

#: Holds so many MB and takes so many CPU seconds; its command line is that of an engine where the third word says so.
BURN = """
import sys, time
held = bytearray(int(sys.argv[1]) * 1_000_000)
while time.process_time() < float(sys.argv[2]):
    held[::4096] = held[::4096]
"""


def burn(megabytes: int, seconds: float, name: str) -> list[str]:
    return [sys.executable, "-c", BURN, str(megabytes), str(seconds), name]


def test_watch_when_engines_and_others_run_then_it_tells_what_the_engines_took() -> None:
    await_no_engine()  # one that another test left warm
    with EngineWatch() as watch:
        others = subprocess.Popen(burn(300, 1.5, "something"))
        engine = subprocess.Popen(burn(100, 1.5, "whisper-cli"))
        assert engine.wait() == others.wait() == 0
    assert 0.7 <= watch.cpu_seconds <= 1.6
    assert 100 <= watch.peak_mb <= 200


def test_watch_when_an_engine_was_there_before_then_only_what_it_took_since_counts() -> None:
    with EngineWatch() as first:
        engine = subprocess.Popen(burn(10, 2.0, "whisper-cli"))
        while first.cpu_seconds < 1.0:
            assert engine.poll() is None
        with EngineWatch() as second:
            engine.wait()
    assert second.cpu_seconds <= 1.1 < first.cpu_seconds


def test_run_measured_then_it_tells_the_cpu_and_the_memory_of_that_process() -> None:
    wall, cpu, peak_mb = run_measured(burn(400, 0.6, "something"))
    assert wall >= 0.5 and cpu == pytest.approx(0.6, abs=0.3)
    assert 400 <= peak_mb <= 600


def test_run_measured_when_the_program_fails_then_so_does_it() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_measured([sys.executable, "-c", "raise SystemExit(3)"])


def test_turn_when_runs_go_on_then_each_is_first_once() -> None:
    names = ["system", "whole", "peer"]
    assert [turn(names, number)[0] for number in range(4)] == ["system", "whole", "peer", "system"]
    assert all(sorted(turn(names, number)) == sorted(names) for number in range(4))


def test_medians_when_runs_are_three_then_an_outlier_is_none_and_ratios_are_those_of_the_system() -> None:
    walls = {"system": (20.0, 21.0, 90.0), "peer": (30.0, 42.0, 43.0)}
    runs = [
        Run("dense", system, number, {"wall": wall, "cpu": 2 * wall})
        for system, told in walls.items()
        for number, wall in enumerate(told)
    ]
    found = medians(runs)["dense"]
    assert (found["system"]["wall"], found["peer"]["wall"], found["peer"]["cpu"]) == (21.0, 42.0, 84.0)
    assert (found["system"]["wall_ratio"], found["peer"]["wall_ratio"], found["peer"]["cpu_ratio"]) == (1.0, 0.5, 0.5)
