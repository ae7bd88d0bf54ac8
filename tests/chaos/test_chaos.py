"""A few rounds of chaos for every run of the tests; `make chaos` plays the long ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.chaos.faults import Fault
from tests.chaos.invariants import Text
from tests.chaos.rounds import RECORDINGS, expected_transcripts, play
from tests.chaos.stack import ChaosStack, running_chaos_stack

#: Other tests run beside it.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChaosStack]:
    with running_chaos_stack(tmp_path_factory.mktemp("chaos")) as running:
        yield running


@pytest.fixture(scope="module")
def expected(stack: ChaosStack) -> Mapping[str, Text]:
    return expected_transcripts(stack, RECORDINGS[:2])


@pytest.mark.parametrize(
    ("seed", "fault"),
    [(4, Fault.RUN_WORKER), (5, Fault.CODE), (7, Fault.MONGO)],
    ids=lambda value: str(value).replace(" ", "-"),
)
def test_round_when_a_process_is_killed_loses_nothing(
    stack: ChaosStack, expected: Mapping[str, Text], seed: int, fault: Fault
) -> None:
    report = play(stack, seed, fault, expected, most_seconds=200)
    assert report.kill_seconds is not None, "nothing was killed"
    assert not report.violations, f"{report} ({stack.home / 'stack.log'})"
    assert report.completed >= report.uploads
