"""The merge by property: random plans and words, and what must hold whatever they are.

A recording is a list of distinct words with their times. A plan cuts it into chunks (packed spans, or overlapping fixed
cuts), a perfect engine hears in each chunk the words that lie in it, and the merge must give the recording back.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span
from stt_core.transcript.document import ChunkSegment, ChunkTranscript, Transcript, Word
from stt_core.transcript.merging import merge_chunks

MS = SAMPLE_RATE // 1000


@dataclass(frozen=True)
class Spoken:
    """A word of the recording, times in milliseconds of the source."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Case:
    chunks: list[Chunk]
    transcripts: dict[int, ChunkTranscript]
    words: list[Spoken]
    duration_ms: int


def hear(chunk: Chunk, words: list[Spoken], per_line: int) -> ChunkTranscript:
    """A perfect engine: the words that lie wholly in a span of the chunk, a few to a line."""
    heard = []
    for begin, span in chunk.pieces():
        for word in words:
            if span.start <= word.start * MS and word.end * MS <= span.end:
                shift = (begin - span.start) / SAMPLE_RATE
                heard.append(
                    Word(start=word.start / 1000 + shift, end=word.end / 1000 + shift, text=word.text, probability=0.5)
                )
    lines = [heard[position : position + per_line] for position in range(0, len(heard), per_line)]
    return ChunkTranscript(
        language="en",
        segments=[
            ChunkSegment(start=line[0].start, end=line[-1].end, text=" ".join(word.text for word in line), words=line)
            for line in lines
        ],
    )


def merge(case: Case) -> Transcript:
    return merge_chunks("j", case.chunks, case.transcripts, duration_seconds=case.duration_ms / 1000, model="m")


@st.composite
def packed(draw: st.DrawFn) -> Case:
    """Spans of speech between silences, packed a few to a chunk."""
    joint = draw(st.sampled_from([0, 200])) * MS
    position, spans, words = 0, [], []
    for _ in range(draw(st.integers(1, 12))):
        start = position = position + draw(st.integers(1, 5000))
        for length, pause in draw(st.lists(st.tuples(st.integers(50, 900), st.integers(0, 400)), max_size=6)):
            words.append(Spoken(position, position + length, f"w{len(words)}"))
            position += length + pause
        position += draw(st.integers(1, 300))
        spans.append(Span(start=start * MS, end=position * MS))
    chunks: list[Chunk] = []
    while spans:
        taken = draw(st.integers(1, 4))
        chunks.append(Chunk(index=len(chunks), spans=tuple(spans[:taken]), joint=joint))
        spans = spans[taken:]
    per_line = draw(st.integers(1, 8))
    transcripts = {chunk.index: hear(chunk, words, per_line) for chunk in chunks}
    return Case(draw(st.permutations(chunks)), transcripts, words, position + draw(st.integers(0, 1000)))


@st.composite
def overlapping(draw: st.DrawFn) -> Case:
    """Speech without a pause, in fixed chunks of 10 s that share 2 s."""
    position, words = 0, []
    for length, pause in draw(st.lists(st.tuples(st.integers(80, 900), st.integers(0, 300)), min_size=5, max_size=60)):
        words.append(Spoken(position, position + length, f"w{len(words)}"))
        position += length + pause
    chunks: list[Chunk] = []
    start = 0
    while not chunks or chunks[-1].spans[-1].end < position * MS:
        span = Span(start=start * MS, end=min(start + 10_000, position) * MS)
        chunks.append(Chunk(index=len(chunks), spans=(span,), overlaps_previous=bool(chunks)))
        start += 8000
    per_line = draw(st.integers(1, 12))
    transcripts = {chunk.index: hear(chunk, words, per_line) for chunk in chunks}
    return Case(chunks, transcripts, words, position)


@settings(max_examples=150, deadline=None)
@given(st.one_of(packed(), overlapping()))
def test_merge_when_the_engine_hears_perfectly_then_every_word_is_there_once_in_order_and_on_time(case: Case) -> None:
    merged = merge(case)
    heard = [word for segment in merged.segments for word in segment.words]
    assert [word.text for word in heard] == [word.text for word in case.words]
    assert merged.text.split() == [word.text for word in case.words]
    assert all(
        abs(word.start * 1000 - truth.start) <= 1 and abs(word.end * 1000 - truth.end) <= 1
        for word, truth in zip(heard, case.words, strict=True)
    )
    doubled = sum(len(segment.words) for text in case.transcripts.values() for segment in text.segments)
    assert merged.statistics.duplicate_words_removed == doubled - len(case.words)


@settings(max_examples=100, deadline=None)
@given(overlapping(), st.randoms(use_true_random=False))
def test_merge_when_one_chunk_mishears_then_no_word_is_lost_and_unmatched_ones_stay(case: Case, random: object) -> None:
    choose = random.random  # type: ignore[attr-defined]
    for text in case.transcripts.values():
        for segment in text.segments:
            for word in segment.words:
                if choose() < 0.2:
                    word.text = f"x{word.text}"
            segment.text = " ".join(word.text for word in segment.words)
    said = {word.text for text in case.transcripts.values() for segment in text.segments for word in segment.words}
    merged = merge(case)
    assert set(merged.text.split()) == said
    assert len(merged.text.split()) == len(said)


times = st.floats(-1, 40, allow_nan=False)
noisy_words = st.builds(
    Word, start=times, end=times, text=st.text("ab .", max_size=4), probability=st.floats(0, 1, allow_nan=False)
)
noisy_segments = st.builds(
    ChunkSegment, start=times, end=times, text=st.text("ab .\n", max_size=12), words=st.lists(noisy_words, max_size=6)
)
noise = st.builds(
    ChunkTranscript, language=st.sampled_from(["en", "de"]), segments=st.lists(noisy_segments, max_size=6)
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(packed(), overlapping()), st.data())
def test_merge_when_the_engine_gives_any_times_then_they_are_monotonic_and_in_heard_audio(
    case: Case, data: st.DataObject
) -> None:
    noisy = {chunk.index: data.draw(noise) for chunk in case.chunks}
    merged = merge(Case(case.chunks, noisy, case.words, case.duration_ms))
    assert all(0 <= segment.start <= segment.end <= case.duration_ms / 1000 for segment in merged.segments)
    assert all(before.end <= after.start for before, after in pairwise(merged.segments))
    for segment in merged.segments:
        edges = [segment.start, *(time for word in segment.words for time in (word.start, word.end)), segment.end]
        assert edges == sorted(edges)
        assert segment.text == " ".join(segment.text.split()) != ""
    heard = [(span.start, span.end) for chunk in case.chunks for span in chunk.spans]
    limit = case.duration_ms * MS
    for segment in merged.segments:
        for time in (segment.start, segment.end):
            sample = time * SAMPLE_RATE
            assert any(start - MS <= sample <= end + MS for start, end in heard) or sample >= limit - MS
