"""What the reader of a transcript must know of its recording: every loss that the system can notice, by name.

A warning never fails a job. It stands in the transcript, on the job, in the Dagster UI, on the command line, and is
counted in `/metrics`. Nothing is imported here but the ground, so that every room can warn.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator


class WarningName(StrEnum):
    """The kinds of loss and doubt; programs may rely on the names, people read the message."""

    #: The decoder met errors: the recording is damaged.
    DAMAGED = "damaged"
    #: Less sound came out than the container says there is: the recording is cut off.
    CUT_OFF = "cut_off"
    #: Bytes of the file were not read.
    UNREAD = "unread"
    #: Timestamps leave out stretches of the sound, which are silence now.
    TIMESTAMP_GAPS = "timestamp_gaps"
    #: The file has other audio tracks than the one that was transcribed.
    TRACKS_LEFT_OUT = "tracks_left_out"
    #: The recording has channels that were not transcribed.
    CHANNELS_LEFT_OUT = "channels_left_out"
    #: By its level there is no speech, by the voice detector there is, or the other way round.
    SPEECH_UNCERTAIN = "speech_uncertain"
    #: The voice detector hears speech in stretches that have no text.
    VOICE_WITHOUT_TEXT = "voice_without_text"
    #: Sound well above the background has no text.
    SOUND_WITHOUT_TEXT = "sound_without_text"
    #: The engine wrote text where there is no voice; it is kept apart as sounds.
    TEXT_WITHOUT_VOICE = "text_without_voice"
    #: The language could not be told with confidence.
    LANGUAGE_UNCERTAIN = "language_uncertain"
    #: The job was accepted before runs named the digest of their model.
    MODEL_UNPINNED = "model_unpinned"


class RecordingWarning(BaseModel):
    """One warning: its name for programs, its text for people."""

    name: WarningName
    message: str


def _from_text(value: Any) -> Any:
    """Read what was written before warnings had names: texts, all of damaged or cut off recordings."""
    return [{"name": WarningName.DAMAGED, "message": one} if isinstance(one, str) else one for one in value]


#: The warnings of a recording, in the order in which they were noticed.
RecordingWarnings = Annotated[list[RecordingWarning], BeforeValidator(_from_text)]
