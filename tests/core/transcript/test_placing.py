"""Words placed by sound: by example, and by property whatever the engine says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span
from stt_core.audio.stretches import JOINT_SECONDS, Samples
from stt_core.transcript.document import ChunkSegment, ChunkTranscript, Word
from stt_core.transcript.placing import place_words
from stt_core.transcript.timeline import LEAST_SAMPLES

LEAST_SECONDS = LEAST_SAMPLES / SAMPLE_RATE
#: Seconds by which a stretch of sound may be off.
FRAME = 0.016
Timed = tuple[str, float, float]


def chunk(*spans: tuple[float, float], joint: float = 0.0) -> Chunk:
    in_samples = tuple(Span(start=round(a * SAMPLE_RATE), end=round(b * SAMPLE_RATE)) for a, b in spans)
    return Chunk(index=0, spans=in_samples, joint=round(joint * SAMPLE_RATE))


def sound(seconds: float, *loud: tuple[float, float]) -> Samples:
    """A loud noise in these seconds over a quiet one."""
    random = np.random.default_rng(1)
    level = np.full(round(seconds * SAMPLE_RATE), 10.0)
    for start, end in loud:
        level[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] = 3000
    return (random.standard_normal(len(level)) * level).clip(-32768, 32767).astype(np.int16)


def said(*words: Timed, flags: list[str] | None = None) -> ChunkSegment:
    """A segment of these words, with the spaces and punctuation between them."""
    timed = [Word(start=start, end=end, text=text.strip(), probability=0.9) for text, start, end in words]
    text = " ".join(word.text for word in timed)
    return ChunkSegment(start=timed[0].start, end=timed[-1].end, text=text, words=timed, flags=flags or [])


def place(of: Chunk, samples: Samples, *segments: ChunkSegment, language: str = "en") -> ChunkTranscript:
    return place_words(ChunkTranscript(language=language, segments=list(segments)), of, samples)


def times(transcript: ChunkTranscript) -> dict[str, tuple[float, float]]:
    return {word.text: (word.start, word.end) for segment in transcript.segments for word in segment.words}


def test_words_when_the_engine_is_a_little_off_then_the_first_begins_and_the_last_ends_with_the_sound() -> None:
    placed = times(place(chunk((0, 3)), sound(3, (0.5, 2.0)), said(("one", 0.3, 0.9), ("two", 0.9, 1.8))))
    assert placed["one"][0] == pytest.approx(0.5, abs=FRAME)
    assert placed["one"][1] == pytest.approx(0.9)
    assert placed["two"][1] == pytest.approx(2.0, abs=FRAME)


def test_word_when_it_is_heard_before_a_pause_but_begins_a_sentence_then_it_stands_behind_the_pause() -> None:
    words = said(("This", 0.5, 0.8), ("ends.", 0.8, 1.5), ("A", 1.5, 1.6), ("stripe", 3.0, 3.5), ("runs.", 3.5, 4.0))
    placed = times(place(chunk((0, 5)), sound(5, (0.5, 1.5), (2.8, 4.0)), words))
    assert placed["ends."][1] == pytest.approx(1.5, abs=FRAME)
    assert placed["A"][0] == pytest.approx(2.8, abs=FRAME)
    assert placed["stripe"][0] >= placed["A"][1]


def test_word_when_words_before_it_were_left_out_then_their_sound_is_left_to_them() -> None:
    words = said(("It", 0.5, 0.8), ("ends.", 0.8, 1.5), ("More", 6.0, 6.4), ("begins.", 6.4, 7.0))
    placed = times(place(chunk((0, 8)), sound(8, (0.5, 1.5), (2.0, 5.0), (6.0, 7.0)), words))
    assert placed["ends."][1] == pytest.approx(1.5, abs=FRAME)
    assert placed["More"][0] == pytest.approx(6.0, abs=FRAME)


def test_word_when_a_noise_comes_between_it_and_the_sentence_before_then_begins_behind_the_noise() -> None:
    words = said(("It", 0.5, 0.8), ("ends.", 0.8, 1.5), ("Always", 3.2, 3.7), ("more", 3.7, 4.4), ("begins.", 4.4, 5.0))
    placed = times(place(chunk((0, 6)), sound(6, (0.5, 1.5), (2.5, 2.8), (3.2, 5.0)), words))
    assert placed["ends."][1] == pytest.approx(1.5, abs=FRAME)
    assert placed["Always"][0] == pytest.approx(3.2, abs=FRAME)


def test_word_when_the_engine_waits_for_it_over_a_pause_then_stands_behind_the_pause() -> None:
    words = said(("two", 0.5, 0.9), ("people", 0.9, 1.3), ("how", 1.3, 2.5), ("old", 2.5, 3.0), ("is", 3.0, 3.4))
    placed = times(place(chunk((0, 4)), sound(4, (0.5, 1.45), (2.3, 3.4)), words))
    assert placed["people"][1] == pytest.approx(1.45, abs=FRAME)
    assert placed["how"][0] == pytest.approx(2.3, abs=FRAME)


def test_words_when_crumbs_of_sound_come_first_then_they_stay_where_the_engine_heard_them() -> None:
    crumbs = [(start, start + 0.08) for start in (0.5, 1.0, 2.2, 2.8, 4.0)]
    words = said(("At", 5.9, 6.2), ("that", 6.2, 6.6), ("level", 6.6, 7.0), ("it", 7.0, 7.2), ("is", 7.2, 8.0))
    placed = times(place(chunk((0, 9)), sound(9, *crumbs, (6.0, 8.0)), words))
    assert placed["At"][0] == pytest.approx(6.0, abs=FRAME)


def test_word_when_only_the_engines_segments_part_it_from_the_one_before_then_it_stands_behind_the_joint() -> None:
    packed = chunk((0, 2), (10, 12))
    before, after = said(("を", 0.2, 1.0), ("つ", 1.0, 1.6)), said(("客", 1.6, 1.8), ("観", 2.6, 3.0))
    placed = times(place(packed, sound(4, (0.2, 1.8), (2.2, 3.4)), before, after))
    assert placed["つ"][1] == pytest.approx(1.8, abs=FRAME)
    assert placed["客"][0] == pytest.approx(2.2, abs=FRAME)


def test_word_when_it_is_stretched_over_a_joint_then_it_stays_on_one_side() -> None:
    packed = chunk((0, 2), (10, 12))
    placed = times(place(packed, sound(4, (0.2, 3.8)), said(("before", 0.2, 1.0), ("after", 1.0, 3.8))))
    assert placed["before"][1] <= 2.0 <= placed["after"][0]


def test_word_when_it_has_no_length_then_it_is_given_some() -> None:
    words = said(("a", 1.0, 1.0), ("b", 1.0, 1.0), ("c", 1.0, 1.4))
    for start, end in times(place(chunk((0, 3)), sound(3, (0.5, 2.0)), words)).values():
        assert end - start >= LEAST_SECONDS - 1e-9


def test_words_when_nothing_is_heard_then_they_keep_their_times() -> None:
    silent = np.zeros(3 * SAMPLE_RATE, np.int16)
    placed = times(place(chunk((0, 3)), silent, said(("one", 0.6, 0.9), ("two", 1.0, 2.4))))
    assert placed == {"one": (0.6, 0.9), "two": (1.0, 2.4)}


def test_words_when_they_go_back_in_time_then_their_order_is_kept() -> None:
    placed = place(chunk((0, 3)), sound(3, (0.5, 2.5)), said(("one", 1.0, 1.5), ("two", 0.6, 0.8), ("three", 1.6, 2)))
    assert [word.text for segment in placed.segments for word in segment.words] == ["one", "two", "three"]


def test_segments_when_a_long_pause_was_left_out_then_none_goes_across_it() -> None:
    words = said(("to", 0.5, 1.8), ("be", 2.2, 3.5))
    packed = place(chunk((0, 2), (10, 12)), sound(4, (0.5, 1.8), (2.2, 3.5)), words)
    assert [segment.text for segment in packed.segments] == ["to", "be"]


def test_segment_when_the_engine_gave_one_a_chunk_then_each_sentence_is_one() -> None:
    words = said(("It", 0.5, 0.9), ("ends.", 0.9, 2.0), ("It", 2.6, 3.0), ("begins.", 3.0, 4.0))
    placed = place(chunk((0, 5)), sound(5, (0.5, 2.0), (2.6, 4.0)), words)
    assert [segment.text for segment in placed.segments] == ["It ends.", "It begins."]
    assert placed.segments[1].start == pytest.approx(2.6, abs=FRAME)


def test_text_when_its_words_are_characters_then_nothing_comes_between_them() -> None:
    words = [Word(start=n / 2, end=n / 2, text=text, probability=1) for n, text in enumerate("今日は晴れ")]
    segment = ChunkSegment(start=0, end=2.5, text="今日は、晴れ。", words=words)
    placed = place(chunk((0, 3)), sound(3, (0.2, 2.6)), segment, language="ja")
    assert placed.text == "今日は、晴れ。"


def test_transcript_when_the_engine_told_no_words_then_it_stays_as_it_is() -> None:
    before = ChunkTranscript(
        language="en", segments=[said(("one", 0, 1)), ChunkSegment(start=1, end=2, text="two three")]
    )
    assert place_words(before, chunk((0, 3)), sound(3, (0.5, 2.0))) is before


def test_transcript_when_nothing_was_said_then_it_stays_as_it_is() -> None:
    before = ChunkTranscript(language="en", segments=[ChunkSegment(start=0, end=1, text=" ")])
    assert place_words(before, chunk((0, 3)), sound(3)) is before


@st.composite
def cases(draw: st.DrawFn) -> tuple[Chunk, Samples, ChunkTranscript]:
    """Chunks of random spans and sounds, and texts whose times have nothing to do with either."""
    spans, at = [], draw(st.floats(0, 5))
    for _ in range(draw(st.integers(1, 4))):
        end = at + draw(st.floats(0.05, 4))
        spans.append((at, end))
        at = end + draw(st.floats(0.01, 6))
    of = chunk(*spans, joint=draw(st.sampled_from([0.0, 0.1])))
    seconds = of.length / SAMPLE_RATE
    edges = sorted(draw(st.lists(st.floats(0, seconds), max_size=8)))
    samples = sound(seconds, *zip(edges[::2], edges[1::2], strict=False))
    times = st.floats(0, seconds + 3)
    word = st.text(alphabet="abç今は.,?’-1", min_size=1, max_size=6)
    segments = []
    for _ in range(draw(st.integers(0, 3))):
        words = draw(st.lists(st.tuples(word, times, st.floats(0, 2)), min_size=1, max_size=12))
        glue = draw(st.sampled_from([" ", ""]))
        segments.append(
            ChunkSegment(
                start=draw(times),
                end=draw(times),
                text=glue.join(text for text, _, _ in words),
                words=[Word(start=a, end=a + length, text=text, probability=0.5) for text, a, length in words],
                flags=draw(st.lists(st.just("repetition"), max_size=1)),
            )
        )
    return of, samples, ChunkTranscript(language="en", segments=segments)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_placing_whatever_the_engine_says(case: tuple[Chunk, Samples, ChunkTranscript]) -> None:
    of, samples, before = case
    after = place_words(before, of, samples)
    words = [word for segment in after.segments for word in segment.words]

    told = [(word.text, word.probability) for segment in before.segments for word in segment.words]
    assert [(word.text, word.probability) for word in words] == told
    assert "".join(after.text.split()) == "".join(before.text.split())

    seconds = of.length / SAMPLE_RATE
    edges = [edge for word in words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert all(0 <= edge <= seconds + 1e-9 for edge in edges)
    assert all(word.start < word.end for word in words)

    joints = [
        (begin + span.length, following)
        for (begin, span), (following, later) in pairwise(of.pieces())
        if later.start - span.end >= JOINT_SECONDS * SAMPLE_RATE
    ]
    for at, following in joints:
        for word in words:
            assert word.end * SAMPLE_RATE <= at + 1e-6 or word.start * SAMPLE_RATE >= following - 1e-6
    for segment in after.segments:
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
    flags = {flag for segment in before.segments for flag in segment.flags}
    assert {flag for segment in after.segments for flag in segment.flags} == flags


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 8), st.floats(0, 1)), min_size=1, max_size=40))
def test_placing_when_there_is_room_then_every_word_has_its_least(timed: list[tuple[float, float]]) -> None:
    words = said(*((f"w{number}", start, start + length) for number, (start, length) in enumerate(timed)))
    placed = place(chunk((0, 6), (20, 24)), sound(10, (0.2, 5.8), (6.5, 9.8)), words)
    for segment in placed.segments:
        for word in segment.words:
            assert word.end - word.start >= LEAST_SECONDS - 1e-9
