"""Stretches whose text cannot be right are found by time and pace, and get the better of two texts."""

from __future__ import annotations

from stt_core.transcript.models import ChunkSegment, ChunkTranscript, Word
from stt_core.whisper.doubts import Doubt, choose_doubts, find_doubts, settle

#: Three sentences at 15 letters a second, in a chunk of 10 s.
SOUND = [
    (0.2, 3.0, "a sentence that takes three seconds to say"),
    (3.2, 6.0, "another one that takes just as long to say"),
    (6.2, 9.8, "and the last of them, which takes a little longer to say"),
]


def chunk(*segments: tuple[float, float, str]) -> ChunkTranscript:
    return ChunkTranscript(
        language="en", segments=[ChunkSegment(start=start, end=end, text=text) for start, end, text in segments]
    )


def reasons(transcript: ChunkTranscript, seconds: float = 10.0) -> list[str]:
    return [doubt.reason for doubt in find_doubts(transcript, seconds)]


def test_doubts_when_the_text_covers_the_sound_at_one_pace_then_there_are_none() -> None:
    assert reasons(chunk(*SOUND)) == []


def test_doubts_when_the_decoder_ended_early_then_the_rest_is_a_hole() -> None:
    assert find_doubts(chunk(*SOUND), 20.0) == [Doubt(9.8, 20.0, "hole")]


def test_doubts_when_words_are_repeated_in_no_time_then_it_is_a_rush() -> None:
    rush = (6.2, 9.0, "at ten thirty five in the meeting at ten thirty five in the morning")
    [doubt] = find_doubts(chunk(*SOUND[:2], rush), 9.2)
    assert (doubt.start, doubt.end, doubt.reason) == (6.0, 9.2, "rush")


def test_doubts_when_words_are_repeated_at_the_usual_pace_then_there_are_none() -> None:
    assert reasons(chunk(*SOUND[:2], (6.2, 9.8, "my number is eight one four eight one four, yes"))) == []


def test_doubts_when_a_sentence_was_swallowed_then_it_is_a_crawl() -> None:
    assert reasons(chunk(*SOUND[:2], (6.2, 9.8, "the red light is off"))) == ["crawl"]


def test_doubts_when_a_slow_sentence_has_an_improbable_word_then_it_is_a_crawl_too() -> None:
    slow = chunk(*SOUND[:2], (6.2, 9.8, "the red light was off beside the door"))
    assert reasons(slow) == []
    slow.segments[2].words = [Word(start=6.2, end=9.8, text="door", probability=0.8)]
    assert reasons(slow) == ["crawl"]


def test_doubts_when_nothing_was_heard_at_all_then_there_are_none() -> None:
    assert reasons(chunk()) == []


def test_doubts_are_never_more_than_two_and_those_are_the_longest() -> None:
    spoken = [(begin, begin + 1.0, "fifteen letters") for begin in (2.0, 8.0, 12.0)]
    doubts = find_doubts(chunk(*spoken), 20.0)
    assert [(doubt.start, doubt.end) for doubt in doubts] == [(3.0, 8.0), (13.0, 20.0)]


def said(text: str, probability: float, start: float = 0.2, end: float = 3.0) -> ChunkTranscript:
    transcript = chunk((start, end, text))
    transcript.segments[0].words = [Word(start=start, end=end, text=word, probability=1.0) for word in text.split()]
    transcript.segments[0].words[-1].probability = probability
    return transcript


def test_doubts_when_a_word_is_unlikely_then_its_segment_is_unsure() -> None:
    assert find_doubts(said("the train leaves at ten", 0.6), 3.2) == [Doubt(0.0, 3.2, "unsure", 0.6)]
    assert find_doubts(said("the train leaves at ten", 0.95), 3.2) == []


def test_doubts_of_many_chunks_when_too_many_are_unsure_then_the_least_sure_are_chosen() -> None:
    transcripts = [said("the train leaves at ten", 0.3 + number / 20) for number in range(10)]
    chosen = choose_doubts(transcripts, [3.2] * len(transcripts))
    assert [position for position, _ in chosen] == [0, 1, 2, 3, 4]


def test_settling_an_unsure_stretch_then_the_text_with_the_surer_words_is_kept() -> None:
    first, surer, vaguer = (said("the street", 0.8), said("the team in the street", 0.9), said("the tree", 0.7))
    doubt = Doubt(0.0, 3.2, "unsure", 0.8)
    assert settle(first, doubt, surer).text == "the team in the street"
    assert settle(first, doubt, vaguer) is first
    assert settle(first, doubt, chunk()) is first


def test_settling_a_hole_then_its_text_stands_where_it_was_said() -> None:
    again = chunk((0.5, 2.0, "and then this"))
    again.segments[0].words = [Word(start=0.5, end=1.0, text="and", probability=1.0)]
    settled = settle(chunk(*SOUND), Doubt(9.8, 20.0, "hole"), again)
    assert [segment.text for segment in settled.segments][3:] == ["and then this"]
    assert (settled.segments[3].start, settled.segments[3].words[0].end) == (10.3, 10.8)


def test_settling_a_rush_then_the_shorter_text_wins() -> None:
    doubt = Doubt(6.2, 10.0, "rush")
    assert settle(chunk(*SOUND), doubt, chunk((0.1, 2.0, "and the last"))).segments[2].text == "and the last"
    assert settle(chunk(*SOUND), doubt, chunk((0.1, 2.0, "longer " * 20))) == chunk(*SOUND)


def test_settling_a_crawl_then_the_longer_text_wins_unless_it_loops() -> None:
    first, doubt = chunk(*SOUND[:2], (6.2, 9.8, "the red light is off")), Doubt(6.0, 10.0, "crawl")
    better = chunk((0.2, 1.4, "the red light is off"), (2.0, 3.6, "we will check the keys again"))
    assert [segment.text for segment in settle(first, doubt, better).segments][2:] == [
        "the red light is off",
        "we will check the keys again",
    ]
    assert settle(first, doubt, chunk((0.2, 3.0, "thank you " * 9))) == first
    assert settle(first, doubt, chunk()) == first
