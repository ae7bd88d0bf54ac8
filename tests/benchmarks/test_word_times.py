"""The measure of word times against transcripts whose faults are known."""

from __future__ import annotations

import numpy as np
import pytest
from scoring import Sentence, Truth
from word_times import WordTimes, audible_span, heard_onsets, score_times

from stt_core.transcript.document import ChunkSegment, Word

TRUTH = Truth(
    duration=12.0,
    segments=[
        Sentence(start=1.0, end=3.0, text="(one) Those were days,"),
        Sentence(start=8.0, end=9.5, text="THE END OF IT"),
    ],
)
ONSETS = [1.0, 8.0]
#: The truth, word by word.
WORDS = [
    ("One", 1.0, 1.4),
    ("those", 1.5, 2.0),
    ("were", 2.0, 2.4),
    ("days.", 2.4, 3.0),
    ("The", 8.0, 8.3),
    ("end", 8.3, 8.7),
    ("of", 8.7, 9.0),
    ("it.", 9.0, 9.5),
]
FLOOR, SPEECH = -60.0, -20.0


def transcript(**changed: tuple[float, float] | None) -> list[ChunkSegment]:
    """Two segments of WORDS, where words (without the dot) have other times, or are left out."""
    segments = []
    for part in (WORDS[:4], WORDS[4:]):
        words = []
        for text, start, end in part:
            times = changed.get(text.strip("."), (start, end))
            if times:
                words.append(Word(start=times[0], end=times[1], text=text, probability=1))
        told = " ".join(word.text for word in words)
        segments.append(ChunkSegment(start=words[0].start, end=words[-1].end, text=told, words=words))
    return segments


def score(**changed: tuple[float, float] | None) -> WordTimes:
    return score_times(TRUTH, transcript(**changed), ONSETS)


def levels(*stretches: tuple[float, float]) -> np.ndarray:
    """Levels of frames of 10 ms, from seconds and dBFS."""
    return np.concatenate([np.full(round(seconds * 100), level, np.float32) for seconds, level in stretches])


def test_score_of_the_truth_itself_finds_nothing_wrong() -> None:
    result = score()
    assert (result.words, result.matched) == (8, 8)
    assert result.first_word_errors == result.start_errors == [0.0, 0.0]
    assert not (result.outside or result.without_length or result.in_pauses or result.empty_sentences)


def test_first_word_when_it_comes_early_then_its_error_is_the_distance_to_the_onset() -> None:
    assert score(The=(7.7, 8.3)).first_word_errors == pytest.approx([0.0, 0.3])


def test_words_when_a_sentence_like_the_next_is_left_out_then_are_those_of_the_next() -> None:
    twice = Sentence(start=4.0, end=5.5, text="The end of it")
    truth = TRUTH.model_copy(update={"segments": [TRUTH.segments[0], twice, TRUTH.segments[1]]})
    result = score_times(truth, transcript(), [1.0, 4.0, 8.0])
    assert result.matched == 8
    assert result.first_word_errors == [0.0, 0.0]
    assert not result.outside


def test_first_word_when_it_is_missing_then_the_second_does_not_pass_for_it() -> None:
    assert score(One=None).first_word_errors == [0.0]


def test_first_word_when_its_onset_is_not_heard_then_it_does_not_count() -> None:
    result = score_times(TRUTH, transcript(The=(7.7, 8.3)), [1.0, None])
    assert result.first_word_errors == result.start_errors == [0.0]


def test_word_when_it_is_shown_before_the_pause_then_it_is_outside_and_in_the_pause() -> None:
    result = score(The=(4.5, 4.7))
    assert result.outside == [(4.5, "the", 3.5)]
    assert result.in_pauses == [(4.6, "The")]
    assert result.figures()["outside_percent"] == 12.5
    assert result.figures()["outside_worst"] == 3.5


def test_word_when_it_ends_far_behind_its_sentence_then_it_is_outside() -> None:
    assert score(days=(2.4, 3.6)).outside == [(2.4, "days", 0.6)]


def test_word_when_it_is_half_a_second_off_then_it_is_not_outside() -> None:
    assert score(days=(2.4, 3.5), The=(7.5, 8.3)).outside == []


def test_word_when_it_ends_where_it_starts_then_it_has_no_length() -> None:
    assert score(were=(2.0, 2.0)).without_length == 1


