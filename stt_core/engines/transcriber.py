"""The transcriber: chunks of speech in, their text out, whatever engine hears them.

A chunk whose text runs in a loop is decoded once more from where the loop begins, as a window of its own and at another
temperature: the decoder then has neither the text nor the sounds that led it astray. On the demo recording that cures
the loop, which no change of beam, temperature or thresholds over the same window did.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Unpack

from stt_core.engines.base import Call, Decoding, Engine
from stt_core.engines.choice import engine_for
from stt_core.engines.wavs import wav_seconds, write_rest
from stt_core.logs import get_logger
from stt_core.settings import Settings
from stt_core.temp_dirs import temporary_folder
from stt_core.transcript.document import ChunkTranscript
from stt_core.transcript.loops import find_loops, flag_loops, segment_of_word
from stt_core.whisper.models import WhisperModel

logger = get_logger(__name__)

#: Told the position of a chunk and its text.
OnTranscript = Callable[[int, ChunkTranscript], None]
#: How much sound before a loop the second decoding hears, seconds: enough for the first consonant.
_RUN_UP_SECONDS = 0.2
#: Temperature of the second decoding: it must differ also where the loop begins with the chunk.
_RETRY_TEMPERATURE = 0.4


@dataclass(frozen=True)
class Transcriber:
    """An engine with one way of decoding."""

    engine: Engine
    decoding: Decoding = field(default_factory=Decoding)

    @classmethod
    def for_model(cls, model: WhisperModel, settings: Settings) -> Transcriber:
        """Return the transcriber that the settings describe.

        Raises:
            ExecutableNotFoundError: The engine that runs such a model is not there.
        """
        decoding = Decoding(beam_size=settings.whisper_beam_size, best_of=settings.whisper_best_of)
        return cls(engine_for(model, settings), decoding)

    def transcribe(
        self,
        wavs: Sequence[Path],
        *,
        language: str,
        on_transcript: OnTranscript | None = None,
        **call: Unpack[Call],
    ) -> list[ChunkTranscript]:
        """Transcribe chunks in one process and return their texts in the same order.

        Args:
            wavs: WAV files of 16 kHz, mono, 16 bit, each at most one window (30 s) long.
            language: ISO 639-1 code, or `auto` to detect it for each chunk.
            on_transcript: Told each chunk's position and text once, as soon as it is final, while the engine goes on;
                also of those that were finished when it failed.
            call: With what.

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
        seconds = sum(map(wav_seconds, wavs))
        logger.info(
            "transcribing {} chunks, {:.1f} s of audio: model {}, language {}, {} threads",
            len(wavs), seconds, self.engine.model.name, language, call["threads"],
        )  # fmt: skip
        started = time.monotonic()
        tell = on_transcript or (lambda position, transcript: None)
        transcripts: list[ChunkTranscript] = []
        hear = partial(self.engine.transcribe, language=language, **call)
        for transcript in hear(wavs, self.decoding):
            transcripts.append(transcript)
            if not find_loops(transcript):
                tell(len(transcripts) - 1, transcript)
        for position, wav in enumerate(wavs):
            if find_loops(transcripts[position]):
                transcripts[position] = self._mend_loops(transcripts[position], wav, hear)
                tell(position, transcripts[position])
        elapsed = time.monotonic() - started
        logger.info(
            "transcribed {} chunks: {} characters in {:.2f} s, {:.1f} times real time",
            len(wavs), sum(len(transcript.text) for transcript in transcripts), elapsed, seconds / max(elapsed, 1e-9),
        )  # fmt: skip
        return transcripts

    def parameters(self, language: str) -> dict[str, object]:
        """Return everything besides audio and model that decides about the text, for `chunk_digest`."""
        return {
            "engine": self.engine.fingerprint(self.decoding, language),
            "retry": [_RUN_UP_SECONDS, _RETRY_TEMPERATURE],
            "version": 4,
        }

    def _mend_loops(
        self,
        first: ChunkTranscript,
        wav: Path,
        hear: Callable[[Sequence[Path], Decoding], Iterable[ChunkTranscript]],
    ) -> ChunkTranscript:
        """Decode a chunk once more from where its text begins to loop, keep the better text, flag what still loops."""
        loops = find_loops(first)
        position = segment_of_word(first, loops[0].start)
        before = first.segments[:position]
        begin = max(first.segments[position].start - _RUN_UP_SECONDS, before[-1].end if before else 0.0)
        logger.warning("the text of {} repeats itself from {:.2f} s: decoding it again", wav.name, begin)
        with temporary_folder("loop") as folder:
            rest = folder / wav.name
            write_rest(wav, begin, rest)
            decoding = replace(self.decoding, temperature=_RETRY_TEMPERATURE)
            [again] = hear([rest], decoding)
        segments = [*before, *(segment.shifted(begin) for segment in again.segments)]
        second = ChunkTranscript(language=first.language, segments=segments)
        best = min(first, second, key=lambda transcript: sum(loop.end - loop.start for loop in find_loops(transcript)))
        mended = flag_loops(best)
        if any(segment.flags for segment in mended.segments):
            logger.warning("the text of {} still repeats itself; its segments are flagged", wav.name)
        return mended


def chunk_digest(pcm_sha256: str, model_digest: str, parameters: Mapping[str, object]) -> str:
    """Return the name of a chunk's result in the cache: the same sound, model and parameters give the same text.

    Args:
        pcm_sha256: SHA-256 of the chunk's samples as the engine hears them.
        model_digest: `WhisperModel.digest`.
        parameters: `Transcriber.parameters`.
    """
    text = json.dumps([pcm_sha256, model_digest, parameters], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
