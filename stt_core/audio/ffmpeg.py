"""ffmpeg: which executable, how it is called for hostile input, and how its report reads."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from imageio_ffmpeg import get_ffmpeg_exe  # type: ignore[attr-defined]

from stt_core.audio import confine
from stt_core.audio.clock import GRAIN_SAMPLES, SourceClock
from stt_core.audio.formats import AudioFormat
from stt_core.audio.parts import Part
from stt_core.audio.plan import SAMPLE_RATE, AudioTrack
from stt_core.errors import ExecutableNotFoundError
from stt_core.settings import Settings

_INPUT_STREAM = re.compile(
    r"^\[info\]   Stream #0:\d+(?:\[\w+\])?(?:\((?P<language>[\w-]+)\))?.*?: Audio: (?P<codec>[\w-]+)(?P<rest>.*)"
)
_CLOCK_LINE = re.compile(r"^(?:\[[^\]]*\] )?\[info\] (-?\d+)\.\d{6}$")
_VIDEO_STREAM = re.compile(r"^\[info\]   Stream #0:\d+.*?: Video: (?!.*\(attached pic\))")
_DURATION = re.compile(r"^\[info\]   Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)(?:, start: (?P<start>-?\d+\.\d+))?")
_PROBLEM = re.compile(r"^(?:\[(?P<source>[^\]]*)\] )?(?:\[[^\]]*\] )*\[(?:error|fatal|panic)\] (?P<text>.*)")
_SURROUND = re.compile(r"\b(\d+)\.(\d+)(?:\.(\d+))?\b")
_LAYOUTS = {"mono": 1, "stereo": 2, "downmix": 2, "quad": 4, "hexagonal": 6, "octagonal": 8, "hexadecagonal": 16}
#: Problems kept of one recording; a damaged one has thousands.
_PROBLEMS_KEPT = 20
#: Demuxers of containers that give each packet its time; the others count, and count wrong where streams were joined.
_TIMED = frozenset({"asf", "avi", "flv", "matroska", "mov", "mpeg", "mpegts", "mxf", "ogg", "rm"})
#: Prints, of the first frame and wherever the clock leaves the count of samples, that count and by how much it is off.
_TELL_CLOCK = (
    "aselect='if(not(isnan(pts)),st(0,pts-ld(3));"
    f"if(not(ld(2))+gt(abs(ld(0)-ld(1)),{GRAIN_SAMPLES}),st(2,1);st(1,ld(0));print(ld(3));print(ld(0))));"
    "st(3,ld(3)+samples_n);1',asetpts=N"
)
#: Of these ffmpeg lets the first track that is decoded begin at 0, wherever the others do.
_CORRECTED = frozenset({"mpeg", "mpegts"})
#: Tracks kept of one file.
_TRACKS_KEPT = 100
#: A longer line is taken in pieces.
_LINE_BYTES = 4096
_CPU_SECONDS_AT_LEAST = 60
_SLOWEST_SPEED = 50
_MEMORY_BYTES = 1024**3


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


def decode_arguments(
    path: Path,
    audio_format: AudioFormat,
    part: Part,
    *,
    track: int,
    starts_at: float,
    weights: Sequence[float] | None,
    max_seconds: float,
) -> list[str]:
    """Return ffmpeg's arguments that decode an audio track of a part of `path` to standard output.

    The output is 16 kHz mono signed 16 bit little endian, at most `max_seconds` of it, the samples in a row. Where the
    file has a clock, ffmpeg says where they leave it (see `stt_core.audio.clock`).

    Args:
        path: The file.
        audio_format: Its format.
        part: The part.
        track: The number of the track, from 1.
        starts_at: Where its sound begins, seconds.
        weights: The share of each channel in the mix; None for ffmpeg's own.
        max_seconds: The longest output.
    """
    mix = _pan(weights) if weights else ""
    if starts_at and audio_format.demuxer in _CORRECTED:
        mix = f"asetpts=PTS+{starts_at:.6f}/TB,{mix}"
    clock = f",{_TELL_CLOCK}" if audio_format.demuxer in _TIMED else ""
    return [
        # A clock that jumps further was joined; by default one that jumps by 10 s is taken for that.
        *_input_arguments(path, audio_format, part, "level+info", "-dts_delta_threshold", f"{max_seconds:.0f}"),
        *("-map", f"0:a:{track - 1}", "-vn", "-sn", "-dn", "-map_metadata", "-1"),
        *("-af", f"{mix}aresample={SAMPLE_RATE}{clock}", "-ac", "1"),
        *("-t", f"{max_seconds:.3f}", "-f", "s16le", "-acodec", "pcm_s16le", "pipe:1"),
    ]


def probe_arguments(path: Path, audio_format: AudioFormat, part: Part) -> list[str]:
    """Return ffmpeg's arguments that show what is in a part of `path`, and decode nothing."""
    return _input_arguments(path, audio_format, part, "level+info")


def track_arguments(
    path: Path, audio_format: AudioFormat, part: Part, track: AudioTrack, *, max_seconds: float
) -> list[str]:
    """Return ffmpeg's arguments that decode all channels of a track by themselves, 16 kHz, interleaved."""
    return [
        *_input_arguments(path, audio_format, part, "level+error"),
        *("-map", f"0:a:{track.number - 1}", "-vn", "-sn", "-dn", "-af", f"aresample={SAMPLE_RATE}"),
        *("-ac", str(track.channels), "-t", f"{max_seconds:.3f}", "-f", "s16le", "-acodec", "pcm_s16le", "pipe:1"),
    ]


