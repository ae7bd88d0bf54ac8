"""Partition keys: any key of an object, there and back, in a form that Dagster takes and people can read."""

from __future__ import annotations

import pytest
from dagster._core.definitions.partitions.utils.base import raise_error_on_invalid_partition_key_substring
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stt_core.backfill.partitions import partition_key, split_partition_key

#: What a key can hold: any UTF-8, and more often than by chance what Dagster refuses and what we escape with.
_KEYS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(".%/2E\x00\n\t\x7f")), min_size=1, max_size=60)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(key=_KEYS)
@example(key="....")
@example(key=".....wav")
@example(key="%2E%25%")
@example(key="..%2E")
def test_partition_key_when_split_then_it_gives_the_object_back(key: str) -> None:
    partition = partition_key("calls", key)

    assert split_partition_key(partition) == ("calls", key)
    raise_error_on_invalid_partition_key_substring([partition])
    assert not any(character < " " or character == "\x7f" for character in partition)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(keys=st.lists(_KEYS, min_size=2, max_size=2, unique=True))
def test_partition_key_when_keys_differ_then_so_do_the_partitions(keys: list[str]) -> None:
    assert partition_key("calls", keys[0]) != partition_key("calls", keys[1])


@pytest.mark.parametrize(
    "key", ["2026/05/call 1.wav", "Grüße/日本.mp3", 'it\'s "quoted", [a]|b.wav', "a..b.wav", "😀.ogg"]
)
def test_partition_key_when_people_can_read_the_key_then_it_is_the_key(key: str) -> None:
    assert partition_key("calls", key) == f"calls/{key}"


@pytest.mark.parametrize(
    ("key", "encoded"), [("50%.wav", "50%25.wav"), ("a\tb", "a%09b"), ("a...b", "a..%2Eb"), ("......", "..%2E..%2E")]
)
def test_partition_key_when_dagster_refuses_it_then_that_is_percent_encoded(key: str, encoded: str) -> None:
    assert partition_key("calls", key) == f"calls/{encoded}"
