"""Sounds: what the engine writes where nobody speaks, told apart from the text.

Trained on subtitles, whisper writes their labels ("[Music]", "(laughs)") for sounds, and for noise what often stands
there when nobody speaks ("Thanks for watching!"). None of that was said. A text is a sound where the voice detector
hears nothing for as long as it lasts and half a second around it (whisper's times are coarse), or where all of it is a
label.

Measured with `base` on 57 minutes of human recordings: every text that was clearly said has a voice of 0.66 or more;
what was invented for noise, music and silence is a label, or has one under 0.35. A word in the far corner of a meeting
room has been seen under it too, so what is told apart is not thrown away: it stands in the transcript as a sound, and a
warning names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from stt_core.audio.plan import SAMPLE_RATE, Span
from stt_core.audio.vad import Voice
from stt_core.logs import get_logger
from stt_core.transcript.document import Segment

logger = get_logger(__name__)

#: A voice that goes on, for Silero; see the figures above.
LEAST_LIKELIHOOD = 0.35
_MARGIN_SAMPLES = SAMPLE_RATE // 2
#: One pair of brackets or asterisks around a few words; notes stand before and after songs, whose words are sung.
_LABEL = re.compile(r"[\[(（【*][^\[\]()（）【】*]{1,40}[\])）】*][.,!]?|[♪♫\s]+")


def is_label(text: str) -> bool:
    """Tell whether a whole text is the name of a sound, as subtitles write it."""
    return _LABEL.fullmatch(text.strip()) is not None


def part_sounds(segments: Sequence[Segment], voices: Mapping[int | None, Voice]) -> tuple[list[Segment], list[Segment]]:
    """Return the segments that were said and those that are sounds, each numbered from 0.

    Args:
        segments: All that the engine wrote.
        voices: Of each channel; the segments of one that is not there are all taken for said, unless they are labels.
    """
    said: list[Segment] = []
    sounds: list[Segment] = []
    for segment in segments:
        voice = voices.get(segment.channel)
        silent = voice is not None and voice.likelihood(_around(segment)) < LEAST_LIKELIHOOD
        kept = sounds if silent or is_label(segment.text) else said
        kept.append(segment.model_copy(update={"index": len(kept)}))
    if sounds:
        logger.info("{} segments are sounds: {}", len(sounds), "; ".join(sound.text for sound in sounds[:5]))
    return said, sounds


def _around(segment: Segment) -> Span:
    start, end = round(segment.start * SAMPLE_RATE), round(segment.end * SAMPLE_RATE)
    return Span(start=max(0, start - _MARGIN_SAMPLES), end=end + _MARGIN_SAMPLES)