@contextmanager
def running_ffmpeg(
    settings: Settings, arguments: Sequence[str], *, listen: bool = True, descriptors: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ffmpeg as `start_ffmpeg` does; it has ended with the block, however that ends."""
    with start_ffmpeg(settings, arguments, listen=listen, descriptors=descriptors) as process:
        try:
            yield process
        finally:
            process.kill()


def start_ffmpeg(
    settings: Settings, arguments: Sequence[str], *, listen: bool = True, descriptors: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start ffmpeg under hard limits (`confine`); its output can be read, and what it says unless nobody listens.

    `descriptors` are open files that it may read, as `/dev/fd/NUMBER`.

    Raises:
        ExecutableNotFoundError: There is none, or it cannot be started.
    """
    executable = find_ffmpeg(settings.ffmpeg_executable)
    cpu_seconds = int(_CPU_SECONDS_AT_LEAST + settings.max_audio_seconds / _SLOWEST_SPEED)
    launcher = [sys.executable, "-I", "-S", confine.__file__, str(os.getpid()), str(cpu_seconds), str(_MEMORY_BYTES)]
    try:
        return subprocess.Popen(
            [*launcher, executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if listen else subprocess.DEVNULL,
            pass_fds=descriptors,
            process_group=0,  # as the engine (see `stt_core.engines.process`)
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},  # no secrets, no proxies, no options
        )
    except OSError as error:
        raise ExecutableNotFoundError(
            f"ffmpeg ({executable}) cannot be started: {error}.", mend="Check FFMPEG_EXECUTABLE."
        ) from error


def _input_arguments(path: Path, audio_format: AudioFormat, part: Part, level: str, *more: str) -> list[str]:
    """Return the arguments before the output: the demuxer is forced and may open nothing but this file."""
    special = ["-enable_drefs", "0", "-use_absolute_path", "0"] if audio_format.demuxer == "mov" else []
    start = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", level, "-threads", "1", *more]
    return [*start, *special, "-f", audio_format.demuxer, *part.input_arguments(path)]


def _pan(weights: Sequence[float]) -> str:
    shares = (f"{weight:+.6f}*c{number}" for number, weight in enumerate(weights) if weight)
    return f"pan=mono|c0={''.join(shares)},"


@dataclass
class FfmpegReport:
    """What ffmpeg says on standard error, read line by line in bounded memory."""

    audio_format: AudioFormat | None = None
    #: The number of the track that is decoded, from 1, and all that there are.
    track: int = 1
    tracks: list[AudioTrack] = field(default_factory=list)
    #: The clock of the file against the samples that come out.
    clock: SourceClock = field(default_factory=SourceClock)
    #: Where the clock of the container begins, seconds.
    start_seconds: float = 0.0
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
    _position: int | None = None
    _rest: bytes = b""

    @property
    def decoded_track(self) -> AudioTrack | None:
        """The track that is decoded, where ffmpeg has named it."""
        return self.tracks[self.track - 1] if self.track <= len(self.tracks) else None

    def add(self, said: bytes) -> None:
        """Take the next part of ffmpeg's log, cut anywhere; of a line without end, pieces."""
        *lines, self._rest = (self._rest + said).split(b"\n")
        if len(self._rest) > _LINE_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self.add_line(line.decode("utf-8", "replace").rstrip())

    def add_line(self, line: str) -> None:
        """Take one line of ffmpeg's log, written with `-loglevel level+info`."""
        if problem := _PROBLEM.match(line):
            is_noise = self._is_noise(problem["source"] or "")
            self.problem_count += not is_noise
            kept = self.noises if is_noise else self.problems
            if len(kept) < _PROBLEMS_KEPT:
                kept.append(problem["text"][:200])
        elif self._is_output and (told := _CLOCK_LINE.match(line)):  # two lines: the position, the offset
            if self._position is None:
                self._position = int(told[1])
            else:
                self.clock.note(self._position, int(told[1]))
                self._position = None
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
        if stream := _INPUT_STREAM.match(line):
            if len(self.tracks) < _TRACKS_KEPT:
                rate = re.search(r"(\d+) Hz", stream["rest"])
                start = re.search(r", start (-?\d+\.\d+)", stream["rest"])
                self.tracks.append(
                    AudioTrack(
                        number=len(self.tracks) + 1,
                        codec=stream["codec"],
                        language=None if stream["language"] in (None, "und") else stream["language"],
                        channels=_count_channels(stream["rest"]),
                        sample_rate=int(rate[1]) if rate else None,
                        is_default="(default)" in stream["rest"],
                        start_seconds=max(0.0, float(start[1]) - self.start_seconds) if start else 0.0,
                    )
                )
        elif _VIDEO_STREAM.match(line):
            self.has_video = True
        elif duration := _DURATION.match(line):
            self.start_seconds = float(duration["start"] or 0)
            if not self._is_estimated:
                self.duration_seconds = int(duration[1]) * 3600 + int(duration[2]) * 60 + float(duration[3])


def _count_channels(text: str) -> int:
    """Read the number of channels from `, 44100 Hz, 5.1(side), fltp`."""
    layout = text.split(" Hz, ", 1)[-1].split(",", 1)[0].strip()
    if counted := re.match(r"(\d+) channels", layout):
        return int(counted[1])
    if surround := _SURROUND.match(layout):
        return sum(int(part) for part in surround.groups() if part)
    return _LAYOUTS.get(re.split(r"[ (]", layout)[0], 1)
