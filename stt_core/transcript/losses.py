"""What was heard and not written: the losses that a transcript shows by itself, as warnings.

A transcript that is empty, or lacks a stretch, looks like one of a recording in which nobody spoke. So whatever the
level or the voice detector says of a stretch without a text is said, however sure the engine was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stt_core.audio.plan import SAMPLE_RATE, Chunk
from stt_core.audio.vad import Voice
from stt_core.transcript.document import Segment, Transcript
from stt_core.transcript.quality import CLICK_SECONDS, COVERAGE_MARGIN_SECONDS, LEAST_COVERAGE, covered_seconds
from stt_core.transcript.sounds import is_label
from stt_core.warnings import RecordingWarning, WarningName

#: Pauses of a speaker, ms: as in the search for speech.
_PAUSE_MS = 500
_TEXTS_NAMED = 3

_Interval = tuple[float, float]


def find_losses(
    transcript: Transcript, chunks: Sequence[Chunk], voices: Mapping[int | None, Voice]
) -> Iterator[RecordingWarning]:
    """Yield what was heard and has no text, and what was written and is taken for a sound.

    Args:
        transcript: With its sounds told apart.
        chunks: The plan it was merged from.
        voices: Of each channel.
    """
    invented = [sound for sound in transcript.sounds if not is_label(sound.text)]
    if invented:
        named = "; ".join(f"“{sound.text}” at {sound.start:.1f} s" for sound in invented[:_TEXTS_NAMED])
        more = f" and {len(invented) - _TEXTS_NAMED} more" if len(invented) > _TEXTS_NAMED else ""
        message = f"Text where no voice is heard is kept apart, as sounds: {named}{more}."
        yield RecordingWarning(name=WarningName.TEXT_WITHOUT_VOICE, message=message)
    voiceless = [
        interval
        for channel, voice in voices.items()
        for interval in _without_text(
            [(span.start, span.end) for span in voice.spans(min_silence_ms=_PAUSE_MS)], transcript.segments, channel
        )
        if interval[1] - interval[0] >= CLICK_SECONDS
    ]
    if voiceless:
        yield _lost(WarningName.VOICE_WITHOUT_TEXT, "A voice is heard", voiceless)
        return
    # A label says what is heard instead of speech; but where there is no text at all, that may have been faint speech.
    written = [*transcript.segments, *transcript.sounds] if transcript.segments else []
    heard = [(chunk.channel, span) for chunk in chunks for span in chunk.spans]
    silent = [
        interval
        for channel in {channel for channel, _ in heard}
        for interval in _without_text(
            [(span.start, span.end) for of, span in heard if of == channel],
            written,
            channel,
        )
    ]
    total = covered_seconds((span.start / SAMPLE_RATE, span.end / SAMPLE_RATE) for _, span in heard)
    if covered_seconds(silent) > max(CLICK_SECONDS, (1 - LEAST_COVERAGE) * total):
        yield _lost(WarningName.SOUND_WITHOUT_TEXT, "Sound stands out from the background", silent)


def _lost(name: WarningName, what: str, intervals: Sequence[_Interval]) -> RecordingWarning:
    message = f"{what} for {covered_seconds(intervals):.1f} s that have no text, first at {min(intervals)[0]:.1f} s."
    return RecordingWarning(name=name, message=message)


def _without_text(
    heard: Sequence[tuple[int, int]], segments: Sequence[Segment], channel: int | None
) -> Iterator[_Interval]:
    """Yield the parts (seconds) of what was heard in a channel (samples, in order) that no segment is near."""
    margin = COVERAGE_MARGIN_SECONDS
    said = sorted((one.start - margin, one.end + margin) for one in segments if one.channel == channel)
    position = 0
    for first, last in sorted(heard):
        start, end = first / SAMPLE_RATE, last / SAMPLE_RATE
        while position < len(said) and said[position][1] <= start:
            position += 1
        for begin, until in said[position:]:
            if begin >= end:
                break
            if begin > start:
                yield start, begin
            start = max(start, until)
        if start < end:
            yield start, end
