"""The checks of a transcript by example: one that passes them all, and for each check what fails it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span
from stt_core.settings import QualityName, Settings
from stt_core.transcript.document import QualityCheck, Segment, Transcript, TranscriptStatistics, Word
from stt_core.transcript.loops import REPETITION_FLAG
from stt_core.transcript.quality import check_quality

SENTENCES = ("The train leaves the station at a quarter past ten.", "Bring the blue folder and two cups of coffee.")
NAMES: tuple[QualityName, ...] = (
    "speech_coverage",
    "repetition",
    "speech_rate",
    "monotonic_times",
    "language_flips",
    "confidence",
)


def chunk(index: int, start: float, end: float, channel: int | None = None) -> Chunk:
    span = Span(start=round(start * SAMPLE_RATE), end=round(end * SAMPLE_RATE))
    return Chunk(index=index, spans=(span,), channel=channel)


def word(start: float, text: str) -> Word:
    return Word(start=start, end=start + 0.5, text=text, probability=0.9)


def segment(start: float, end: float, text: str = SENTENCES[0], **more: object) -> Segment:
    """A segment whose words share its time evenly."""
    texts = text.split()
    step = (end - start) / max(1, len(texts))
    words = [
        Word(start=start + step * place, end=start + step * (place + 1), text=spoken, probability=0.9)
        for place, spoken in enumerate(texts)
    ]
    return Segment.model_validate(
        {"index": 0, "start": start, "end": end, "text": text, "words": words, "chunk": 0} | more
    )


def transcript(*segments: Segment, confidence: float | None = 0.9, language: str = "en", **more: object) -> Transcript:
    return Transcript.model_validate(
        {
            "job_id": "j1",
            "text": " ".join(segment.text for segment in segments),
            "language": language,
            "model": "tiny",
            "duration_seconds": 60.0,
            "segments": list(segments),
            "statistics": TranscriptStatistics(words=0, speech_seconds=0, chunks=1, confidence=confidence),
        }
        | more
    )


def good() -> Transcript:
    return transcript(segment(0.4, 3.8), segment(4.0, 7.6, SENTENCES[1]))


def check(name: str, checked: Transcript, chunks: Sequence[Chunk] | None = (chunk(0, 0, 8),)) -> QualityCheck:
    [found] = [one for one in check_quality(checked, chunks) if one.name == name]
    return found


def failures(checked: Transcript, chunks: Sequence[Chunk] | None = (chunk(0, 0, 8),)) -> list[str]:
    return [one.name for one in check_quality(checked, chunks) if not one.passed]


def test_checks_when_a_transcript_is_good_then_all_pass_in_their_order() -> None:
    checks = check_quality(good(), [chunk(0, 0, 8)])
    assert [(one.name, one.passed) for one in checks] == [(name, True) for name in NAMES]


def test_checks_when_nothing_was_said_then_all_pass() -> None:
    assert failures(transcript(confidence=None), []) == []


def test_severity_when_a_check_is_named_an_error_then_that_one_alone_is() -> None:
    checks = check_quality(good(), [], errors=["confidence"])
    assert [one.name for one in checks if one.severity == "error"] == ["confidence"]


@pytest.mark.parametrize(("given", "errors"), [("confidence, repetition", ("confidence", "repetition")), (",", ())])
def test_quality_errors_when_given_are_split_at_commas(given: str, errors: tuple[str, ...]) -> None:
    assert Settings.model_validate({"QUALITY_ERRORS": given}).quality_errors == errors


def test_coverage_when_a_quarter_of_the_speech_has_no_text_then_fails() -> None:
    found = check("speech_coverage", good(), [chunk(0, 0, 11)])
    assert not found.passed
    assert found.value == pytest.approx(8.1 / 11, abs=0.001)  # half a second more than the last segment
    assert found.description == "2.9 s of 11.0 s of speech have no text."


def test_coverage_when_all_speech_has_a_text_then_nothing_is_left_to_tell() -> None:
    chunks = [chunk(number, 0.1 + 0.7 * number, 0.4 + 0.7 * number) for number in range(10)]
    found = check("speech_coverage", transcript(segment(0, 8)), chunks)
    assert (found.value, found.description) == (1.0, "0.0 s of 3.0 s of speech have no text.")


def test_coverage_when_a_channel_has_no_text_then_that_of_the_other_does_not_count_for_it() -> None:
    said = transcript(segment(0, 8, channel=0), segment(0, 8, channel=1))
    one_sided = transcript(segment(0, 8, channel=0))
    chunks = [chunk(0, 0, 8, channel=0), chunk(1, 0, 8, channel=1)]
    assert check("speech_coverage", said, chunks).value == 1
    assert check("speech_coverage", one_sided, chunks).value == 0.5


def test_coverage_when_what_has_no_text_is_a_click_then_passes() -> None:
    assert check("speech_coverage", transcript(confidence=None), [chunk(0, 5, 5.7)]).passed
    assert not check("speech_coverage", transcript(confidence=None), [chunk(0, 5, 7)]).passed


def test_coverage_when_speech_was_not_looked_for_then_is_not_measured() -> None:
    found = check("speech_coverage", transcript(confidence=None), None)
    assert (found.passed, found.value) == (True, None)


def test_repetition_when_a_window_says_the_same_again_and_again_then_fails_and_tells_where() -> None:
    looped = transcript(segment(0, 8), segment(70, 95, "I am going to the shop. " * 12, chunk=1))
    found = check("repetition", looped)
    assert not found.passed and found.value is not None and found.value > 2.4
    assert "00:01:10" in found.description


def test_repetition_when_windows_say_alike_then_each_counts_by_itself() -> None:
    texts = [segment(30 * number, 30 * number + 4, chunk=number) for number in range(20)]
    assert check("repetition", transcript(*texts, duration_seconds=600)).passed


def test_repetition_when_a_segment_is_flagged_as_a_loop_then_fails_whatever_its_ratio() -> None:
    found = check("repetition", transcript(segment(12, 16, "at ten at ten at ten", flags=[REPETITION_FLAG])))
    assert not found.passed and found.value is not None and found.value < 2.4
    assert "00:00:12" in found.description


@pytest.mark.parametrize(("seconds", "passed"), [(1.0, False), (3.0, True), (25.0, False)])
def test_rate_when_words_are_too_many_or_too_few_for_their_time_then_fails(seconds: float, passed: bool) -> None:
    assert check("speech_rate", transcript(segment(0, seconds))).passed is passed


@pytest.mark.parametrize(("seconds", "passed"), [(1.0, False), (4.0, True), (25.0, False)])
def test_rate_when_a_language_does_not_part_its_words_then_counts_characters(seconds: float, passed: bool) -> None:
    text = "列車は十時に駅を出ます。青い紙を持って"
    assert check("speech_rate", transcript(segment(0, seconds, text), language="ja")).passed is passed


def test_rate_when_it_is_a_translation_then_counts_the_words_of_its_english() -> None:
    assert check("speech_rate", transcript(segment(0, 3), language="ja", task="translate")).passed


@pytest.mark.parametrize(
    "wrong",
    [
        transcript(segment(4, 8), segment(1, 3)),
        transcript(segment(0, 5), segment(4, 8)),
        transcript(segment(58, 61)),
        transcript(segment(0, 4, words=[word(3, "a"), word(1, "b")])),
    ],
    ids=["backwards", "overlapping", "beyond the end", "words backwards"],
)  # fmt: skip
def test_times_when_they_are_not_monotonic_then_fails(wrong: Transcript) -> None:
    found = check("monotonic_times", wrong)
    assert not found.passed and found.value and found.value >= 1


def test_times_when_two_channels_speak_at_once_then_passes() -> None:
    assert check("monotonic_times", transcript(segment(0, 4, channel=0), segment(1, 3, channel=1))).passed


@pytest.mark.parametrize(
    ("heard", "flips"),
    [("en en cy en", 1), ("en en en cy", 1), ("cy en en", 1), ("en en de de", 0), ("en cy", 0), ("en de de en en", 0)],
)
def test_flips_when_a_chunk_is_alone_in_its_language_then_fails(heard: str, flips: int) -> None:
    segments = [
        segment(10 * number, 10 * number + 4, chunk=number, language=language)
        for number, language in enumerate(heard.split())
    ]
    found = check("language_flips", transcript(*segments))
    assert (found.value, found.passed) == (flips, flips == 0)


def test_flips_when_a_segment_is_in_another_script_then_fails_and_tells_where() -> None:
    found = check("language_flips", transcript(segment(0, 4), segment(50, 54, "ご視聴ありがとうございました")))
    assert not found.passed and "00:00:50" in found.description


def test_checks_when_two_channels_begin_together_then_each_is_looked_at() -> None:
    looped = segment(0, 25, "I am going to the shop. " * 12, channel=0, chunk=0)
    foreign = segment(0, 4, "ご視聴ありがとうございました", channel=1, chunk=1)
    assert {"repetition", "language_flips"} <= set(failures(transcript(looped, foreign), None))
    assert {"repetition", "language_flips"} <= set(failures(transcript(foreign, looped), None))


def test_flips_when_a_script_is_mixed_with_a_borrowed_word_then_passes() -> None:
    assert check(
        "language_flips", transcript(segment(0, 4, "カタカナとひらがなと漢字"), segment(5, 6, "OK Linux"))
    ).passed


@pytest.mark.parametrize(("confidence", "passed"), [(0.98, True), (0.55, False), (None, True)])
def test_confidence_when_the_engine_was_unsure_then_fails(confidence: float | None, passed: bool) -> None:
    assert check("confidence", transcript(segment(0, 4), confidence=confidence)).passed is passed
