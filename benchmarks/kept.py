"""An engine whose texts are kept, so that another way of cutting the same sounds costs what is new of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from stt_core.engines.base import Decoding, Engine
from stt_core.engines.process import engine_cpu_seconds
from stt_core.transcript.document import ChunkTranscript


class KeptEngine:
    """Stands for an engine; keeps its texts, with the CPU that each took, and counts what went through it."""

    def __init__(self, engine: Engine, cache: Path, slot: Path) -> None:
        self._engine, self._cache, self._slot = engine, cache, slot
        self.windows, self.cpu = 0, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def transcribe(
        self, wavs: Sequence[Path], decoding: Decoding, *, language: str, threads: int, **_: object
    ) -> Generator[ChunkTranscript]:
        how = json.dumps([self.model.digest, self.fingerprint(decoding, language)], sort_keys=True)
        kept = [self._cache / f"{hashlib.sha256(how.encode() + wav.read_bytes()).hexdigest()}.json" for wav in wavs]
        unknown = [position for position, path in enumerate(kept) if not path.exists()]
        for first in range(0, len(unknown), self.chunks_per_call):
            group = unknown[first : first + self.chunks_per_call]
            before = engine_cpu_seconds()
            own = [wavs[position] for position in group]
            heard = list(self._engine.transcribe(own, decoding, language=language, threads=threads, slot=self._slot))
            cpu = (engine_cpu_seconds() - before) / len(group)
            for position, transcript in zip(group, heard, strict=True):
                kept[position].write_text(json.dumps({"cpu": cpu, "transcript": transcript.model_dump()}))
        for path in kept:
            entry = json.loads(path.read_bytes())
            self.windows, self.cpu = self.windows + 1, self.cpu + entry["cpu"]
            yield ChunkTranscript.model_validate(entry["transcript"])
