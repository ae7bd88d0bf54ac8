"""Words whose time begins long before they are spoken."""

from __future__ import annotations

import pytest

from stt_core.transcript.document import ChunkSegment, ChunkTranscript, Word
from stt_core.transcript.held import release_held

Timed = tuple[str, float, float]


def said(*words: Timed) -> ChunkTranscript:
    timed = [Word(start=start, end=end, text=text, probability=0.9) for text, start, end in words]
    text = " ".join(text for text, _, _ in words)
    return ChunkTranscript(
        language="en", segments=[ChunkSegment(start=words[0][1], end=words[-1][2], text=text, words=timed)]
    )


def times(transcript: ChunkTranscript) -> dict[str, tuple[float, float]]:
    return {word.text: (word.start, word.end) for segment in transcript.segments for word in segment.words}


def test_word_when_it_is_held_then_is_spoken_at_its_end_and_what_begins_its_sentence_just_before() -> None:
    before = said(("respect.", 1.3, 1.7), ("We", 2.2, 3.2), ("must", 3.2, 6.5), ("find", 6.5, 6.8), ("a", 6.8, 7.0))
    after = times(release_held(before))
    assert after["must"] == pytest.approx((6.1, 6.5))
    assert after["We"] == pytest.approx((5.7, 6.1))
    assert {word: after[word] for word in ("respect.", "find", "a")} == {
        "respect.": (1.3, 1.7),
        "find": (6.5, 6.8),
        "a": (6.8, 7.0),
    }


def test_word_when_it_ends_a_sentence_then_it_is_spoken_at_its_start() -> None:
    after = times(release_held(said(("The", 0.5, 0.7), ("end.", 0.7, 4.0), ("More", 4.0, 4.4))))
    assert after == {"The": (0.5, 0.7), "end.": pytest.approx((0.7, 1.1)), "More": (4.0, 4.4)}


def test_word_when_it_is_far_inside_a_sentence_then_the_words_before_it_stay() -> None:
    words = [
        ("one", 0.0, 0.4),
        ("and", 0.4, 0.8),
        ("one", 0.8, 1.2),
        ("more", 1.2, 1.6),
        ("is", 1.6, 4.6),
        ("here", 4.6, 5),
    ]
    after = release_held(said(*words)).segments[0].words
    assert [word.start for word in after] == pytest.approx([0.0, 0.4, 0.8, 1.2, 4.2, 4.6])


def test_word_when_another_segment_has_no_words_then_that_stays_as_it_is() -> None:
    bare = ChunkSegment(start=5.0, end=6.0, text="Without words.")
    held = said(("The", 0.5, 0.7), ("end.", 0.7, 4.0))
    after = release_held(held.model_copy(update={"segments": [*held.segments, bare]}))
    assert after.segments[1] == bare and after.segments[0] != held.segments[0]


def test_words_when_none_is_held_then_they_stay_as_they_are() -> None:
    before = said(("extraordinarily", 0.0, 1.1), ("long", 1.1, 2.2))
    assert release_held(before) is before
