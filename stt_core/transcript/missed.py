"""Missed speech: where a voice is heard in a chunk and no word was written.

A decoder that lost its place skips a sentence, ends early, or takes a pause for the end, and is sure of what it wrote.
Placed words (`stt_core.transcript.placing`) give that away: a stretch of speech is left without any. Where the voice
detector hears a voice in such a stretch, it is worth a hearing by itself; hiss, music and clicks are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stt_core.audio.models import SAMPLE_RATE, Chunk, Span
from stt_core.audio.stretches import Samples, Stretch, find_stretches
from stt_core.audio.vad import measure_voice
from stt_core.logs import logged
from stt_core.transcript.models import ChunkTranscript

#: The shortest answer ("yes") takes about so long, seconds; less is a breath, or the end of a word.
_LEAST_SECONDS = 0.6
#: From this probability on Silero takes a sound for a voice. What was missed had 1.0, what was none 0.0.
_VOICE = 0.5
#: Sound around what is missed that is heard with it, seconds: its first consonant may be quiet.
_MARGIN_SECONDS = 0.2
#: Each costs a window, so a chunk gets so many at the most, its longest.
_MOST = 2


@logged
def find_missed(transcript: ChunkTranscript, chunk: Chunk, samples: Samples) -> list[tuple[float, float]]:
    """Return what to hear again of a chunk: starts and ends, seconds from its start, in order.

    Where nothing was written at all, it is heard again in two parts: as a whole it would give nothing again.

    Args:
        transcript: The chunk's text, its words placed. One that has a segment without words is taken as complete.
        chunk: What the sound is made of.
        samples: The chunk as the engine heard it: 16 kHz, mono.
    """
    if not all(segment.words for segment in transcript.segments):
        return []
    stretches = find_stretches(chunk, samples)
    regions = list(_wordless(transcript, stretches))
    if len(regions) == 1 and not transcript.segments and len(stretches) > 1:
        regions = _in_two(stretches)
    found = [region for region in regions if _is_voice(region, samples)]
    longest = sorted(found, key=lambda region: region[0].start - region[-1].end)[:_MOST]
    return [_with_margins(region, stretches, chunk.length) for region in sorted(longest, key=lambda one: one[0].start)]


def _wordless(transcript: ChunkTranscript, stretches: Sequence[Stretch]) -> Iterator[list[Stretch]]:
    """Yield stretches that follow one another without a word in or between them."""
    words = [word for segment in transcript.segments for word in segment.words]
    region: list[Stretch] = []
    for stretch in stretches:
        start, end = stretch.start / SAMPLE_RATE, stretch.end / SAMPLE_RATE
        if any(word.start < end and start < word.end for word in words):
            if region:
                yield region
            region = []
        elif stretch.is_heard:
            region = [*region, stretch]
    if region:
        yield region


def _in_two(stretches: Sequence[Stretch]) -> list[list[Stretch]]:
    """Return the stretches of a chunk in two parts, with the longest pause near its middle between them."""
    middle = (stretches[0].start + stretches[-1].end) / 2

    def price(at: int) -> float:
        return abs(stretches[at].start - middle) / SAMPLE_RATE - min(stretches[at].pause / SAMPLE_RATE, 1.0)

    cut = min(range(1, len(stretches)), key=price)
    return [list(stretches[:cut]), list(stretches[cut:])]


def _is_voice(region: Sequence[Stretch], samples: Samples) -> bool:
    start, end = region[0].start, region[-1].end
    if sum(stretch.length for stretch in region) < _LEAST_SECONDS * SAMPLE_RATE:
        return False
    voice = measure_voice([samples[start:end].tobytes()])
    return voice.likelihood(Span(start=0, end=end - start)) >= _VOICE


def _with_margins(region: Sequence[Stretch], stretches: Sequence[Stretch], length: int) -> tuple[float, float]:
    """Return where a region begins and ends, with the sound around it as far as no other stretch has it."""
    margin = round(_MARGIN_SECONDS * SAMPLE_RATE)
    before = max((one.end for one in stretches if one.end <= region[0].start), default=0)
    after = min((one.start for one in stretches if one.start >= region[-1].end), default=length)
    start, end = max(region[0].start - margin, before), min(region[-1].end + margin, after)
    return start / SAMPLE_RATE, end / SAMPLE_RATE
