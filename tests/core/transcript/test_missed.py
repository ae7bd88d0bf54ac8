"""What a text misses of the speech in its chunk."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from stt_core.audio.clips import Clip
from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span
from stt_core.audio.stretches import Samples
from stt_core.engines.rehearing import hear_missed
from stt_core.transcript.document import ChunkSegment, ChunkTranscript, Word
from stt_core.transcript.missed import find_missed

AUDIO = Path(__file__).parents[2] / "data" / "audio"
WORDS = ["They", "will", "come", "back", "to", "London"]
MISSED = ["The", "train", "leaves", "in", "the", "morning"]
#: Where the three sentences of the recording are heard, seconds.
FIRST, SECOND, THIRD = (0.14, 2.2), (2.62, 6.1), (6.5, 9.7)


@pytest.fixture(scope="module")
def speech() -> Samples:
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(AUDIO / "sample-01.mp3")]
    form = ["-ar", str(SAMPLE_RATE), "-ac", "1", "-f", "s16le", "-"]
    return np.frombuffer(subprocess.run([*ffmpeg, *form], check=True, capture_output=True).stdout, "<i2")


def whole(samples: Samples) -> Chunk:
    return Chunk(index=0, spans=(Span(start=0, end=len(samples)),))


def said(*sentences: tuple[float, float], words: Sequence[str] = WORDS) -> ChunkTranscript:
    """A text with six words in each of these times."""
    segments = []
    for start, end in sentences:
        edges = pairwise(np.linspace(start, end, 7).tolist())
        timed = [
            Word(start=begin, end=stop, text=text, probability=0.9)
            for (begin, stop), text in zip(edges, words, strict=True)
        ]
        segments.append(ChunkSegment(start=start, end=end, text=" ".join(words), words=timed))
    return ChunkTranscript(language="en", segments=segments)


def test_text_when_it_has_words_wherever_somebody_speaks_then_nothing_is_missed(speech: Samples) -> None:
    assert find_missed(said(FIRST, SECOND, THIRD), whole(speech), speech) == []


@pytest.mark.parametrize(
    ("kept", "missed"), [((SECOND, THIRD), FIRST), ((FIRST, THIRD), SECOND), ((FIRST, SECOND), THIRD)]
)
def test_text_when_it_lacks_a_sentence_then_that_is_missed(
    kept: tuple[tuple[float, float], ...], missed: tuple[float, float], speech: Samples
) -> None:
    [(start, end)] = find_missed(said(*kept), whole(speech), speech)
    assert (start, end) == pytest.approx(missed, abs=0.45)
    assert all(end <= sentence[0] + 0.1 or start >= sentence[1] - 0.1 for sentence in kept)


def test_text_when_there_is_none_then_the_chunk_is_heard_in_two_parts(speech: Samples) -> None:
    (first, cut), (again, last) = find_missed(said(), whole(speech), speech)
    assert first < 0.3 and last > 9
    assert 2 < again < 7 and cut == pytest.approx(again, abs=0.4)


def test_sound_when_it_is_no_voice_then_is_not_missed(speech: Samples) -> None:
    noise = np.random.default_rng(1).normal(0, 3_000, len(speech)).astype(np.int16)
    at = round(2.4 * SAMPLE_RATE)
    mixed = np.concatenate((noise[:at], speech[at:]))
    assert find_missed(said(SECOND, THIRD), whole(mixed), mixed) == []
    assert find_missed(said(), whole(noise), noise) == []


def test_text_when_its_words_are_not_known_then_its_segments_count(speech: Samples) -> None:
    segments = [ChunkSegment(start=start, end=end, text="No words here.") for start, end in (FIRST, SECOND)]
    [(start, end)] = find_missed(ChunkTranscript(language="en", segments=segments), whole(speech), speech)
    assert (start, end) == pytest.approx(THIRD, abs=0.45)


def test_missed_when_heard_again_then_its_text_stands_where_it_belongs(speech: Samples) -> None:
    asked: list[tuple[int, str]] = []

    def hear(clips: Sequence[Clip], language: str) -> list[ChunkTranscript]:
        asked.append((len(clips), language))
        return [said((0.1, clip.seconds - 0.1), words=MISSED) for clip in clips]

    [after] = hear_missed([said(FIRST, THIRD)], [whole(speech)], [Clip.of(speech.tobytes())], hear)
    assert asked == [(1, "en")]
    words = [word for segment in after.segments for word in segment.words]
    assert len(words) == 18
    assert len([word for word in words if FIRST[1] < word.start < THIRD[0]]) == 6
    assert [word.start for word in words] == sorted(word.start for word in words)


@pytest.mark.parametrize("parted", [True, False], ids=["a segment each", "one segment over both"])
def test_missed_when_several_are_then_they_share_a_window_and_each_gets_its_text(parted: bool, speech: Samples) -> None:
    asked: list[float] = []

    def hear(clips: Sequence[Clip], language: str) -> list[ChunkTranscript]:
        asked.extend(clip.seconds for clip in clips)
        half = clips[0].seconds / 2
        both = said((0.1, half - 0.6), (half + 0.6, clips[0].seconds - 0.1), words=MISSED)
        first, second = both.segments
        words = [*first.words, *second.words]
        one = first.model_copy(update={"end": second.end, "text": f"{first.text} {second.text}", "words": words})
        return [both if parted else both.model_copy(update={"segments": [one]})]

    clip = Clip.of(speech.tobytes())
    after = hear_missed([said(FIRST, THIRD)] * 2, [whole(speech)] * 2, [clip, clip], hear, window_seconds=29.0)
    assert len(asked) == 1 and asked[0] < 2 * (THIRD[0] - FIRST[1]) + 1.5
    for text in after:
        words = [word for segment in text.segments for word in segment.words]
        assert [word.text.strip() for word in words if FIRST[1] < word.start < THIRD[0]] == MISSED
        assert [word.start for word in words] == sorted(word.start for word in words)


def test_missed_when_a_window_does_not_take_all_then_there_are_several(speech: Samples) -> None:
    asked: list[float] = []

    def hear(clips: Sequence[Clip], language: str) -> list[None]:
        asked.extend(clip.seconds for clip in clips)
        return [None] * len(clips)

    clip = Clip.of(speech.tobytes())
    before = [said(FIRST, THIRD)] * 12
    assert hear_missed(before, [whole(speech)] * 12, [clip] * 12, hear, window_seconds=29.0) == before
    assert 1 < len(asked) < 12 and max(asked) <= 30
    asked.clear()
    assert hear_missed(before, [whole(speech)] * 12, [clip] * 12, hear) == before
    assert len(asked) == 12  # each by itself where an engine takes less for what is short


def test_missed_when_the_text_around_it_is_one_segment_then_stands_between_its_words(speech: Samples) -> None:
    parts = said(FIRST, THIRD).segments
    text = f"{parts[0].text}. {parts[1].text}!"
    one = ChunkSegment(start=FIRST[0], end=THIRD[1], text=text, words=[*parts[0].words, *parts[1].words])
    [after] = hear_missed(
        [ChunkTranscript(language="en", segments=[one])],
        [whole(speech)],
        [Clip.of(speech.tobytes())],
        lambda clips, language: [said((0.1, clips[0].seconds - 0.1), words=MISSED)],
    )
    assert after.text.split(" ", 6) == [*WORDS[:5], "London.", f"{' '.join(MISSED)} {' '.join(WORDS)}!"]
    starts = [word.start for segment in after.segments for word in segment.words]
    assert starts == sorted(starts) and len(starts) == 18


LOOP = ChunkSegment(start=0.0, end=3.0, text=" ".join(["Thank you."] * 12))


@pytest.mark.parametrize(
    "answer",
    [
        None,
        ChunkTranscript(language="en"),
        ChunkTranscript(language="en", segments=[LOOP]),
        said((0.1, 3.0), words=["they", "would", "come", "back", "to", "London."]),  # what is written beside it
    ],
)
def test_missed_when_the_second_hearing_gives_nothing_of_use_then_the_text_stays(
    answer: ChunkTranscript | None, speech: Samples
) -> None:
    before = said(FIRST, THIRD)
    [after] = hear_missed([before], [whole(speech)], [Clip.of(speech.tobytes())], lambda clips, language: [answer])
    assert after is before
