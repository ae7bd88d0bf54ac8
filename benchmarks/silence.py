"""Decoding and finding speech beside pydub, on the same recording.

    python benchmarks/silence.py [RECORDING] [--minutes 10] [--output silence.json]

CPU seconds, children included, the best of three. Must hold: a plan of chunks, threshold and speech with it, takes a
fiftieth of what `pydub.silence.detect_nonsilent` takes for the speech alone, at `seek_step=1`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imageio_ffmpeg import get_ffmpeg_exe

from stt_core.audio import HEAD_BYTES, RecordingStream, detect_format, plan_recording
from stt_core.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pydub import audio_segment
    from pydub.silence import detect_nonsilent

SAMPLE = Path(__file__).parents[1] / "tests" / "data" / "audio" / "pauses.ogg"
THRESHOLD_DBFS, MIN_SILENCE_MS = -50.0, 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path, nargs="?", default=SAMPLE)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "recording.mp3"
        repeat = ["-stream_loop", "-1", "-i", options.recording, "-t", str(options.minutes * 60)]
        subprocess.run([get_ffmpeg_exe(), "-v", "error", *repeat, "-b:a", "64k", recording], check=True)
        audio_format = detect_format(recording.read_bytes()[:HEAD_BYTES])

        def decode_ours() -> tuple[RecordingStream, bytes]:
            with RecordingStream(recording, audio_format, settings) as stream:
                return stream, b"".join(stream.blocks())

        def decode_pydub() -> Any:
            audio_segment.AudioSegment.converter = get_ffmpeg_exe()
            audio_segment.mediainfo_json = lambda *_, **__: {}  # it would need ffprobe, which is not bundled
            segment = audio_segment.AudioSegment.from_file(recording, format="mp3")
            return segment.set_channels(1).set_frame_rate(16_000).set_sample_width(2)

        (stream, pcm), ours_decode = measure(decode_ours)
        _, pydub_decode = measure(decode_pydub)
        segment = audio_segment.AudioSegment(pcm, sample_width=2, frame_rate=16_000, channels=1)
        _, pydub_detect = measure(lambda: detect_nonsilent(segment, MIN_SILENCE_MS, THRESHOLD_DBFS, 1), runs=1)
        plan, ours_plan = measure(lambda: plan_recording(stream.energies, stream.voice, settings))
    rows = [
        ("decode (ours: with energies)", ours_decode, pydub_decode),
        ("plan from energies (threshold, speech, chunks)", ours_plan, pydub_detect),
    ]
    print(f"{options.minutes:g} minutes of {options.recording.name}; {len(plan.chunks)} chunks")
    print(f"{'CPU seconds':48} {'ours':>8} {'pydub':>8} {'times':>8}")
    for name, ours, theirs in rows:
        print(f"{name:48} {ours:8.3f} {theirs:8.3f} {theirs / ours:8.1f}")
    if options.output:
        machine = {"machine": platform.platform(), "python": platform.python_version(), "minutes": options.minutes}
        table = [dict(zip(("what", "ours", "pydub"), row, strict=True)) for row in rows]
        options.output.write_text(json.dumps({**machine, "rows": table}, indent=1))
    if pydub_detect < 50 * ours_plan:
        sys.exit("planning is less than 50 times faster")


def measure(function: Callable[[], Any], runs: int = 3) -> tuple[Any, float]:
    """Return what the function returns and its CPU seconds, children included, in the best of some runs."""
    best = float("inf")
    for _ in range(runs):
        before = sum(os.times()[:4])
        result = function()
        best = min(best, sum(os.times()[:4]) - before)
    return result, max(best, 0.01)  # the clock's grain


if __name__ == "__main__":
    main()
