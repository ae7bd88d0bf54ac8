"""The WAV files that engines read: 16 kHz, mono, 16 bit."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stt_core.audio.plan import SAMPLE_BYTES, SAMPLE_RATE
from stt_core.errors import UnreadableAudioError


def wav_seconds(path: Path) -> float:
    """Return how long a WAV file is.

    Raises:
        UnreadableAudioError: It is not there, or not such a WAV.
    """
    with _open(path) as audio:
        return audio.getnframes() / SAMPLE_RATE


def write_rest(path: Path, start: float, target: Path) -> None:
    """Write what follows `start`, seconds, of a WAV file into another.

    Raises:
        UnreadableAudioError: It is not there, or not such a WAV.
    """
    with _open(path) as audio, wave.open(str(target), "wb") as rest:
        rest.setparams(audio.getparams())
        audio.setpos(min(round(start * SAMPLE_RATE), audio.getnframes()))
        rest.writeframes(audio.readframes(audio.getnframes()))


@contextmanager
def _open(path: Path) -> Iterator[wave.Wave_read]:
    with ExitStack() as stack:
        try:
            audio = stack.enter_context(wave.open(str(path), "rb"))
        except (OSError, EOFError, wave.Error) as error:
            raise UnreadableAudioError(
                f"The chunk {path.name} is not a readable WAV file: {str(error) or 'it is empty'}."
            ) from error
        if (audio.getframerate(), audio.getnchannels(), audio.getsampwidth()) != (SAMPLE_RATE, 1, SAMPLE_BYTES):
            raise UnreadableAudioError(f"The chunk {path.name} is not 16 kHz mono 16 bit.")
        yield audio
