"""The merge by example: each named case of a transcript put together from chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span
from stt_core.errors import MissingChunksError
from stt_core.transcript.document import ChunkSegment, ChunkTranscript, Segment, Transcript, Word
from stt_core.transcript.merging import merge_chunks

JOINT = SAMPLE_RATE // 5


def chunk(index: int, *spans: tuple[float, float], channel: int | None = None, overlaps: bool = False) -> Chunk:
    return Chunk(
        index=index,
        spans=tuple(Span(start=round(a * SAMPLE_RATE), end=round(b * SAMPLE_RATE)) for a, b in spans),
        joint=JOINT,
        overlaps_previous=overlaps,
        channel=channel,
    )


def words(*timed: tuple[float, str], length: float = 0.3, probability: float = 0.9) -> list[Word]:
    return [Word(start=start, end=start + length, text=text, probability=probability) for start, text in timed]


def said(*timed: tuple[float, str], language: str = "en", probability: float = 0.9) -> ChunkTranscript:
    """One segment that says these words at these seconds of the chunk."""
    heard = words(*timed, probability=probability)
    text = " " + " ".join(word.text for word in heard)
    return ChunkTranscript(
        language=language, segments=[ChunkSegment(start=heard[0].start, end=heard[-1].end, text=text, words=heard)]
    )


def unworded(start: float, end: float, text: str) -> ChunkTranscript:
    return ChunkTranscript(language="en", segments=[ChunkSegment(start=start, end=end, text=text)])


SILENT = ChunkTranscript(language="en")


def merge(
    chunks: list[Chunk],
    transcripts: Mapping[int, ChunkTranscript],
    *,
    duration: float = 60.0,
    language: str | None = None,
    gaps: Mapping[int, str] | None = None,
) -> Transcript:
    return merge_chunks(
        "j1",
        chunks,
        transcripts,
        duration_seconds=duration,
        model="tiny",
        model_digest="abc",
        language=language,
        gaps=gaps,
    )


def times(segment: Segment) -> tuple[float, float]:
    return segment.start, segment.end


def test_merge_when_chunks_come_in_any_order_then_the_text_follows_their_index() -> None:
    chunks = [chunk(1, (10, 20)), chunk(0, (0, 9))]
    merged = merge(chunks, {1: said((0, "world.")), 0: said((1, "Hello"), (2, "big"))})
    assert merged.text == "Hello big world."
    assert [segment.chunk for segment in merged.segments] == [0, 1]
    assert [segment.index for segment in merged.segments] == [0, 1]
    assert merged.segments[1].start == 10.0


def test_merge_when_chunks_lack_a_text_then_the_error_names_them() -> None:
    chunks = [chunk(i, (i * 10, i * 10 + 9)) for i in range(4)]
    with pytest.raises(MissingChunksError, match=r"2 of 4 chunks have no text: 1, 3\.") as caught:
        merge(chunks, {0: SILENT, 2: SILENT})
    assert caught.value.details["missing"] == [1, 3]


@pytest.mark.parametrize("indices", [(0, 2), (0, 0, 1), (1, 2)])
def test_merge_when_the_plan_has_holes_or_doubles_then_it_is_refused(indices: tuple[int, ...]) -> None:
    chunks = [chunk(index, (position * 10, position * 10 + 9)) for position, index in enumerate(indices)]
    with pytest.raises(MissingChunksError, match="holes or doubles"):
        merge(chunks, dict.fromkeys(range(5), SILENT))


def test_merge_when_a_chunk_may_be_missing_then_the_transcript_names_the_gap() -> None:
    chunks = [chunk(0, (0, 9)), chunk(1, (10, 19)), chunk(2, (20, 29))]
    merged = merge(chunks, {0: said((1, "one")), 2: said((1, "three"))}, gaps={1: "engine died"})
    assert merged.text == "one three"
    assert [(gap.chunk, gap.start, gap.end, gap.reason) for gap in merged.gaps] == [(1, 10.0, 19.0, "engine died")]


@pytest.mark.parametrize(("held", "named"), [(None, ["en", "de"]), ("en", [None, None])])
def test_merge_when_each_chunk_detected_its_language_then_the_segments_name_it(
    held: str | None, named: list[str | None]
) -> None:
    chunks = [chunk(0, (0, 9)), chunk(1, (10, 15))]
    merged = merge(chunks, {0: said((1, "Hello")), 1: said((1, "Guten"), language="de")}, language=held)
    assert [segment.language for segment in merged.segments] == named
    assert merged.language == "en"


def test_merge_when_there_are_no_chunks_then_the_transcript_is_empty() -> None:
    merged = merge([], {}, duration=5.0)
    assert (merged.text, merged.segments, merged.language) == ("", [], "und")
    assert merged.statistics.words == merged.statistics.chunks == merged.statistics.speech_seconds == 0
    assert merged.statistics.confidence is None


def test_merge_when_chunks_are_empty_or_blank_then_they_leave_nothing() -> None:
    merged = merge([chunk(0, (0, 5)), chunk(1, (6, 9))], {0: SILENT, 1: unworded(0, 2, "  ")})
    assert (merged.text, merged.segments, merged.language) == ("", [], "und")


def test_merge_when_a_chunk_skips_silence_then_words_land_where_they_were_said() -> None:
    packed = chunk(0, (2, 4), (10, 12))
    merged = merge([packed], {0: said((0.5, "before"), (2.5, "after"))})
    assert [(word.start, word.text) for segment in merged.segments for word in segment.words] == [
        (2.5, "before"),
        (10.3, "after"),
    ]


def test_merge_when_a_line_spans_a_long_dropped_silence_then_it_is_broken_there() -> None:
    packed = chunk(0, (2, 4), (10, 12))
    merged = merge([packed], {0: said((0.5, "Before,"), (1.5, "and"), (2.5, "after."))})
    assert [(segment.text, times(segment)) for segment in merged.segments] == [
        ("Before, and", (2.5, 3.8)),
        ("after.", (10.3, 10.6)),
    ]


def test_merge_when_a_line_spans_a_short_dropped_pause_then_it_stays_whole() -> None:
    packed = chunk(0, (2, 4), (4.5, 7))
    merged = merge([packed], {0: said((1.5, "to"), (2.4, "be"))})
    assert [(segment.text, times(segment)) for segment in merged.segments] == [("to be", (3.5, 5.0))]


def test_merge_when_a_line_begins_or_ends_in_a_joint_then_it_keeps_to_the_heard_span() -> None:
    packed = chunk(0, (2, 4), (10, 12))  # in the chunk: 0-2 s, joint, 2.2-4.2 s
    transcript = ChunkTranscript(
        language="en",
        segments=[
            ChunkSegment(start=0, end=2.15, text="one"),
            ChunkSegment(start=2.05, end=3.2, text="two"),
        ],
    )
    merged = merge([packed], {0: transcript})
    assert [times(segment) for segment in merged.segments] == [(2.0, 4.0), (10.0, 11.0)]


def test_merge_when_a_line_starts_early_then_its_first_word_decides_the_span() -> None:
    packed = chunk(0, (2, 4), (10, 12))
    heard = words((2.3, "Later"))
    early = ChunkTranscript(language="en", segments=[ChunkSegment(start=1.9, end=2.6, text="Later", words=heard)])
    assert times(merge([packed], {0: early}).segments[0]) == (10.0, 10.4)


def test_merge_when_the_engine_invents_times_past_the_chunk_then_they_are_held_in_it() -> None:
    merged = merge([chunk(0, (3, 10))], {0: unworded(2, 29, "long")}, duration=9.5)
    assert times(merged.segments[0]) == (5.0, 9.5)


def test_merge_when_two_chunks_heard_the_same_words_then_they_appear_once() -> None:
    first, second = chunk(0, (0, 10)), chunk(1, (8, 18), overlaps=True)
    merged = merge(
        [first, second],
        {
            0: said((7, "we"), (8.1, "count"), (8.8, "to"), (9.4, "three")),
            1: said((0.2, "Count"), (0.8, "to,"), (1.5, "three"), (2.1, "and"), (2.6, "stop.")),
        },
    )
    assert merged.text == "we count to three and stop."
    assert merged.statistics.duplicate_words_removed == 3
    assert merged.statistics.words == 6


def test_merge_when_a_shared_word_was_heard_differently_then_both_readings_stay_in_place() -> None:
    merged = merge(
        [chunk(0, (0, 10)), chunk(1, (8, 18), overlaps=True)],
        {
            0: said((7, "we"), (8.8, "meet"), (9.4, "tomb")),
            1: said((0.1, "eat"), (0.8, "meet"), (1.4, "tomorrow"), (2.1, "morning")),
        },
    )
    assert sorted(merged.text.split()) == sorted(["we", "eat", "meet", "tomb", "tomorrow", "morning"])
    assert merged.statistics.duplicate_words_removed == 1


def test_merge_when_a_speaker_repeats_a_word_then_only_the_second_hearing_goes() -> None:
    merged = merge(
        [chunk(0, (0, 10)), chunk(1, (8, 18), overlaps=True)],
        {0: said((8.2, "no"), (8.9, "no"), (9.5, "no")), 1: said((0.2, "no"), (0.9, "no"), (1.5, "no"), (2.2, "no"))},
    )
    assert merged.text == "no no no no"


def test_merge_when_each_chunk_hears_two_of_three_repeats_then_none_is_lost() -> None:
    merged = merge(
        [chunk(0, (0, 10)), chunk(1, (8, 18), overlaps=True)],
        {0: said((7.9, "no"), (8.25, "no")), 1: said((0.25, "no"), (0.6, "no"))},
    )
    assert merged.text == "no no no"


def test_merge_when_two_hearings_of_a_word_differ_by_most_of_a_second_then_it_appears_once() -> None:
    merged = merge(
        [chunk(0, (0, 10)), chunk(1, (8, 18), overlaps=True)],
        {0: said((8.1, "two"), (8.4, "dollars")), 1: said((0.8, "two"), (1.2, "dollars"), (2.5, "please"))},
    )
    assert merged.text == "two dollars please"


def test_merge_when_equal_words_lie_apart_in_time_then_both_stay() -> None:
    merged = merge(
        [chunk(0, (0, 10)), chunk(1, (8, 18), overlaps=True)], {0: said((8.1, "yes")), 1: said((1.6, "yes"))}
    )
    assert merged.text == "yes yes"


def test_merge_when_chunks_do_not_overlap_then_equal_words_at_the_seam_stay() -> None:
    merged = merge([chunk(0, (0, 10)), chunk(1, (10, 20))], {0: said((9.6, "bye")), 1: said((0.1, "bye"))})
    assert merged.text == "bye bye"
    assert merged.statistics.duplicate_words_removed == 0


def test_merge_when_a_whole_line_was_doubled_then_it_is_gone() -> None:
    double = ChunkTranscript(
        language="en",
        segments=[*said((0.2, "echo")).segments, *said((3, "next")).segments],
    )
    merged = merge([chunk(0, (0, 10)), chunk(1, (8, 18), overlaps=True)], {0: said((8.2, "echo")), 1: double})
    assert [segment.text for segment in merged.segments] == ["echo", "next"]


def test_merge_when_lines_overlap_then_the_earlier_gives_way() -> None:
    overlapping = ChunkTranscript(
        language="en",
        segments=[ChunkSegment(start=0, end=6, text="one"), ChunkSegment(start=4, end=8, text="two")],
    )
    assert [times(segment) for segment in merge([chunk(0, (0, 10))], {0: overlapping}).segments] == [(0, 4), (4, 8)]


def test_merge_when_words_of_two_chunks_overlap_then_neither_is_without_length() -> None:
    merged = merge(
        [chunk(0, (0, 10)), chunk(1, (8, 18), overlaps=True)],
        {0: said((8.2, "one"), (9.2, "last")), 1: said((0.3, "one"), (1.1, "first"), (2.5, "next"))},
    )
    timed = [(word.start, word.end) for segment in merged.segments for word in segment.words]
    assert all(end - start >= 0.06 - 1e-9 for start, end in timed)
    assert [edge for pair in timed for edge in pair] == sorted(edge for pair in timed for edge in pair)


def test_merge_when_channels_are_split_then_each_keeps_its_own_time_line() -> None:
    chunks = [chunk(0, (0, 5), channel=0), chunk(1, (1, 6), channel=1), chunk(2, (7, 9), channel=0)]
    merged = merge(chunks, {0: unworded(0, 4, "How are you?"), 1: unworded(1, 4, "Fine."), 2: unworded(0, 1, "Good.")})
    assert [(segment.speaker, segment.channel, times(segment)) for segment in merged.segments] == [
        ("Channel 1", 0, (0, 4)),
        ("Channel 2", 1, (2, 5)),
        ("Channel 1", 0, (7, 8)),
    ]
    assert merged.statistics.speech_seconds == 12.0


def test_merge_when_no_language_is_given_then_the_one_most_speech_is_in_wins() -> None:
    chunks = [chunk(0, (0, 2)), chunk(1, (3, 5)), chunk(2, (6, 30)), chunk(3, (31, 59))]
    heard = {
        0: said((0, "hello")),
        1: said((0, "again")),
        2: said((0, "bonjour"), language="fr"),
        3: ChunkTranscript(language="de"),  # nothing was heard in it, whatever the engine guessed
    }
    assert merge(chunks, heard).language == "fr"
    assert merge(chunks, heard, language="nl").language == "nl"


def test_merge_when_done_then_statistics_say_what_is_in_it() -> None:
    merged = merge(
        [chunk(0, (0, 10), (12, 14)), chunk(1, (13, 20), overlaps=True)],
        {0: said((0, "a"), (1, "b"), probability=0.5), 1: said((3, "c"), (4, "d"), probability=1.0)},
    )
    assert merged.statistics.words == 4
    assert merged.statistics.chunks == 2
    assert merged.statistics.speech_seconds == 18.0
    assert merged.statistics.confidence == 0.75
    assert [segment.confidence for segment in merged.segments] == [0.5, 1.0]


def test_merge_when_a_line_is_flagged_then_the_flag_stays() -> None:
    flagged = ChunkTranscript(
        language="en", segments=[ChunkSegment(start=0, end=1, text="la la", flags=["repetition"])]
    )
    assert merge([chunk(0, (0, 5))], {0: flagged}).segments[0].flags == ["repetition"]


def test_merge_when_words_are_written_without_spaces_then_dropping_some_keeps_it_so() -> None:
    heard = words((0.2, "今日"), (0.9, "は"), (2.4, "晴れ"))
    second = ChunkTranscript(
        language="ja", segments=[ChunkSegment(start=0.2, end=3, text="今日は、晴れ。", words=heard)]
    )
    first = ChunkTranscript(
        language="ja",
        segments=[ChunkSegment(start=8.2, end=9.2, text="今日は", words=words((8.2, "今日"), (8.9, "は")))],
    )
    merged = merge([chunk(0, (0, 10)), chunk(1, (8, 18), overlaps=True)], {0: first, 1: second})
    assert merged.text == "今日は 晴れ。"


class _Store(Mapping[int, ChunkTranscript]):
    """Transcripts that are read when asked for, as from an object store; counts the reads."""

    def __init__(self, transcripts: dict[int, ChunkTranscript]) -> None:
        self.transcripts = transcripts
        self.reads: list[int] = []

    def __getitem__(self, index: int) -> ChunkTranscript:
        self.reads.append(index)
        return self.transcripts[index]

    def __contains__(self, index: object) -> bool:
        return index in self.transcripts

    def __iter__(self) -> Iterator[int]:
        return iter(self.transcripts)

    def __len__(self) -> int:
        return len(self.transcripts)


def test_merge_when_texts_come_from_a_store_then_each_is_read_once() -> None:
    store = _Store({index: said((0, "word")) for index in range(50)})
    merge([chunk(index, (index, index + 0.9)) for index in range(50)], store)
    assert store.reads == list(range(50))