def test_segment_start_when_two_sentences_are_one_segment_then_the_second_start_is_missed() -> None:
    first, second = transcript()
    joined = ChunkSegment(start=1.0, end=9.5, text=f"{first.text} {second.text}", words=first.words + second.words)
    assert score_times(TRUTH, [joined], ONSETS).start_errors == [0.0, 7.0]


def test_sentence_when_all_its_words_lie_elsewhere_then_it_is_empty() -> None:
    moved = {"The": (5.0, 5.2), "end": (5.2, 5.4), "of": (5.4, 5.6), "it": (5.6, 5.8)}
    assert score(**moved).empty_sentences == [(8.0, "THE END OF IT")]


def test_score_when_nothing_was_heard_then_every_sentence_is_empty() -> None:
    result = score_times(TRUTH, [], ONSETS)
    assert (result.words, result.matched, len(result.empty_sentences)) == (0, 0, 2)
    assert result.first_word_errors == result.start_errors == []
    assert np.isnan(result.figures()["segment_start_p95"])


def test_words_when_one_of_the_transcript_is_two_then_the_second_is_no_first_word() -> None:
    truth = Truth(duration=4, segments=[Sentence(start=0, end=1, text="well"), Sentence(start=1, end=2, text="known")])
    words = [Word(start=0, end=2, text="well known", probability=1)]
    result = score_times(truth, [ChunkSegment(start=0, end=2, text="well known", words=words)], [0.0, 1.0])
    assert (result.matched, result.first_word_errors) == (2, [0.0])


def test_onset_when_speech_begins_where_the_truth_says_then_it_stands() -> None:
    sound = levels((1.05, FLOOR), (1.95, SPEECH), (5.0, FLOOR), (1.5, SPEECH), (2.5, FLOOR))
    assert heard_onsets(TRUTH, sound) == [1.0, 8.0]


def test_onset_when_half_a_second_is_hardly_over_the_floor_then_it_is_where_speech_begins() -> None:
    sound = levels((1.0, FLOOR), (0.5, FLOOR + 8), (1.5, SPEECH), (5.0, FLOOR), (1.5, SPEECH), (2.5, FLOOR))
    assert heard_onsets(TRUTH, sound) == pytest.approx([1.5, 8.0])


def test_onset_when_a_click_comes_first_then_it_is_where_speech_begins() -> None:
    sound = levels(
        (1.0, FLOOR), (0.05, SPEECH), (0.7, FLOOR), (1.25, SPEECH), (5.0, FLOOR), (1.5, SPEECH), (2.5, FLOOR)
    )
    assert heard_onsets(TRUTH, sound) == pytest.approx([1.75, 8.0])


def test_onset_when_a_stop_consonant_closes_the_mouth_then_it_is_before_that() -> None:
    sound = levels(
        (1.0, FLOOR), (0.05, SPEECH), (0.15, FLOOR), (1.8, SPEECH), (5.0, FLOOR), (1.5, SPEECH), (2.5, FLOOR)
    )
    assert heard_onsets(TRUTH, sound) == [1.0, 8.0]


def test_score_when_a_script_has_no_spaces_then_each_character_is_a_word() -> None:
    truth = Truth(
        duration=3, segments=[Sentence(start=0, end=1, text="今日は、"), Sentence(start=2, end=3, text="晴れ。")]
    )
    parts = [("今日", 0.0, 0.5), ("は", 0.5, 1.0), ("晴", 1.0, 2.4), ("れ", 2.4, 3.0)]
    words = [Word(start=start, end=end, text=text, probability=1) for text, start, end in parts]
    result = score_times(truth, [ChunkSegment(start=0, end=3, text="今日は晴れ", words=words)], [0.0, 2.0])
    assert (result.words, result.matched) == (4, 5)
    assert result.first_word_errors == [0.0, 1.0]


def test_onset_when_noise_is_as_loud_as_speech_then_there_is_none() -> None:
    assert heard_onsets(TRUTH, levels((12.0, SPEECH))) == [None, None]


def test_audible_span_leaves_out_the_floor_and_a_click() -> None:
    sound = levels((0.2, FLOOR), (0.02, SPEECH), (0.3, FLOOR), (2.0, SPEECH), (0.4, FLOOR))
    assert audible_span(sound) == pytest.approx((0.52, 2.52))


def test_audible_span_of_an_even_sound_is_none() -> None:
    assert audible_span(levels((2.0, SPEECH))) is None
    assert audible_span(levels((0.0, SPEECH))) is None
