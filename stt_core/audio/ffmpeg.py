"""ffmpeg: which executable, how it is called for hostile input, and how its report reads."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from imageio_ffmpeg import get_ffmpeg_exe  # type: ignore[attr-defined]

from stt_core.audio.formats import AudioFormat
from stt_core.audio.models import SAMPLE_RATE
from stt_core.audio.parts import Part
from stt_core.errors import ExecutableNotFoundError
from stt_core.logs import logged

_INPUT_STREAM = re.compile(r"^\[info\]   Stream #0:\d+.*?: Audio: (?P<codec>[\w-]+)(?P<rest>.*)")
_VIDEO_STREAM = re.compile(r"^\[info\]   Stream #0:\d+.*?: Video: (?!.*\(attached pic\))")
_DURATION = re.compile(r"^\[info\]   Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_PROBLEM = re.compile(r"^(?:\[(?P<source>[^\]]*)\] )?(?:\[[^\]]*\] )*\[(?:error|fatal|panic)\] (?P<text>.*)")
_SURROUND = re.compile(r"\b(\d+)\.(\d+)(?:\.(\d+))?\b")
_LAYOUTS = {"mono": 1, "stereo": 2, "downmix": 2, "quad": 4, "hexagonal": 6, "octagonal": 8, "hexadecagonal": 16}
#: Problems kept of one recording; a damaged one has thousands.
_PROBLEMS_KEPT = 20


@logged
def find_ffmpeg(configured: str | None) -> str:
    """Return the path of ffmpeg: the configured one, or the one that `imageio-ffmpeg` bundles.

    Raises:
        ExecutableNotFoundError: It is not there or cannot be run.
    """
    if configured is None:
        try:
            return str(get_ffmpeg_exe())
        except RuntimeError as error:
            raise ExecutableNotFoundError(
                f"No ffmpeg comes with imageio-ffmpeg on this platform: {error}.",
                mend="Install ffmpeg and set FFMPEG_EXECUTABLE to its path.",
            ) from error
    found = shutil.which(Path(configured).expanduser())
    if found is None:
        raise ExecutableNotFoundError(
            f"FFMPEG_EXECUTABLE is {configured!r}, which is not an executable file.",
            mend="Set it to the path of ffmpeg, or unset it to use the bundled one.",
        )
    return str(Path(found).absolute())


@logged
def decode_arguments(
    path: Path, audio_format: AudioFormat, *, max_seconds: float, channel: int | None, part: Part | None = None
) -> list[str]:
    """Return ffmpeg's arguments that decode the first audio track of `path`, or of a part of it, to standard output.

    The output is 16 kHz mono signed 16 bit little endian, at most `max_seconds` of it. `channel` takes one channel of
    the source by itself (0 is left) instead of the mix of all.
    """
    drefs = ["-enable_drefs", "0", "-use_absolute_path", "0"] if audio_format.demuxer == "mov" else []
    pick = [] if channel is None else ["-af", f"pan=mono|c0=c{channel}"]
    return [
        *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info", "-threads", "1"),
        # The demuxer is forced and may open nothing but this file.
        *(*drefs, "-f", audio_format.demuxer, *(part or Part()).input_arguments(path)),
        *("-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", *pick, "-ac", "1", "-ar", str(SAMPLE_RATE)),
        *("-t", f"{max_seconds:.3f}", "-f", "s16le", "-acodec", "pcm_s16le", "pipe:1"),
    ]


@dataclass
class FfmpegReport:
    """What ffmpeg says on standard error, read line by line in bounded memory."""

    audio_format: AudioFormat | None = None
    codec: str = "unknown"
    sample_rate: int | None = None
    channels: int = 1
    #: Length by the container's header; None where it has none or ffmpeg guessed it from the bit rate.
    duration_seconds: float | None = None
    has_video: bool = False
    #: What went wrong with the sound, the first of `problem_count`.
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0
    #: What went wrong with nothing of it: errors of pictures, of our output, of the frame that a stream was cut in.
    noises: list[str] = field(default_factory=list)
    _is_output: bool = False
    _is_decoding: bool = False
    _is_estimated: bool = False

    @logged
    def add_line(self, line: str) -> None:
        """Take one line of ffmpeg's log, written with `-loglevel level+info`."""
        if problem := _PROBLEM.match(line):
            is_noise = self._is_noise(problem["source"] or "")
            self.problem_count += not is_noise
            kept = self.noises if is_noise else self.problems
            if len(kept) < _PROBLEMS_KEPT:
                kept.append(problem["text"][:200])
        elif "Estimating duration from bitrate" in line:
            self._is_estimated = True
        elif line.startswith(("[info] Stream mapping", "[info] Output #0")):
            self._is_output = True
            self._is_decoding = line.startswith("[info] Output")
        elif not self._is_output:
            self._read_input(line)

    def _is_noise(self, source: str) -> bool:
        """Say whether an error of this source costs no sound, by who complains and when.

        While a file is opened, decoders try all of its streams, pictures too, which a stream cut anywhere has errors
        in; what the sound has comes again when it is decoded, and counts then, but for the frame that the cut went
        through. The output complains of the times of streams that were joined.
        """
        name = source.split(" ")[0]
        if name.startswith(("out#", "s16le")):
            return True
        if self._is_decoding or not name or name.startswith("in#"):
            return False
        if self.audio_format and self.audio_format.demuxer in name.split(","):  # the container, in ffmpeg before 7
            return False
        return not self._is_output or (self.audio_format is not None and self.audio_format.streamed)

    def _read_input(self, line: str) -> None:
        if self.codec == "unknown" and (stream := _INPUT_STREAM.match(line)):
            self.codec = stream["codec"]
            rate = re.search(r"(\d+) Hz", stream["rest"])
            self.sample_rate = int(rate[1]) if rate else None
            self.channels = _count_channels(stream["rest"])
        elif _VIDEO_STREAM.match(line):
            self.has_video = True
        elif not self._is_estimated and (duration := _DURATION.match(line)):
            self.duration_seconds = int(duration[1]) * 3600 + int(duration[2]) * 60 + float(duration[3])


def _count_channels(text: str) -> int:
    """Read the number of channels from `, 44100 Hz, 5.1(side), fltp`."""
    layout = text.split(" Hz, ", 1)[-1].split(",", 1)[0].strip()
    if counted := re.match(r"(\d+) channels", layout):
        return int(counted[1])
    if surround := _SURROUND.match(layout):
        return sum(int(part) for part in surround.groups() if part)
    return _LAYOUTS.get(re.split(r"[ (]", layout)[0], 1)
