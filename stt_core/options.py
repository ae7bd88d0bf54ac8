"""What a caller may ask of a transcription."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel

#: How speech is found in a recording: by whichever of level and voice suits it, by level, by a voice detector alone, or
#: not at all (cuts of equal length).
Strategy = Literal["auto", "silence", "vad", "fixed"]


class Channels(StrEnum):
    """What becomes of a recording with several channels."""

    MIX = "mix"
    SPLIT = "split"


class JobOptions(BaseModel):
    """What the caller asked for."""

    #: ISO 639-1 code; `auto` to detect it once, where the voice is, `auto-per-chunk` on each chunk.
    language: str = "auto"
    #: The codes that `auto` chooses from, sorted; none stands for all.
    languages: tuple[str, ...] = ()
    #: As it was asked for: a name, or the path that `WHISPER_MODEL` was.
    model: str
    #: The audio track of a file with several, counted from 1; None for the default one, or the first with a voice.
    track: int | None = None
    #: `split` transcribes each channel by itself and names it as the speaker.
    channels: Channels = Channels.MIX
    #: None follows `CHUNK_STRATEGY`.
    strategy: Strategy | None = None
    #: Whether a chunk that fails for good leaves a gap in the transcript instead of failing the job.
    allow_partial: bool = False
    #: Text before the audio: names and spellings to expect.
    prompt: str | None = None
    #: Translate into English instead of transcribing.
    translate: bool = False
    #: Sampling temperature of the decoder; None follows the engine's own.
    temperature: float | None = None
    #: Whether the transcript has the times of words.
    word_timestamps: bool = True

    @property
    def model_name(self) -> str:
        """The name of the model; never a path of this machine."""
        return model_name(self.model)


def model_name(asked_for: str) -> str:
    """Return the name of a model by what was asked for: of a path, the name of its file; a name is one already."""
    file = asked_for.rpartition(os.sep)[2]
    return file.removeprefix("ggml-").removesuffix(".bin") or file
