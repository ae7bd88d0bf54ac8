"""Whether a transcript can be trusted, as far as it shows by itself: figures that give errors away, each with a limit.

* `speech_coverage`: how much of the speech that was found has a text. Little where the engine lost its place, and
  where noise or music was taken for speech.
* `repetition`: how well the text of one window compresses. A decoder that runs in a loop says the same over and over.
* `speech_rate`: words a second. Too many were invented, too few leave something out.
* `monotonic_times`: times that run backwards, overlap, or lie outside the recording.
* `language_flips`: stretches in another language or script than the rest, which a decoder falls into on unclear sound.
* `confidence`: how sure the engine was of its words, on average.

A failed check says where to look, not that the text is wrong; `monotonic_times` alone cannot fail on a right one.

Measured with `base` on 167 human recordings and hard cases (57 minutes, 11 languages): `speech_coverage` fails on every
one without speech and on four of seven stretches of far-field meetings, `confidence` on eight that are a few words long
or were misheard, the others on none.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

from stt_core.audio.plan import SAMPLE_RATE, Chunk
from stt_core.languages import ENGLISH, UNSPACED
from stt_core.logs import get_logger
from stt_core.settings import QualityName
from stt_core.transcript.document import QualityCheck, Segment, Transcript, Word
from stt_core.transcript.formats import clock
from stt_core.transcript.loops import REPETITION_FLAG
from stt_core.transcript.repetition import compression_ratio

logger = get_logger(__name__)

#: A fifth of the speech without a text is more than coughs and laughter.
LEAST_COVERAGE = 0.8
#: Speech is cut out with up to 0.35 s of silence on each side, and the engine's times are good to a tenth of a second
#: or two: a segment speaks for so much around it.
COVERAGE_MARGIN_SECONDS = 0.5
#: Less sound than this without a text may be a click.
CLICK_SECONDS = 1.0
#: Whisper's own limit (`compression_ratio_threshold`) for a window of 30 s: a text over it counts as a failure there.
MOST_COMPRESSION = 2.4
#: Words a second while somebody speaks. English is spoken at 2.5 words a second on average, pauses included, and
#: auctioneers reach 4 to 7 (National Center for Voice and Speech); a word every two seconds is dictation.
SPEECH_RATE = (0.5, 7.0)
#: Characters a second where a language does not part its words: a character is about a syllable, of which 5 (Mandarin)
#: to 8 (Japanese) are spoken in a second (Pellegrino et al., Language 87, 2011); pauses make it fewer, haste more.
CHARACTER_RATE = (1.0, 12.0)
#: Between the figures above for unclear and for invented. Whisper takes a window for a failure whose tokens have a mean
#: log probability under -1 (`logprob_threshold`), that is 0.37; a mean over a recording must be surer than its worst.
LEAST_CONFIDENCE = 0.7
#: Fewer letters may be a name or a word that was borrowed.
_LETTERS_OF_A_SCRIPT = 10
#: With fewer chunks it is open which of them has the wrong language.
_LEAST_CHUNKS = 3
_PLACES_NAMED = 3
#: These are written in one text.
_EAST_ASIAN = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL"})

_Item = TypeVar("_Item")
_Interval = tuple[float, float]
#: The chunks of a recording's plan; None where speech was not looked for.
_Plan = Sequence[Chunk] | None


class _Finding(NamedTuple):
    passed: bool
    value: float | None
    limit: float
    description: str


def check_quality(transcript: Transcript, chunks: _Plan, *, errors: Collection[QualityName] = ()) -> list[QualityCheck]:
    """Return what every check finds, in the order of `QualityName`.

    Args:
        transcript: What is checked.
        chunks: The plan it was merged from: the speech that was found. None where the recording was cut without looking
            for speech.
        errors: The checks whose failure is an error; that of the others is a warning.
    """
    checks: list[QualityCheck] = []
    for name, check in _CHECKS.items():
        passed, value, limit, description = check(transcript, chunks)
        checks.append(
            QualityCheck(
                name=name,
                passed=passed,
                severity="error" if name in errors else "warn",
                value=None if value is None else round(value, 4),
                limit=limit,
                description=description,
            )
        )
        if not passed:
            logger.warning("job {}: the transcript fails {}: {}", transcript.job_id, name, description)
    return checks


def _speech_coverage(transcript: Transcript, chunks: _Plan) -> _Finding:
    """Most of the speech that was found has a text."""
    if chunks is None:
        return _Finding(True, None, LEAST_COVERAGE, "Not measured: speech was not looked for (strategy fixed).")
    speech = covered = 0.0
    for channel, spans in _by_channel((chunk.channel, span) for chunk in chunks for span in chunk.spans).items():
        heard = [(span.start / SAMPLE_RATE, span.end / SAMPLE_RATE) for span in spans]
        said = [
            (segment.start - COVERAGE_MARGIN_SECONDS, segment.end + COVERAGE_MARGIN_SECONDS)
            for segment in transcript.segments
            if segment.channel == channel
        ]
        speech += covered_seconds(heard)
        covered += covered_seconds(heard) + covered_seconds(said) - covered_seconds([*heard, *said])
    if not speech:
        return _Finding(True, None, LEAST_COVERAGE, "No speech was found.")
    without = max(0.0, speech - covered)  # sums of seconds are not exact
    return _Finding(
        covered >= LEAST_COVERAGE * speech or without < CLICK_SECONDS,
        min(1.0, covered / speech),
        LEAST_COVERAGE,
        f"{without:.1f} s of {speech:.1f} s of speech have no text.",
    )


def _repetition(transcript: Transcript, _: _Plan) -> _Finding:
    """No text runs in a loop."""
    windows: dict[int | None, list[Segment]] = defaultdict(list)
    for segment in transcript.segments:
        windows[segment.chunk].append(segment)
    ratios = [(segments[0].start, compression_ratio(_text(segments))) for segments in windows.values()]
    loops = [segment.start for segment in transcript.segments if REPETITION_FLAG in segment.flags]
    dense = [start for start, ratio in ratios if ratio > MOST_COMPRESSION]
    most = max((ratio for _, ratio in ratios), default=None)
    description = f"Text that runs in a loop: {_places(sorted({*loops, *dense}))}."
    return _Finding(not loops and not dense, most, MOST_COMPRESSION, description)


def _speech_rate(transcript: Transcript, _: _Plan) -> _Finding:
    """As many words a second as people speak."""
    written = ENGLISH if transcript.task == "translate" else transcript.language
    text = _text(transcript.segments)
    unit, (least, most) = ("characters", CHARACTER_RATE) if written in UNSPACED else ("words", SPEECH_RATE)
    units = sum(map(str.isalnum, text)) if written in UNSPACED else len(text.split())
    if not units:
        return _Finding(True, None, most, "No words.")
    seconds = sum(segment.end - segment.start for segment in transcript.segments)
    rate = units / max(seconds, 0.1)
    description = f"{units} {unit} in {seconds:.1f} s: {least:g} to {most:g} a second are spoken."
    return _Finding(least <= rate <= most, rate, least if rate < least else most, description)


def _monotonic_times(transcript: Transcript, _: _Plan) -> _Finding:
    """Times go forward, do not overlap, and lie in the recording."""
    wrong: list[float] = []
    for segments in _by_channel((segment.channel, segment) for segment in transcript.segments).values():
        rows: tuple[Sequence[Segment | Word], ...] = (
            segments,
            [word for segment in segments for word in segment.words],
        )
        for row in rows:
            wrong += [item.start for item in row if not 0 <= item.start <= item.end <= transcript.duration_seconds]
            wrong += [after.start for before, after in pairwise(row) if after.start < before.end]
    return _Finding(not wrong, len(wrong), 0, f"Times that run backwards or out of the recording: {_places(wrong)}.")


def _language_flips(transcript: Transcript, _: _Plan) -> _Finding:
    """No stretch is in another language or script than the rest."""
    flips: list[float] = []
    for segments in _by_channel((segment.channel, segment) for segment in transcript.segments).values():
        first = {segment.chunk: segment for segment in reversed(segments)}  # of each chunk the first, from the last on
        heard = [None, *(segment.language for segment in first.values()), None]
        if len(first) >= _LEAST_CHUNKS:
            flips += [
                segment.start
                for after, segment, before in zip(heard, first.values(), heard[2:], strict=False)
                if segment.language not in (before, after, transcript.language)
            ]
    usual = _script(_text(transcript.segments))
    flips += [segment.start for segment in transcript.segments if _script(segment.text) not in (None, usual)]
    return _Finding(
        not flips, len(flips), 0, f"Stretches in another language or script than the rest: {_places(sorted(flips))}."
    )


def _confidence(transcript: Transcript, _: _Plan) -> _Finding:
    """The engine was sure of its words."""
    mean = transcript.statistics.confidence
    description = "The engine's mean probability of a word." if mean is not None else "The engine gave none."
    return _Finding(mean is None or mean >= LEAST_CONFIDENCE, mean, LEAST_CONFIDENCE, description)


_CHECKS: dict[QualityName, Callable[[Transcript, _Plan], _Finding]] = {
    "speech_coverage": _speech_coverage,
    "repetition": _repetition,
    "speech_rate": _speech_rate,
    "monotonic_times": _monotonic_times,
    "language_flips": _language_flips,
    "confidence": _confidence,
}
#: What a transcript that passes is like, for people.
CHECKS: dict[QualityName, str] = {name: check.__doc__ or "" for name, check in _CHECKS.items()}


def _by_channel(items: Iterable[tuple[int | None, _Item]]) -> dict[int | None, list[_Item]]:
    channels: dict[int | None, list[_Item]] = defaultdict(list)
    for channel, item in items:
        channels[channel].append(item)
    return channels


def covered_seconds(intervals: Iterable[tuple[float, float]]) -> float:
    """Return how much the intervals cover together."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _text(segments: Iterable[Segment]) -> str:
    return " ".join(segment.text for segment in segments)


def _script(text: str) -> str | None:
    """Return the script that most letters of a text are of, as Unicode names it; None where there are few."""
    scripts: Counter[str] = Counter()
    for letter, count in Counter(filter(str.isalpha, text)).items():
        script = unicodedata.name(letter, "?").split()[0]
        scripts["EAST ASIAN" if script in _EAST_ASIAN else script] += count
    return scripts.most_common(1)[0][0] if scripts.total() >= _LETTERS_OF_A_SCRIPT else None


def _places(starts: Sequence[float]) -> str:
    named = ", ".join(clock(start) for start in starts[:_PLACES_NAMED]) or "none"
    return f"{named} and {len(starts) - _PLACES_NAMED} more" if len(starts) > _PLACES_NAMED else named
