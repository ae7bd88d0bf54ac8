"""Decoding and finding speech beside pydub, on the same recording.

    python benchmarks/silence.py [RECORDING] [--minutes 10] [--json silence.json]

CPU seconds, children included, the best of three. Must hold: a plan of chunks, threshold and speech with it, takes a
fiftieth of what `pydub.silence.detect_nonsilent` takes for the speech alone, at `seek_step=1`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imageio_ffmpeg import get_ffmpeg_exe
from reports import parser_of, write_report
from sounds import DEFAULTS, ROOT, listen

from stt_core.audio import plan_recording

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pydub import audio_segment
    from pydub.silence import detect_nonsilent

SAMPLE = ROOT / "tests" / "data" / "audio" / "pauses.ogg"
THRESHOLD_DBFS, MIN_SILENCE_MS = -50.0, 500


def main() -> None:
    parser = parser_of(__doc__, "silence.json")
    parser.add_argument("recording", type=Path, nargs="?", default=SAMPLE)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "recording.mp3"
        repeat = ["-stream_loop", "-1", "-i", options.recording, "-t", str(options.minutes * 60)]
        subprocess.run([get_ffmpeg_exe(), "-v", "error", *repeat, "-b:a", "64k", recording], check=True)

        def decode_pydub() -> Any:
            audio_segment.AudioSegment.converter = get_ffmpeg_exe()
            audio_segment.mediainfo_json = lambda *_, **__: {}  # it would need ffprobe, which is not bundled
            segment = audio_segment.AudioSegment.from_file(recording, format="mp3")
            return segment.set_channels(1).set_frame_rate(16_000).set_sample_width(2)

        (pcm, stream), ours_decode = measure(lambda: listen(recording))
        _, pydub_decode = measure(decode_pydub)
        segment = audio_segment.AudioSegment(pcm, sample_width=2, frame_rate=16_000, channels=1)
        _, pydub_detect = measure(lambda: detect_nonsilent(segment, MIN_SILENCE_MS, THRESHOLD_DBFS, 1), runs=1)
        plan, ours_plan = measure(lambda: plan_recording(stream.energies, stream.voice, DEFAULTS))
    rows = [
        ("decode (ours: with energies)", ours_decode, pydub_decode),
        ("plan from energies (threshold, speech, chunks)", ours_plan, pydub_detect),
    ]
    print(f"{options.minutes:g} minutes of {options.recording.name}; {len(plan.chunks)} chunks")
    print(f"{'CPU seconds':48} {'ours':>8} {'pydub':>8} {'times':>8}")
    for name, ours, theirs in rows:
        print(f"{name:48} {ours:8.3f} {theirs:8.3f} {theirs / ours:8.1f}")
    table = [dict(zip(("what", "ours", "pydub"), row, strict=True)) for row in rows]
    write_report(options.json, minutes=options.minutes, rows=table)
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
