"""The core's own path from a recording to its text, without servers: the same calls that the steps of a run make."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from stt_core.audio import render_chunk
from stt_core.audio.clips import Clip
from stt_core.audio.plan import Chunk
from stt_core.engines import transcriber as transcribing
from stt_core.engines.rehearing import hear_missed
from stt_core.engines.transcriber import Transcriber
from stt_core.engines.whisper_cpp import WhisperCpp
from stt_core.settings import Settings
from stt_core.transcript.document import ChunkTranscript
from stt_core.transcript.placing import place_words
from stt_core.whisper.models import WhisperModel


@dataclass
class Hearing:
    """Chunks on their way through a transcriber; `folder` is for the WAV files.

    The last three leave out what runs do, or do what they do not: loops are not decoded again, speech without a word
    is not heard again, and each chunk is told the text of the one before it.
    """

    transcriber: Transcriber
    folder: Path
    language: str = "en"
    threads: int = 1
    keeps_loops: bool = False
    keeps_gaps: bool = False
    prompts: bool = False
    #: How many sounds were heard again since they had no text.
    second_hearings: int = 0

    def texts_of(self, chunks: Sequence[Chunk], pcm: bytes) -> list[ChunkTranscript]:
        """Return the texts of a recording's chunks, their words at their places."""
        clips = [render_chunk(chunk, lambda offset, length: pcm[offset : offset + length]) for chunk in chunks]
        texts = self._hear_each_after_the_last(clips) if self.prompts else self._hear(clips, self.transcriber)
        if not self.keeps_gaps:
            window_seconds = self.transcriber.engine.window_seconds
            texts = hear_missed(texts, chunks, clips, self._hear_again, window_seconds=window_seconds)
        return [place_words(text, chunk, clip.samples) for text, chunk, clip in zip(texts, chunks, clips, strict=True)]

    def _hear(self, clips: Sequence[Clip], transcriber: Transcriber) -> list[ChunkTranscript]:
        wavs = [self.folder / f"{number}.wav" for number in range(len(clips))]
        for clip, wav in zip(clips, wavs, strict=True):
            clip.write_wav(wav)
        seeing: AbstractContextManager[object] = nullcontext()
        if self.keeps_loops:
            seeing = patch.object(transcribing, "find_loops", lambda transcript: [])
        with seeing:
            return transcriber.transcribe(wavs, language=self.language, threads=self.threads)

    def _hear_again(self, clips: Sequence[Clip], language: str) -> list[ChunkTranscript]:
        self.second_hearings += len(clips)
        return self._hear(clips, self.transcriber)

    def _hear_each_after_the_last(self, clips: Sequence[Clip]) -> list[ChunkTranscript]:
        texts: list[ChunkTranscript] = []
        for clip in clips:
            prompt = texts[-1].text[-400:] if texts else ""
            decoding = replace(self.transcriber.decoding, prompt=prompt or None)
            texts += self._hear([clip], replace(self.transcriber, decoding=decoding))
        return texts


def run_whole(model: WhisperModel, settings: Settings, wav: Path, threads: int) -> Path:
    """Run whisper.cpp once over a whole English recording, with the flags of a run; return where its JSON lies."""
    engine = WhisperCpp.from_settings(model, settings)
    flags: Any = engine.fingerprint(Transcriber.for_model(model, settings).decoding, "en")["flags"]
    command = [engine.executable, "-m", model.path, "-t", str(threads), *flags, "-ojf"]
    subprocess.run([*command, "-f", wav, "-of", wav.with_suffix("")], check=True, capture_output=True)
    return wav.with_suffix(".json")
