"""Missed speech: where a voice is heard in a chunk and no word was written.

A decoder that lost its place skips a sentence, ends early, or takes a pause for the end, and is sure of what it wrote.
The engine's times of words give that away: there is a gap over speech. Of 16 gaps over a voice in 35 minutes of human
speech 15 were speech that was left out, and came back when they were heard by themselves (docs/decisions/0028). Music,
hiss and clicks are not worth that: what is missed must be a voice to the voice detector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from stt_core.audio.plan import SAMPLE_RATE, Chunk, Span
from stt_core.audio.stretches import Samples, Stretch, find_stretches
from stt_core.audio.vad import measure_voice
from stt_core.transcript.document import ChunkTranscript

#: Between two words lies so much, seconds, where speech was left out: more than a pause that a chunk keeps.
_GAP_SECONDS = 1.2
#: Of less speech in a gap, seconds, nothing came back but guesses (five of five, 0.7 to 0.8 s long).
_LEAST_SECONDS = 1.0
#: The engine's times are off by so much, seconds: less of a stretch that has words is a part of one of them.
_REMAINS_SECONDS = 0.4
#: From this probability on Silero takes a sound for a voice.
_VOICE = 0.5
#: Sound around what is missed that is heard with it, seconds: its first consonant may be quiet.
_MARGIN_SECONDS = 0.2
#: Each costs a window, so a chunk gets so many at the most, its longest.
_MOST = 2


def find_missed(transcript: ChunkTranscript, chunk: Chunk, samples: Samples) -> list[tuple[float, float]]:
    """Return what to hear again of a chunk: starts and ends, seconds from its start, in order.

    Where nothing was written at all, it is heard again in two parts: as a whole it would give nothing again.

    Args:
        transcript: What the engine said, with its own times.
        chunk: What the sound is made of.
        samples: The chunk as the engine heard it: 16 kHz, mono.
    """
    gaps = list(_gaps(transcript, len(samples) / SAMPLE_RATE))
    if not gaps:
        return []
    stretches = [stretch for stretch in find_stretches(chunk, samples) if stretch.is_heard]
    regions = [_between(stretches, *gap) for gap in gaps]
    if not transcript.segments and len(stretches) > 1:
        regions = _in_two(stretches)
    found = [region for region in regions if _is_voice(region, samples)]
    longest = sorted(found, key=lambda region: region[0].start - region[-1].end)[:_MOST]
    last = len(samples) / SAMPLE_RATE
    return [
        (
            max(0.0, region[0].start / SAMPLE_RATE - _MARGIN_SECONDS),
            min(last, region[-1].end / SAMPLE_RATE + _MARGIN_SECONDS),
        )
        for region in sorted(longest, key=lambda region: region[0].start)
    ]


def _gaps(transcript: ChunkTranscript, seconds: float) -> Iterator[tuple[int, int]]:
    """Yield where no word is for long, in samples."""
    reached = 0.0
    said: list[tuple[float, float]] = []
    for segment in transcript.segments:
        said += [(word.start, word.end) for word in segment.words] or [(segment.start, segment.end)]
    for start, end in [*said, (seconds, seconds)]:
        if start - reached >= _GAP_SECONDS:
            yield round(reached * SAMPLE_RATE), round(start * SAMPLE_RATE)
        reached = max(reached, end)


def _between(stretches: Sequence[Stretch], start: int, end: int) -> list[Stretch]:
    """Return the stretches as far as they lie in a gap, without what is left there of words beside it."""
    inside = []
    for one in stretches:
        part = replace(one, start=max(one.start, start), end=min(one.end, end))
        if part == one or part.length >= _REMAINS_SECONDS * SAMPLE_RATE:
            inside.append(part)
    return inside


def _in_two(stretches: Sequence[Stretch]) -> list[list[Stretch]]:
    """Return the stretches of a chunk in two parts, with the longest pause near its middle between them."""
    middle = (stretches[0].start + stretches[-1].end) / 2

    def price(at: int) -> float:
        return abs(stretches[at].start - middle) / SAMPLE_RATE - min(stretches[at].pause / SAMPLE_RATE, 1.0)

    cut = min(range(1, len(stretches)), key=price)
    return [list(stretches[:cut]), list(stretches[cut:])]


def _is_voice(region: Sequence[Stretch], samples: Samples) -> bool:
    if sum(stretch.length for stretch in region) < _LEAST_SECONDS * SAMPLE_RATE:
        return False
    start, end = region[0].start, region[-1].end
    voice = measure_voice([samples[start:end].tobytes()])
    return voice.likelihood(Span(start=0, end=end - start)) >= _VOICE
