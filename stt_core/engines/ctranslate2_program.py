"""CTranslate2's process: `python -P ctranslate2_program.py REQUEST`, by faster-whisper's library.

A request, JSON, names a model's folder, sounds, and a file for the answer to each, which appears whole, in one step. It
runs apart from everything else, so that what it allocates, and a crash, end with it; `-P` keeps the modules beside it
from being taken for packages. With `--serve LISTENER IDENTITY` it answers one request after the other
(`stt_core.engines.serving`), and keeps the model. Every failure is a message on standard error and an exit code other
than 0 (3 model, 6 no faster-whisper, 10 inference). It has no `@logged`: the engine that starts it logs command, exit
code and standard error.
"""

from __future__ import annotations

import json
import sys
import wave
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from stt_core.engines.serving import Failure, run_program

EXIT_MODEL, EXIT_NOT_INSTALLED, EXIT_INFERENCE = 3, 6, 10
SAMPLE_RATE = 16_000
#: Sounds that are encoded and decoded together at the most, and for each thread: more saved no time and take memory.
BATCH, BATCH_PER_THREAD = 8, 4
#: Sounds lie so far apart, seconds, that a time tells which one it belongs to.
SLOT_SECONDS = 32


def main(arguments: list[str]) -> None:
    """Answer the request that the one argument is."""
    asked = json.loads(arguments[0])
    _answer(_load_model(asked["model"], asked["compute_type"], asked["threads"]), asked)


@cache
def _load_model(folder: str, compute_type: str, threads: int) -> Any:
    try:
        import faster_whisper
    except ImportError as error:
        raise Failure(EXIT_NOT_INSTALLED, f"faster-whisper cannot be imported: {error}") from error
    try:
        return faster_whisper.WhisperModel(
            folder, compute_type=compute_type, cpu_threads=threads, local_files_only=True
        )
    except Exception as error:  # a tokenizer raises nothing more special
        raise Failure(EXIT_MODEL, f"failed to load the model: {error}") from error


def _answer(model: Any, asked: dict[str, Any]) -> None:
    import faster_whisper

    try:
        sounds = [_read_wav(path) for path in asked["wavs"]]
        if asked["only_languages"]:
            for sound, output in zip(sounds, asked["outputs"], strict=True):
                _write(output, {"languages": _languages(model, sound)})
            return
        pipeline = faster_whisper.BatchedInferencePipeline(model)
        for language, positions in _by_language(model, sounds, asked["language"]):
            outputs = [asked["outputs"][position] for position in positions]
            heard = _transcribe(pipeline, [sounds[position] for position in positions], asked, language)
            for output, segments in zip(outputs, heard, strict=True):
                _write(output, {"language": language, "segments": segments})
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        raise Failure(EXIT_INFERENCE, f"{type(error).__name__}: {error}") from error


def _read_wav(path: str) -> Any:
    import numpy as np

    with wave.open(path, "rb") as audio:
        frames = audio.readframes(audio.getnframes())
    return np.frombuffer(frames, "<i2").astype(np.float32) / np.float32(32768)


def _languages(model: Any, sound: Any) -> dict[str, float]:
    if not model.model.is_multilingual:
        return {"en": 1.0}
    _, _, probabilities = model.detect_language(sound)
    return {code: float(probability) for code, probability in probabilities}


def _by_language(model: Any, sounds: Sequence[Any], language: str) -> Iterator[tuple[str, list[int]]]:
    """Yield languages, and the positions of the sounds that are to be transcribed in each."""
    if language != "auto" or not model.model.is_multilingual:
        yield ("en" if language == "auto" else language), list(range(len(sounds)))
        return
    groups: dict[str, list[int]] = {}
    for position, sound in enumerate(sounds):
        probabilities = _languages(model, sound)
        groups.setdefault(max(probabilities, key=probabilities.__getitem__), []).append(position)
    yield from groups.items()


def _transcribe(pipeline: Any, sounds: Sequence[Any], asked: dict[str, Any], language: str) -> Iterator[list[Any]]:
    """Yield the segments of each sound, in order."""
    options = {
        "language": language,
        "task": "translate" if asked["translate"] else "transcribe",
        "beam_size": asked["beam_size"],
        "best_of": asked["best_of"],
        "initial_prompt": asked["prompt"],
        "condition_on_previous_text": False,
        "without_timestamps": True,
        "word_timestamps": True,
        "vad_filter": False,
    }
    if asked["temperature"]:  # sounds that are decoded together are never sampled
        for sound in sounds:
            segments, _ = pipeline.model.transcribe(sound, temperature=asked["temperature"], **options)
            yield [_segment(segment, 0.0) for segment in segments]
        return
    size = min(BATCH, BATCH_PER_THREAD * asked["threads"])
    for first in range(0, len(sounds), size):
        batch = sounds[first : first + size]
        segments, _ = pipeline.transcribe(
            _side_by_side(batch),
            clip_timestamps=[
                {"start": slot * SLOT_SECONDS, "end": slot * SLOT_SECONDS + len(sound) / SAMPLE_RATE}
                for slot, sound in enumerate(batch)
            ],
            batch_size=size,
            temperature=0.0,
            **options,
        )
        yield from _by_slot(segments, len(batch))


def _side_by_side(sounds: Sequence[Any]) -> Any:
    import numpy as np

    row = np.zeros(len(sounds) * SLOT_SECONDS * SAMPLE_RATE, np.float32)
    for slot, sound in enumerate(sounds):
        begin = slot * SLOT_SECONDS * SAMPLE_RATE
        row[begin : begin + len(sound)] = sound
    return row


def _by_slot(segments: Iterable[Any], count: int) -> list[list[Any]]:
    slots: list[list[Any]] = [[] for _ in range(count)]
    for segment in segments:
        slot = int((segment.start + segment.end) / 2 // SLOT_SECONDS)
        slots[slot].append(_segment(segment, slot * SLOT_SECONDS))
    return slots


def _segment(segment: Any, begin: float) -> dict[str, Any]:
    return {
        "start": segment.start - begin,
        "end": segment.end - begin,
        "text": segment.text,
        "words": [
            {"start": word.start - begin, "end": word.end - begin, "text": word.word, "probability": word.probability}
            for word in segment.words or ()
        ],
    }


def _write(output: str, answer: dict[str, Any]) -> None:
    part = Path(f"{output}.part")
    part.write_text(json.dumps(answer), encoding="utf-8")
    part.replace(output)


if __name__ == "__main__":
    sys.exit(run_program(sys.argv[1:], main))
