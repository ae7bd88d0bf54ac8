"""The face of every engine: chunks of speech in, their texts out, in order, each as soon as it is there.

An engine hears one chunk at a time, or several together, in a process of its own; it knows nothing of loops, jobs
or caches, which stand above it and are the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Required, TypedDict, Unpack

from stt_core.settings import Settings
from stt_core.transcript.document import ChunkTranscript
from stt_core.whisper.models import WhisperModel

#: Asked now and then whether the work is still wanted; true ends the engine.
ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Decoding:
    """How text is searched for.

    Attributes:
        beam_size: Beams of the search; 1 is greedy.
        best_of: Candidates kept when the decoder has to sample.
        translate: Translate into English instead of transcribing.
        prompt: Text before the audio: names and spellings to expect.
        temperature: Of the sampling; None is the engine's own.
    """

    beam_size: int = 5
    best_of: int = 5
    translate: bool = False
    prompt: str | None = None
    temperature: float | None = None


@dataclass(frozen=True)
class Patience:
    """How long an engine may take: so many seconds, and so many more for each second of audio."""

    seconds: float = 120.0
    per_audio_second: float = 10.0

    @classmethod
    def from_settings(cls, settings: Settings) -> Patience:
        """Return the patience that the settings describe."""
        return cls(settings.whisper_timeout_seconds, settings.whisper_timeout_per_audio_second)

    def timeout_seconds(self, audio_seconds: float) -> float:
        """Return how long an engine may take over so much audio, seconds of wall clock."""
        return self.seconds + self.per_audio_second * audio_seconds


class Call(TypedDict, total=False):
    """How a method of an engine is called, whichever it is."""

    #: Threads that compute.
    threads: Required[int]
    #: Where an engine may stay, its model loaded, for the next call (`stt_core.engines.warm`); None for one that ends.
    slot: Path | None
    #: Asked every few seconds.
    should_stop: ShouldStop | None


class Engine(ABC):
    """One model and the program that runs it.

    Every method raises what the program's failure is: EngineError (it crashed, or left no usable output),
    EngineTimeoutError (it outlasted its patience), EngineStoppedError (`should_stop` said so), ModelInvalidError (the
    model is damaged, or it cannot load it), ExecutableNotFoundError (it cannot be run), DiskFullError.
    """

    model: WhisperModel

    @property
    @abstractmethod
    def name(self) -> str:
        """What `WHISPER_ENGINE` calls it, with its release where that is known."""

    @property
    @abstractmethod
    def chunks_per_call(self) -> int:
        """How many chunks to give to one call: others wait for its cores, and a model may be loaded for it."""

    @property
    def window_seconds(self) -> float:
        """So many seconds of sound cost as much as one: what is short is heard together. 0 where length is the cost."""
        return 0.0

    @abstractmethod
    def fingerprint(self, decoding: Decoding, language: str) -> dict[str, object]:
        """Return everything besides sound and model that decides about the text: what a result is kept under.

        Raises:
            UnknownLanguageError: Whisper or the model does not know the language.
        """

    @abstractmethod
    def transcribe(
        self, wavs: Sequence[Path], decoding: Decoding, *, language: str, **call: Unpack[Call]
    ) -> Generator[ChunkTranscript]:
        """Yield the texts of chunks in their order, each as soon as it is whole; then raise what the failure was.

        Args:
            wavs: WAV files of 16 kHz, mono, 16 bit, each at most one window (30 s) long.
            decoding: How.
            language: ISO 639-1 code, or `auto` to detect it for each chunk.
            call: With what.

        Raises:
            UnknownLanguageError: Whisper or the model does not know the language.
            UnreadableAudioError: A file is not such a WAV.
        """

    @abstractmethod
    def load(self, **call: Unpack[Call]) -> None:
        """Load the model where the engine stays for the next call, if it does and has not yet.

        Args:
            call: As the next one will be.
        """

    @abstractmethod
    def detect_languages(
        self, wavs: Sequence[Path], *, allowed: Sequence[str] = (), **call: Unpack[Call]
    ) -> list[dict[str, float]]:
        """Return what languages are heard in sounds, in their order: codes with their probabilities.

        Args:
            wavs: WAV files of 16 kHz, mono, 16 bit; 30 s of each are heard.
            allowed: Codes of which at least one must be among those of each sound.
            call: With what.
        """
