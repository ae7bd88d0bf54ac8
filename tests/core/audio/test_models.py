from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_core.audio.plan import Chunk, Span


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    position = 0
    spans = []
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 500)), min_size=1, max_size=8)):
        spans.append(Span(start=position + gap, end=position + gap + length))
        position = spans[-1].end
    return Chunk(index=0, spans=tuple(spans), joint=draw(st.integers(0, 200)))


@given(chunks(), st.sampled_from(["start", "end"]))
def test_to_source_is_monotonic_and_stays_in_the_chunk(chunk: Chunk, edge: str) -> None:
    mapped = [chunk.to_source(position, edge) for position in range(-3, chunk.length + 4)]  # type: ignore[arg-type]
    assert mapped == sorted(mapped)
    assert mapped[0] == chunk.spans[0].start
    assert mapped[-1] == chunk.spans[-1].end


@given(chunks())
def test_to_source_inside_spans_is_exact(chunk: Chunk) -> None:
    for begin, span in chunk.pieces():
        for offset in {0, span.length // 2, span.length - 1}:
            assert chunk.to_source(begin + offset, "start") == span.start + offset
            if offset:
                assert chunk.to_source(begin + offset, "end") == span.start + offset


@pytest.mark.parametrize("joint", [0, 3_200])
def test_to_source_at_a_joint_follows_the_edge(joint: int) -> None:
    chunk = Chunk(index=0, spans=(Span(start=1_000, end=2_000), Span(start=50_000, end=60_000)), joint=joint)
    for position in (1_000, 1_000 + joint // 2, 1_000 + joint):
        assert chunk.to_source(position, "start") == 50_000
        assert chunk.to_source(position, "end") == 2_000
