"""faster-whisper over one recording, as its users run it: batched, int8, its own voice detector, the times of words.

    python benchmarks/peer.py MODEL_FOLDER RECORDING OUT.json [LANGUAGE]

It needs nothing of this project, so that it runs by a Python that has faster-whisper, one process a recording.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from faster_whisper import BatchedInferencePipeline, WhisperModel


def main(model: str, recording: str, out: str, language: str | None = None) -> None:
    pipeline = BatchedInferencePipeline(WhisperModel(model, device="cpu", compute_type="int8"))
    segments, _ = pipeline.transcribe(recording, language=language, batch_size=8, beam_size=5, word_timestamps=True)
    heard = [
        {
            "start": segment.start,
            "end": segment.end,
            "text": segment.text.strip(),
            "words": [
                {"start": word.start, "end": word.end, "text": word.word.strip(), "probability": word.probability}
                for word in segment.words
            ],
        }
        for segment in segments
    ]
    Path(out).write_text(json.dumps(heard), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
