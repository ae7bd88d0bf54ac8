"""The transcriber: chunks of speech in, their text out, by any whisper.cpp-compatible executable.

Several chunks go through one process, so that the model is loaded once. An exit code of 0 proves nothing: a chunk is
done when its own, fresh, parseable JSON is there. A chunk whose text runs in a loop is decoded once more from where the
loop begins, as a window of its own: the decoder then has neither the text nor the sounds that led it astray. On the
demo recording that cures the loop, which no change of beam, temperature or thresholds over the same window did.
"""

from __future__ import annotations

import hashlib
import json
import time
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from stt_core.audio.models import SAMPLE_BYTES, SAMPLE_RATE
from stt_core.errors import EngineError, EngineTimeoutError, UnreadableAudioError
from stt_core.logs import get_logger, logged
from stt_core.settings import Settings
from stt_core.transcript.models import ChunkTranscript
from stt_core.whisper.ggml import validate_model
from stt_core.whisper.languages import ENGLISH, check_language
from stt_core.whisper.loops import find_loops, flag_loops, segment_of_word
from stt_core.whisper.models import WhisperModel
from stt_core.whisper.output import read_output
from stt_core.whisper.process import find_executable, run_engine

logger = get_logger(__name__)

#: Told the position of a chunk and its text.
OnTranscript = Callable[[int, ChunkTranscript], None]
#: How much sound before a loop the second decoding hears, seconds: enough for the first consonant.
_RUN_UP_SECONDS = 0.2
#: How often `should_stop` is asked, seconds: it asks MongoDB. A step of a run is interrupted sooner, by what watches
#: its claim.
_STOP_SECONDS = 4.0
#: Temperature of the second decoding: it must differ also where the loop begins with the chunk.
_RETRY_FLAGS = ("-tp", "0.4")


@dataclass(frozen=True)
class _Job:
    """One chunk on its way through the engine."""

    wav: Path
    seconds: float


