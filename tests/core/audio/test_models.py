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


@given(chunks(), st.sampled_from(["nearest", "start", "end"]))
def test_to_source_is_monotonic_and_stays_in_the_chunk(chunk: Chunk, edge: str) -> None:
    mapped = [chunk.to_source(position, edge) for position in range(-3, chunk.length + 4)]  # type: ignore[arg-type]
    assert mapped == sorted(mapped)
    assert mapped[0] == chunk.spans[0].start
    assert mapped[-1] == chunk.spans[-1].end


@given(chunks())
def test_time_map_is_exact_and_invertible_inside_spans(chunk: Chunk) -> None:
    for span in chunk.spans:
        for source in {span.start, (span.start + span.end) // 2, span.end - 1}:
            position = chunk.to_chunk(source)
            assert position is not None
            assert chunk.to_source(position) == chunk.to_source(position, "start") == source
            if source > span.start:
                assert chunk.to_source(position, "end") == source


@given(chunks())
def test_to_chunk_of_what_is_left_out_is_none(chunk: Chunk) -> None:
    held = {source for span in chunk.spans for source in range(span.start, span.end)}
    for source in range(chunk.spans[-1].end + 5):
        assert (chunk.to_chunk(source) is None) == (source not in held)


@pytest.mark.parametrize("joint", [0, 3_200])
def test_to_source_at_a_joint_follows_the_edge(joint: int) -> None:
    chunk = Chunk(index=0, spans=(Span(start=1_000, end=2_000), Span(start=50_000, end=60_000)), joint=joint)
    for position in (1_000, 1_000 + joint // 2, 1_000 + joint):
        assert chunk.to_source(position, "start") == 50_000
        assert chunk.to_source(position, "end") == 2_000
    assert chunk.to_source(1_000 + joint // 4) == (2_000 if joint else 50_000)
    assert chunk.to_source(1_000 + joint) == 50_000
