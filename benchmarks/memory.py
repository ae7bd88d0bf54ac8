"""How much memory it takes to prepare and plan hours of audio.

    python benchmarks/memory.py [--hours 10] [--json memory.json]

A recording of that length is put together from a test recording, then read by a process of its own as the object store
reads it (parts of 5 MiB), measured and planned. Reported is the greatest resident memory of that process and of its
ffmpeg, looked at every 20 ms. Must hold: under 150 MB for 10 hours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from imageio_ffmpeg import get_ffmpeg_exe
from reports import parser_of, write_report

LIMIT_MB = 150
PART_BYTES = 5 * 1024 * 1024
SAMPLE = Path(__file__).parents[1] / "tests" / "data" / "audio" / "noisy.ogg"


def main() -> None:
    parser = parser_of(__doc__, "memory.json")
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--prepare", type=Path, help="(internal) read this recording in this process")
    options = parser.parse_args()
    if options.prepare:
        prepare(options.prepare)
        return
    with tempfile.TemporaryDirectory() as folder:
        recording = make_recording(Path(folder), options.hours)
        result = watch(recording)
    print(" hours  python MB  ffmpeg MB  both MB  imports MB  wall s  chunks")
    print(
        f"{options.hours:6.1f} {result['python_mb']:10.1f} {result['ffmpeg_mb']:10.1f} {result['both_mb']:8.1f} "
        f"{result['imports_mb']:11.1f} {result['wall_seconds']:7.1f} {result['chunks']:7d}"
    )
    write_report(options.json, hours=options.hours, **result)
    if result["both_mb"] > LIMIT_MB:
        sys.exit(f"over the limit of {LIMIT_MB} MB")


def make_recording(folder: Path, hours: float) -> Path:
    """Repeat a minute of speech, as an MP3, until it is long enough."""
    ffmpeg = [get_ffmpeg_exe(), "-v", "error", "-y"]
    minute, whole = folder / "minute.mp3", folder / "hours.mp3"
    subprocess.run([*ffmpeg, "-i", SAMPLE, "-ac", "1", "-ar", "16000", "-b:a", "32k", minute], check=True)
    seconds = str(hours * 3600)
    subprocess.run([*ffmpeg, "-stream_loop", "-1", "-i", minute, "-t", seconds, "-c", "copy", whole], check=True)
    return whole


def prepare(path: Path) -> None:
    from stt_core.audio import HEAD_BYTES, FrameEnergies, RecordingStream, detect_format, plan_recording
    from stt_core.audio.vad import Voice
    from stt_core.settings import Settings

    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    imported = psutil.Process().memory_info().rss
    with path.open("rb") as file:
        audio_format = detect_format(file.read(HEAD_BYTES))
    with RecordingStream(path, audio_format, settings) as recording:
        while recording.read(PART_BYTES):
            pass
    energies, voice = recording.energies.to_bytes(), recording.voice.to_bytes()
    del recording
    plan = plan_recording(FrameEnergies.from_bytes(energies), Voice.from_bytes(voice), settings)
    print(json.dumps({"imports_mb": imported / 1e6, "chunks": len(plan.chunks)}))


def watch(recording: Path) -> dict[str, float]:
    """Run `prepare` in another process and return its peaks."""
    command = [sys.executable, __file__, "--prepare", str(recording)]
    started = time.perf_counter()
    peaks = {"python_mb": 0.0, "ffmpeg_mb": 0.0, "both_mb": 0.0}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                own = watched.memory_info().rss / 1e6
                children = sum(child.memory_info().rss for child in watched.children()) / 1e6
            except psutil.NoSuchProcess:
                break  # it ended between the question and the answer; its report follows
            for name, value in zip(peaks, (own, children, own + children), strict=True):
                peaks[name] = max(peaks[name], value)
            time.sleep(0.02)
        report, _ = process.communicate()
    return {**peaks, **json.loads(report), "wall_seconds": time.perf_counter() - started}


if __name__ == "__main__":
    main()
