"""Loops are told from what people do say twice."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_core.transcript.repetition import Repetition, find_repetitions


def found(text: str) -> list[tuple[str, int]]:
    words = text.split()
    return [(" ".join(words[loop.start : loop.end]), loop.period) for loop in find_repetitions(words)]


def test_repetition_when_the_decoder_jumps_back_then_is_found() -> None:
    text = "The train leaves the city at ten thirty five in the city at ten thirty five in the morning."
    assert found(text) == [("the city at ten thirty five in the city at ten thirty five in the", 7)]


@pytest.mark.parametrize(
    ("text", "period"),
    [("no " * 6, 1), ("Thank you. " * 4, 2), ("you know what " * 3, 3), ("I do not know " * 3, 4)],
)
def test_repetition_when_a_short_phrase_comes_often_then_is_found(text: str, period: int) -> None:
    assert [one.period for one in find_repetitions(text.split())] == [period]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no no no",
        "my number is eight one eight one eight one",
        "Please take the small bag and take the red door.",
        "bye bye, thank you, thank you very much",
        "one two three four five six seven eight nine ten",
    ],
)
def test_repetition_when_people_talk_like_that_then_is_not_found(text: str) -> None:
    assert find_repetitions(text.split()) == []


@given(st.lists(st.sampled_from("abcdef"), max_size=80))
def test_repetitions_are_in_order_apart_and_true(words: list[str]) -> None:
    loops = find_repetitions(words)
    for loop in loops:
        assert all(words[i] == words[i + loop.period] for i in range(loop.start, loop.end - loop.period))
    assert all(before.end <= after.start for before, after in pairwise(loops))


@given(st.lists(st.integers(), min_size=5, max_size=20, unique=True), st.integers(2, 4))
def test_repetition_of_a_whole_phrase_is_found_whole(phrase: list[int], times: int) -> None:
    words = [f"w{number}" for number in phrase] * times
    assert find_repetitions(words) == [Repetition(0, len(words), len(phrase))]
