"""whisper.cpp: any `whisper-cli` as a process over several chunks, so that the model is loaded once.

An exit code of 0 proves nothing: a chunk is done when its own, fresh, parseable JSON is there. The languages of sounds
are told by one pass of the encoder each (`--detect-language`): nothing is decoded. `stt-whisper-cli` tells the
probability of every language, a `whisper-cli` the most probable one, and how probable that is on standard error. Where
that is none of those to choose from, `stt-whisper-cli` listens instead, on the CPU: how sure of its words an engine is
in each of them tells nothing (Swedish is written in English, as a translation, with a mean probability of 0.92, and in
Swedish with 0.81).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

from stt_core.engines.base import Call, Decoding, Engine, Patience
from stt_core.engines.process import find_executable, read_while_written, words_of
from stt_core.engines.warm import watch_program
from stt_core.engines.wavs import wav_seconds
from stt_core.engines.whisper_cpp_output import read_languages, read_output
from stt_core.languages import ENGLISH, check_language
from stt_core.logs import get_logger
from stt_core.settings import Settings
from stt_core.temp_dirs import temporary_folder
from stt_core.transcript.document import ChunkTranscript
from stt_core.whisper.models import WhisperModel

logger = get_logger(__name__)

#: What whisper.cpp hears of each sound to tell its language, seconds.
_WINDOW_SECONDS = 30.0
#: The executable that tells the probability of every language, and stays warm.
OURS = "stt-whisper-cli"
#: Chunks are separate pieces of speech, joined without their pauses: text of the one before is no context, and feeding
#: it back is what starts most loops.
_NO_CONTEXT = ("-mc", "0")
#: A line of whisper.cpp for each sound, in order.
_SAID = re.compile(r"auto-detected language: \w+ \(p = ([\d.]+)\)")


@dataclass(frozen=True)
class WhisperCpp(Engine):
    """A ggml model and a `whisper-cli` that runs it, or our own `stt-whisper-cli`."""

    model: WhisperModel
    executable: Path
    patience: Patience = field(default_factory=Patience)

    @classmethod
    def from_settings(cls, model: WhisperModel, settings: Settings) -> WhisperCpp:
        """Return the engine that the settings describe.

        Raises:
            ExecutableNotFoundError: `WHISPER_CPP_EXECUTABLE` is not there.
        """
        return cls(model, find_executable(settings.whisper_cpp_executable), Patience.from_settings(settings))

    @property
    def name(self) -> str:
        """What `WHISPER_ENGINE` calls it."""
        return "whisper.cpp"

    @property
    def chunks_per_call(self) -> int:
        """Four, two minutes of speech; for a program that loads its model each time, all of a step."""
        return 4 if self.executable.name == OURS else 20

    def fingerprint(self, decoding: Decoding, language: str) -> dict[str, object]:
        """Return everything besides sound and model that decides about the text; see `Engine.fingerprint`."""
        return {"flags": self._flags(decoding, language)}

    def transcribe(
        self, wavs: Sequence[Path], decoding: Decoding, *, language: str, **call: Unpack[Call]
    ) -> Generator[ChunkTranscript]:
        """Yield the texts of chunks, of which a failed process may have finished some; see `Engine.transcribe`."""
        self.model.check()  # the engine itself answers a cut-off model's nonsense with exit code 0
        flags = [*self._flags(decoding, language), "-ojf"]
        seconds = [wav_seconds(wav) for wav in wavs]
        with temporary_folder("whisper") as folder:
            outputs = [folder / f"{position}.json" for position in range(len(wavs))]
            yield from read_while_written(
                self._watch(self.executable, flags, wavs, outputs, sum(seconds), call),
                outputs,
                lambda position: read_output(outputs[position], wavs[position].name, seconds[position]),
                behind=1,  # it writes a file bit by bit, and begins the next only then
            )

    def load(self, **call: Unpack[Call]) -> None:
        """Load the model where the engine stays for the next call; see `Engine.load`."""
        if call.get("slot") and self.executable.name == OURS:
            words_of(self._watch(self.executable, ["--load-only"], [], [], 0.0, call))

    def detect_languages(
        self, wavs: Sequence[Path], *, allowed: Sequence[str] = (), **call: Unpack[Call]
    ) -> list[dict[str, float]]:
        """Return what languages are heard in sounds; see `Engine.detect_languages`."""
        self.model.check()
        heard: list[dict[str, float]] = [{} for _ in wavs]
        for executable in (self.executable, find_executable(OURS)):
            rest = [
                position for position, one in enumerate(heard) if not one or (allowed and not one.keys() & set(allowed))
            ]
            if rest:
                again = self._detect(executable, [wavs[position] for position in rest], call)
                for position, probabilities in zip(rest, again, strict=True):
                    heard[position] = probabilities
        return heard

    def _detect(self, executable: Path, wavs: Sequence[Path], call: Call) -> list[dict[str, float]]:
        with temporary_folder("language") as folder:
            outputs = [folder / f"{position}.json" for position in range(len(wavs))]
            seconds = _WINDOW_SECONDS * len(wavs)
            stderr = words_of(self._watch(executable, ["-dl", "-oj"], wavs, outputs, seconds, call))
            said = [float(number) for number in _SAID.findall(stderr)]
            if len(said) != len(wavs):
                logger.warning("the engine did not say how sure it is of each language: all count the same")
                said = [1.0] * len(wavs)
            return [
                read_languages(output, wav.name, probability)
                for wav, output, probability in zip(wavs, outputs, said, strict=True)
            ]

    def _watch(
        self,
        executable: Path,
        flags: Sequence[str],
        wavs: Sequence[Path],
        outputs: Sequence[Path],
        audio_seconds: float,
        call: Call,
    ) -> Generator[None, None, str]:
        arguments = ["-t", str(call["threads"]), *flags]
        for wav, output in zip(wavs, outputs, strict=True):
            arguments += ["-f", str(wav.absolute()), "-of", str(output.with_suffix(""))]
        return watch_program(
            [str(executable), "-m", str(self.model.path)],
            arguments,
            slot=call.get("slot") if executable.name == OURS else None,
            identity=self.model.digest,
            timeout_seconds=self.patience.timeout_seconds(audio_seconds),
            should_stop=call.get("should_stop"),
        )

    def _flags(self, decoding: Decoding, language: str) -> list[str]:
        code = check_language(language, self.model)
        flags = ["-l", code if self.model.multilingual else ENGLISH]
        flags += ["-bs", str(decoding.beam_size), "-bo", str(decoding.best_of), *_NO_CONTEXT]
        if decoding.translate and self.model.multilingual:
            flags.append("-tr")
        if decoding.prompt:  # one that begins like a flag would be read as one
            flags += ["--prompt", decoding.prompt if decoding.prompt[0] != "-" else f" {decoding.prompt}"]
        if decoding.temperature is not None:
            flags += ["-tp", str(decoding.temperature)]
        return flags
