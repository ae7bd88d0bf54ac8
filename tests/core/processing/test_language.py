"""Where a recording is listened to for its language, and what the places decide together."""

from __future__ import annotations

import pytest

from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span
from stt_core.processing.language import choose_places, decide_language
from stt_core.warnings import WarningName


def spans(*seconds: tuple[float, float]) -> tuple[Span, ...]:
    return tuple(Span(start=round(start * SAMPLE_RATE), end=round(end * SAMPLE_RATE)) for start, end in seconds)


def chunk(index: int, *seconds: tuple[float, float], channel: int | None = None) -> Chunk:
    return Chunk(index=index, spans=spans(*seconds), joint=3200, channel=channel)


def test_places_when_music_comes_first_then_lie_in_the_voice_alone() -> None:
    chunks = [chunk(0, (0, 28)), chunk(1, (28, 50), (51, 55)), chunk(2, (60, 80))]
    places = choose_places(chunks, {None: spans((30, 34), (49, 52), (70, 75))})
    assert [place.spans for place in places] == [spans((30, 34), (49, 50), (51, 52)), spans((70, 75))]


def test_places_when_music_holds_crumbs_of_voice_then_leave_them_out() -> None:
    chunks = [chunk(number, (30 * number, 30 * number + 28)) for number in range(6)]
    crumbs = spans(*((30 * number + 5, 30 * number + 5.2) for number in range(4)))
    assert [place.index for place in choose_places(chunks, {None: (*crumbs, *spans((160, 170)))})] == [5]
    assert [place.index for place in choose_places(chunks, {None: crumbs})] == [0, 1, 2, 3]


def test_places_when_there_are_many_chunks_then_are_spread_and_have_most_voice() -> None:
    chunks = [chunk(number, (30 * number, 30 * number + 28)) for number in range(40)]
    loud = {3, 17, 22, 39}
    voice = spans(*((30 * number, 30 * number + (25 if number in loud else 5)) for number in range(40)))
    places = choose_places(chunks[::-1], {None: voice})
    assert [place.index for place in places] == sorted(loud)
    assert all(place.speech_seconds == 25 for place in places)


def test_places_when_channels_are_apart_then_each_has_its_own_voice() -> None:
    chunks = [chunk(0, (0, 10), channel=0), chunk(1, (0, 10), channel=1)]
    places = choose_places(chunks, {0: spans((1, 2)), 1: spans((8, 9))})
    assert [(place.channel, place.spans) for place in places] == [(0, spans((1, 2))), (1, spans((8, 9)))]


def test_places_when_there_is_no_voice_at_all_then_are_chunks_as_they_are() -> None:
    chunks = [chunk(0, (0, 10)), chunk(1, (20, 25))]
    assert choose_places(chunks, {None: ()}) == choose_places(chunks, {}) == chunks


def test_language_when_places_agree_then_there_is_no_doubt() -> None:
    places = [chunk(0, (0, 20)), chunk(1, (20, 40))]
    chosen = decide_language(places, [{"de": 0.9, "en": 0.1}, {"de": 0.8, "nl": 0.2}])
    assert (chosen.code, chosen.warnings) == ("de", ())


def test_language_when_places_disagree_then_is_that_of_most_voice_and_the_others_are_named() -> None:
    places = [chunk(0, (0, 8)), chunk(1, (60, 68)), chunk(2, (125.5, 133)), chunk(3, (200, 210))]
    chosen = decide_language(places, [{"de": 0.9}, {"en": 0.99, "de": 0.01}, {"de": 0.95}, {}])
    assert chosen.code == "de"
    [warning] = chosen.warnings
    assert warning.name is WarningName.LANGUAGE_UNCERTAIN
    assert "en at 00:01:00" in warning.message
    assert "auto-per-chunk" in warning.message
    assert "00:02:05" not in warning.message


@pytest.mark.parametrize("other", [{"en": 0.77, "de": 0.2}, {"en": 0.99}])
def test_language_when_a_place_is_not_sure_or_a_crumb_then_it_raises_no_doubt(other: dict[str, float]) -> None:
    seconds = 1.5 if other["en"] > 0.8 else 10
    places = [chunk(0, (0, 20)), chunk(1, (30, 30 + seconds))]
    chosen = decide_language(places, [{"de": 0.95}, other])
    assert (chosen.code, chosen.warnings) == ("de", ())


def test_language_when_no_place_is_sure_then_the_doubt_is_named() -> None:
    chosen = decide_language([chunk(0, (0, 20))], [{"sv": 0.4, "no": 0.35, "da": 0.25}])
    assert chosen.code == "sv"
    assert ["sv has 40%" in warning.message for warning in chosen.warnings] == [True]


def test_language_when_nothing_could_be_heard_then_each_chunk_detects_its_own_and_that_is_named() -> None:
    chosen = decide_language([chunk(0, (0, 20)), chunk(1, (20, 40))], [{}, {}])
    assert chosen.code == "auto"
    assert [warning.name for warning in chosen.warnings] == [WarningName.LANGUAGE_UNCERTAIN]
