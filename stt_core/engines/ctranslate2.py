"""CTranslate2: models in faster-whisper's format, several chunks decoded together, in a process of their own.

The process is `ctranslate2_program`, on faster-whisper's library, which is an extra of the installation. Words have
their times from the decoder's cross-attention. A chunk's text comes as one segment: the decoder is not asked for
times, which cost 10 to 12 % of the words where pauses are cut out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar, Unpack

from pydantic import BaseModel, ValidationError

from stt_core.engines import ctranslate2_program as program
from stt_core.engines.base import Call, Decoding, Engine, Patience
from stt_core.engines.process import read_while_written, words_of
from stt_core.engines.warm import watch_program
from stt_core.engines.wavs import wav_seconds
from stt_core.errors import EngineError, ExecutableNotFoundError
from stt_core.languages import ENGLISH, check_language
from stt_core.logs import get_logger
from stt_core.settings import Settings
from stt_core.temp_dirs import temporary_folder
from stt_core.transcript.document import ChunkSegment, ChunkTranscript, Word
from stt_core.transcript.text import one_line
from stt_core.whisper.models import WhisperModel

logger = get_logger(__name__)

#: Of whisper's window, seconds: so much of each sound is heard to tell its language.
_WINDOW_SECONDS = 30.0
#: The numbers that the model computes with: the fastest kind of this processor, which is 8-bit integers mostly.
_COMPUTE_TYPE = "auto"
_MEND = "Run `make ctranslate2` or `pip install 'stt-dagster[ctranslate2]'`, or set WHISPER_ENGINE=whisper.cpp."


class _Languages(BaseModel):
    languages: dict[str, float]


Answer = TypeVar("Answer", _Languages, ChunkTranscript)


@dataclass(frozen=True)
class CTranslate2(Engine):
    """A model in faster-whisper's format; `release` is that of the library."""

    model: WhisperModel
    release: str
    patience: Patience = field(default_factory=Patience)

    @classmethod
    def from_settings(cls, model: WhisperModel, settings: Settings) -> CTranslate2:
        """Return the engine that the settings describe.

        Raises:
            ExecutableNotFoundError: faster-whisper is not installed.
        """
        try:
            release = version("faster-whisper")
        except PackageNotFoundError as error:
            raise ExecutableNotFoundError(
                f"The model {model.name} needs faster-whisper, which is not installed.", mend=_MEND
            ) from error
        return cls(model, release, Patience.from_settings(settings))

    @property
    def name(self) -> str:
        """What `WHISPER_ENGINE` calls it, and the library's release."""
        return f"ctranslate2 (faster-whisper {self.release})"

    @property
    def window_seconds(self) -> float:
        """It computes whole windows; a second less leaves room for their edges."""
        return 29.0

    @property
    def chunks_per_call(self) -> int:
        """As many as are decoded together at the most."""
        return program.BATCH

    def fingerprint(self, decoding: Decoding, language: str) -> dict[str, object]:
        """Return everything besides sound and model that decides about the text; see `Engine.fingerprint`."""
        return {"faster-whisper": self.release} | self._options(decoding, language)

    def transcribe(
        self, wavs: Sequence[Path], decoding: Decoding, *, language: str, **call: Unpack[Call]
    ) -> Generator[ChunkTranscript]:
        """Yield the texts of chunks, a few of them at a time; see `Engine.transcribe`."""
        self.model.check()
        options = self._options(decoding, language)
        seconds = [wav_seconds(wav) for wav in wavs]
        with temporary_folder("whisper") as folder:
            outputs = [folder / f"{position}.json" for position in range(len(wavs))]
            yield from read_while_written(
                self._watch(wavs, outputs, options, sum(seconds), call),
                outputs,
                lambda position: _tidy(_read(outputs[position], wavs[position], ChunkTranscript), seconds[position]),
            )

    def load(self, **call: Unpack[Call]) -> None:
        """Load the model where the engine stays for the next call; see `Engine.load`."""
        if call.get("slot"):
            words_of(self._watch([], [], {"only_languages": True}, 0.0, call))

    def detect_languages(
        self, wavs: Sequence[Path], *, allowed: Sequence[str] = (), **call: Unpack[Call]
    ) -> list[dict[str, float]]:
        """Return what languages are heard in sounds, all of them for each; see `Engine.detect_languages`."""
        self.model.check()
        with temporary_folder("language") as folder:
            outputs = [folder / f"{position}.json" for position in range(len(wavs))]
            words_of(self._watch(wavs, outputs, {"only_languages": True}, _WINDOW_SECONDS * len(wavs), call))
            return [_read(output, wav, _Languages).languages for output, wav in zip(outputs, wavs, strict=True)]

    def _options(self, decoding: Decoding, language: str) -> dict[str, object]:
        code = check_language(language, self.model)
        return {
            "only_languages": False,
            "language": code if self.model.multilingual else ENGLISH,
            "beam_size": decoding.beam_size,
            "best_of": decoding.best_of,
            "translate": decoding.translate and self.model.multilingual,
            "prompt": decoding.prompt,
            "temperature": decoding.temperature,
            "compute_type": _COMPUTE_TYPE,
        }

    def _watch(
        self,
        wavs: Sequence[Path],
        outputs: Sequence[Path],
        options: Mapping[str, object],
        audio_seconds: float,
        call: Call,
    ) -> Generator[None, None, str]:
        """Run the program over sounds, and say what to do where it cannot run at all."""
        asked = {
            **options,
            "threads": call["threads"],
            "model": str(self.model.path),
            "compute_type": _COMPUTE_TYPE,
            "wavs": [str(wav.absolute()) for wav in wavs],
            "outputs": [str(output) for output in outputs],
        }
        try:
            return (
                yield from watch_program(
                    [sys.executable, "-P", program.__file__],
                    [json.dumps(asked)],
                    slot=call.get("slot"),
                    identity=f"{self.model.digest} {call['threads']}",
                    timeout_seconds=self.patience.timeout_seconds(audio_seconds),
                    should_stop=call.get("should_stop"),
                )
            )
        except ExecutableNotFoundError as error:
            raise ExecutableNotFoundError(
                "CTranslate2 does not run on this machine: its process was ended as soon as it computed.", mend=_MEND
            ) from error
        except EngineError as error:
            if error.details.get("exit_code") == program.EXIT_NOT_INSTALLED:
                raise ExecutableNotFoundError(error.message, mend=_MEND) from error
            raise


def _read(output: Path, wav: Path, kind: type[Answer]) -> Answer:
    try:
        return kind.model_validate_json(output.read_bytes())
    except (OSError, ValidationError) as error:
        raise EngineError(f"The engine left no usable result for {wav.name}: {str(error)[:300]}.") from error


def _tidy(transcript: ChunkTranscript, seconds: float) -> ChunkTranscript:
    """Return a text as it is kept: without empty segments and words, no time outside the sound."""

    def inside(time: float, low: float) -> float:
        return min(max(time, low), seconds)

    segments = []
    for segment in transcript.segments:
        if text := one_line(segment.text):
            start = inside(segment.start, 0.0)
            words = [
                Word(
                    start=(begin := inside(word.start, start)),
                    end=inside(word.end, begin),
                    text=plain,
                    probability=min(1.0, max(0.0, word.probability)),
                )
                for word in segment.words
                if (plain := one_line(word.text))
            ]
            segments.append(ChunkSegment(start=start, end=inside(segment.end, start), text=text, words=words))
    return transcript.model_copy(update={"segments": segments})