@dataclass(frozen=True)
class Transcriber:
    """Runs one executable with one way of decoding.

    Attributes:
        executable: A `whisper-cli` or our own `stt-whisper-cli`.
        beam_size: Beams of the search; 1 is greedy.
        best_of: Candidates kept when the decoder has to sample.
        timeout_seconds: What every process may take, seconds of wall clock.
        timeout_per_audio_second: What it may take on top for each second of audio.
        translate: Translate into English instead of transcribing.
        prompt: Text before the audio: names and spellings to expect.
        temperature: Of the sampling; None is the engine's own.
    """

    executable: Path
    beam_size: int = 5
    best_of: int = 5
    timeout_seconds: float = 120.0
    timeout_per_audio_second: float = 10.0
    translate: bool = False
    prompt: str | None = None
    temperature: float | None = None

    @classmethod
    @logged
    def from_settings(cls, settings: Settings) -> Transcriber:
        """Return the transcriber that the settings describe.

        Raises:
            ExecutableNotFoundError: `WHISPER_CPP_EXECUTABLE` is not there.
        """
        return cls(
            executable=find_executable(settings.whisper_cpp_executable),
            beam_size=settings.whisper_beam_size,
            best_of=settings.whisper_best_of,
            timeout_seconds=settings.whisper_timeout_seconds,
            timeout_per_audio_second=settings.whisper_timeout_per_audio_second,
        )

    @logged
    def transcribe(
        self,
        wavs: Sequence[Path],
        model: WhisperModel,
        *,
        language: str,
        threads: int,
        should_stop: Callable[[], bool] | None = None,
        on_transcript: OnTranscript | None = None,
    ) -> list[ChunkTranscript]:
        """Transcribe chunks in one process and return their texts in the same order.

        Args:
            wavs: WAV files of 16 kHz, mono, 16 bit, each at most one window (30 s) long.
            model: From `resolve_model`.
            language: ISO 639-1 code, or `auto` to detect it for each chunk.
            threads: Threads of the process.
            should_stop: Asked every few seconds; true ends the engine.
            on_transcript: Told each chunk's position and text once, as soon as it is final, while the engine goes on;
                also of those that were finished when it failed.

        Raises:
            UnknownLanguageError: Whisper or the model does not know the language.
            UnreadableAudioError: A file is not such a WAV.
            EngineError: The engine crashed, or left no usable output for a chunk.
            EngineTimeoutError: It took longer than the audio is worth.
            EngineStoppedError: `should_stop` said so.
            ModelInvalidError: The model is damaged, or the engine cannot load it.
            ExecutableNotFoundError: The engine cannot be run.
        """
        if not wavs:
            return []
        validate_model(model.path)  # the engine itself answers a cut-off model's nonsense with exit code 0
        flags = ["-m", str(model.path), "-t", str(threads), *self._flags(model, language)]
        jobs = [_Job(wav.absolute(), _wav_seconds(wav)) for wav in wavs]
        seconds = sum(job.seconds for job in jobs)
        logger.info(
            "transcribing {} chunks, {:.1f} s of audio: model {}, language {}, {} threads",
            len(jobs), seconds, model.name, language, threads,
        )  # fmt: skip
        started = time.monotonic()
        tell = on_transcript or (lambda position, transcript: None)

        def tell_if_sound(position: int, transcript: ChunkTranscript) -> None:
            if not find_loops(transcript):
                tell(position, transcript)

        transcripts = self._run(jobs, flags, seconds, should_stop, tell_if_sound)
        for position, job in enumerate(jobs):
            if find_loops(transcripts[position]):
                transcripts[position] = self._mend_loops(transcripts[position], job, flags, should_stop)
                tell(position, transcripts[position])
        elapsed = time.monotonic() - started
        logger.info(
            "transcribed {} chunks: {} characters in {:.2f} s, {:.1f} times real time",
            len(jobs), sum(len(transcript.text) for transcript in transcripts), elapsed, seconds / max(elapsed, 1e-9),
        )  # fmt: skip
        return transcripts

    @logged
    def parameters(self, model: WhisperModel, language: str) -> dict[str, object]:
        """Return everything besides audio and model that decides about the text, for `chunk_digest`."""
        return {"flags": self._flags(model, language), "retry": _RETRY_FLAGS, "version": 3}

    def _flags(self, model: WhisperModel, language: str) -> list[str]:
        code = check_language(language, model)
        flags = ["-l", code if model.multilingual else ENGLISH]
        flags += ["-bs", str(self.beam_size), "-bo", str(self.best_of), *model.default_flags]
        if self.translate and model.multilingual:
            flags.append("-tr")
        if self.prompt:
            flags += [
                "--prompt",
                self.prompt if self.prompt[0] != "-" else f" {self.prompt}",
            ]  # or it is read as a flag
        if self.temperature is not None:
            flags += ["-tp", str(self.temperature)]
        return flags

    def _run(
        self,
        jobs: Sequence[_Job],
        flags: Sequence[str],
        seconds: float,
        should_stop: Callable[[], bool] | None,
        on_output: OnTranscript = lambda position, transcript: None,
    ) -> list[ChunkTranscript]:
        """Run the engine once; `seconds` of audio decide how long it may take."""
        read: dict[int, ChunkTranscript] = {}
        with TemporaryDirectory(prefix="stt-whisper-") as folder:
            bases = [Path(folder) / str(position) for position in range(len(jobs))]
            command = [str(self.executable), *flags, "-ojf"]
            for job, base in zip(jobs, bases, strict=True):
                command += ["-f", str(job.wav), "-of", str(base)]

            def read_one(position: int) -> None:
                path, job = bases[position].with_suffix(".json"), jobs[position]
                read[position] = read_output(path, job.wav.name, job.seconds)
                on_output(position, read[position])

            def begun(position: int) -> bool:
                return position < len(jobs) and bases[position].with_suffix(".json").exists()

            asked_at = time.monotonic()

            def look() -> bool:
                nonlocal asked_at
                while begun(len(read) + 1):  # the engine writes its files in order: the one before is whole
                    read_one(len(read))
                if should_stop is None or time.monotonic() - asked_at < _STOP_SECONDS:
                    return False
                asked_at = time.monotonic()
                return should_stop()

            def read_finished() -> None:
                try:
                    while begun(len(read)):
                        read_one(len(read))
                except EngineError as error:
                    logger.info("the engine failed while it wrote: {}", error)
                logger.info("the engine had finished {} of {} chunks", len(read), len(jobs))

            timeout = self.timeout_seconds + self.timeout_per_audio_second * seconds
            try:
                run_engine(command, timeout_seconds=timeout, should_stop=look)
            except (EngineError, EngineTimeoutError):
                read_finished()
                raise
            for position in range(len(read), len(jobs)):
                read_one(position)
        return [read[position] for position in range(len(jobs))]

    def _mend_loops(
        self, first: ChunkTranscript, job: _Job, flags: Sequence[str], should_stop: Callable[[], bool] | None
    ) -> ChunkTranscript:
        """Decode a chunk once more from where its text begins to loop, keep the better text, flag what still loops."""
        loops = find_loops(first)
        position = segment_of_word(first, loops[0].start)
        before = first.segments[:position]
        begin = max(first.segments[position].start - _RUN_UP_SECONDS, before[-1].end if before else 0.0)
        logger.warning("the text of {} repeats itself from {:.2f} s: decoding it again", job.wav.name, begin)
        retry_flags = [*flags, *_RETRY_FLAGS, "-ot", str(round(begin * 1000))]
        [again] = self._run([job], retry_flags, job.seconds - begin, should_stop)
        second = ChunkTranscript(language=first.language, segments=[*before, *again.segments])
        best = min(first, second, key=lambda transcript: sum(loop.end - loop.start for loop in find_loops(transcript)))
        mended = flag_loops(best)
        if any(segment.flags for segment in mended.segments):
            logger.warning("the text of {} still repeats itself; its segments are flagged", job.wav.name)
        return mended


@logged
def chunk_digest(pcm_sha256: str, model_digest: str, parameters: Mapping[str, object]) -> str:
    """Return the name of a chunk's result in the cache: the same sound, model and parameters give the same text.

    Args:
        pcm_sha256: SHA-256 of the chunk's samples as the engine hears them.
        model_digest: `WhisperModel.digest`.
        parameters: `Transcriber.parameters`.
    """
    text = json.dumps([pcm_sha256, model_digest, parameters], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _wav_seconds(path: Path) -> float:
    try:
        with wave.open(str(path), "rb") as audio:
            form = (audio.getframerate(), audio.getnchannels(), audio.getsampwidth())
            frames = audio.getnframes()
    except (OSError, EOFError, wave.Error) as error:
        raise UnreadableAudioError(
            f"The chunk {path.name} is not a readable WAV file: {str(error) or 'it is empty'}."
        ) from error
    if form != (SAMPLE_RATE, 1, SAMPLE_BYTES):
        raise UnreadableAudioError(f"The chunk {path.name} is not 16 kHz mono 16 bit.")
    return frames / SAMPLE_RATE
