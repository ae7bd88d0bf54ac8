"""The language of sounds, by one pass of the encoder each (`whisper-cli --detect-language`): nothing is decoded.

`stt-whisper-cli` tells the probability of every language. A `whisper-cli` tells the most probable one, and how probable
that is on standard error. Where that is none of those to choose from, `stt-whisper-cli` listens instead, on the CPU:
how sure of its words an engine is in each of them tells nothing (Swedish is written in English, as a translation, with
a mean probability of 0.92, and in Swedish with 0.81).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from stt_core.logs import get_logger, logged
from stt_core.whisper.ggml import validate_model
from stt_core.whisper.models import WhisperModel
from stt_core.whisper.output import read_languages
from stt_core.whisper.process import find_executable, run_engine
from stt_core.whisper.transcriber import Transcriber

logger = get_logger(__name__)

#: What whisper.cpp hears of each sound, seconds.
_WINDOW_SECONDS = 30.0
#: The executable that tells the probability of every language.
_TELLS_ALL = "stt-whisper-cli"
#: A line of whisper.cpp for each sound, in order.
_SAID = re.compile(r"auto-detected language: \w+ \(p = ([\d.]+)\)")


@logged
def detect_languages(
    transcriber: Transcriber,
    wavs: Sequence[Path],
    model: WhisperModel,
    *,
    allowed: Sequence[str] = (),
    threads: int,
    should_stop: Callable[[], bool] | None = None,
) -> list[dict[str, float]]:
    """Return what languages are heard in sounds, in the same order: codes with their probabilities.

    Args:
        transcriber: Whose executable listens, and how long it may take.
        wavs: WAV files of 16 kHz, mono, 16 bit; 30 s of each are heard.
        model: A multilingual one, from `resolve_model`.
        allowed: Codes of which at least one must be among those of each sound.
        threads: Threads of the process.
        should_stop: Asked every second; true ends the engine.

    Raises:
        EngineError: The engine crashed, or left no usable output for a sound.
        EngineTimeoutError: It took longer than the audio is worth.
        EngineStoppedError: `should_stop` said so.
        ModelInvalidError: The model is damaged, or the engine cannot load it.
        ExecutableNotFoundError: The engine cannot be run.
    """
    validate_model(model.path)
    heard: list[dict[str, float]] = [{} for _ in wavs]
    for executable in (str(transcriber.executable), _TELLS_ALL):
        rest = [
            position for position, one in enumerate(heard) if not one or (allowed and not one.keys() & set(allowed))
        ]
        if rest:
            command = [str(find_executable(executable)), "-m", str(model.path), "-t", str(threads), "-dl", "-oj"]
            timeout = transcriber.timeout_seconds + transcriber.timeout_per_audio_second * _WINDOW_SECONDS * len(rest)
            again = _detect(command, [wavs[position] for position in rest], timeout, should_stop)
            for position, probabilities in zip(rest, again, strict=True):
                heard[position] = probabilities
    return heard


def _detect(
    command: Sequence[str], wavs: Sequence[Path], timeout: float, should_stop: Callable[[], bool] | None
) -> list[dict[str, float]]:
    with TemporaryDirectory(prefix="stt-language-") as folder:
        bases = [Path(folder) / str(position) for position in range(len(wavs))]
        files = [
            word
            for wav, base in zip(wavs, bases, strict=True)
            for word in ("-f", str(wav.absolute()), "-of", str(base))
        ]
        stderr = run_engine([*command, *files], timeout_seconds=timeout, should_stop=should_stop)
        said = [float(number) for number in _SAID.findall(stderr)]
        if len(said) != len(wavs):
            logger.warning("the engine did not say how sure it is of each language: all count the same")
            said = [1.0] * len(wavs)
        return [
            read_languages(base.with_suffix(".json"), wav.name, probability)
            for wav, base, probability in zip(wavs, bases, said, strict=True)
        ]
