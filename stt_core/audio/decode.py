"""Any recording to 16 kHz mono 16-bit samples, as a stream, by ffmpeg in a process of its own.

Nothing holds a recording whole: whoever reads gets the samples as they are decoded. The input is hostile until proved
otherwise, so the demuxer is fixed beforehand (`formats`), ffmpeg may open that one file only (`ffmpeg`), and CPU time,
memory and output are limited (`confine`). Where the limits come from: ffmpeg decodes at 1 400 times real time; a
machine that manages 50 times still finishes within the CPU limit. It maps under 300 MB.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from stt_core.audio.ffmpeg import FfmpegReport, decode_arguments, start_ffmpeg
from stt_core.audio.formats import AudioFormat
from stt_core.audio.losses import PartDecoding
from stt_core.audio.parts import PARTS_AT_MOST, Part, find_parts
from stt_core.audio.plan import SAMPLE_BYTES, SAMPLE_RATE, AudioInfo
from stt_core.audio.tracks import SoundChoice, choose_sound
from stt_core.errors import (
    AudioTooLongError,
    DecoderError,
    NoAudioError,
    SttError,
    UnreadableAudioError,
)
from stt_core.logs import get_logger
from stt_core.settings import Settings
from stt_core.warnings import RecordingWarning, WarningName

logger = get_logger(__name__)

#: What `blocks` yields at once: 8 s of audio.
BLOCK_BYTES = 256 * 1024
#: How long ffmpeg may be silent; decoding a block takes it milliseconds.
_STALL_SECONDS = 120.0
_LOG_BYTES = 64 * 1024
_BYTES_PER_SECOND = SAMPLE_RATE * SAMPLE_BYTES


class PcmStream:
    """One recording being decoded: a context manager, and a file to read samples from.

    Args:
        path: The recording, a local file (containers such as MP4 are read back and forth).
        audio_format: Its format, from `detect_format`.
        settings: `max_audio_seconds` and `ffmpeg_executable` are used.
        channel: One channel of the source by itself (0 is left) instead of a mix.
        track: The audio track, counted from 1; None for the one that `tracks` chooses.

    Raises (from `read`, `blocks` and the `with` statement):
        ExecutableNotFoundError: There is no ffmpeg.
        AudioTooLongError: More than `max_audio_seconds` of audio, or more work than that much audio can be.
        TrackNotFoundError: There is no such track.
        NoAudioError: No audio track, no such channel, or a track without samples.
        UnreadableAudioError: Damaged beyond decoding.
        DecoderError: ffmpeg was killed from outside, or hung.
    """

    def __init__(
        self,
        path: Path,
        audio_format: AudioFormat,
        settings: Settings,
        *,
        channel: int | None = None,
        track: int | None = None,
    ) -> None:
        self._path = path
        self._format = audio_format
        self._settings = settings
        self._channel = channel
        self._track = track
        self._choice = SoundChoice()
        self._parts: list[Part] = []
        #: Of each part that was begun.
        self._decodings: list[PartDecoding] = []
        self._process: subprocess.Popen[bytes] | None = None
        #: Samples of this part that were decoded and not yet read, and what of them is next.
        self._filled: Iterator[bytes] = iter(())
        self._next = b""
        self._bytes_read = 0
        #: Where in the output the samples of this part begin.
        self._part_begin = 0
        self._warnings: list[RecordingWarning] = []
        self._failure: SttError | None = None
        self._info: AudioInfo | None = None

    def __enter__(self) -> Self:
        self._parts = find_parts(self._path, self._format)
        self._start_part()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start_part(self) -> None:
        """Begin to decode the next part of the recording."""
        number, count, path = len(self._decodings), len(self._parts), self._path.absolute()
        part = self._parts[number]
        choice = self._choose(part)
        report = FfmpegReport(self._format, track=choice.track)
        title = f"Part {number + 1} of the recording" if count > 1 else "The recording"
        self._decodings.append(PartDecoding(path, self._format, part, title, report))
        self._part_begin = self._bytes_read
        channel = self._channel
        weights = choice.weights if channel is None else [*[0.0] * channel, 1.0]
        arguments = decode_arguments(
            path,
            self._format,
            part,
            track=choice.track,
            starts_at=choice.starts_at,
            weights=weights,
            max_seconds=self._settings.max_audio_seconds + 1,
        )
        self._process = start_ffmpeg(self._settings, arguments)
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)

    def _choose(self, part: Part) -> SoundChoice:
        """Decide which sound of a part is decoded; the first part's tells about the recording."""
        choice = choose_sound(
            self._path.absolute(), self._format, part, self._settings, track=self._track, mix=self._channel is None
        )
        if not self._decodings:
            self._choice = choice
        for warning in choice.warnings:
            if warning not in self._warnings:
                logger.warning("{}: {}", warning.name, warning.message)
                self._warnings.append(warning)
        return choice

    def _stop(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    @property
    def info(self) -> AudioInfo:
        """Facts about the recording; there once the stream has been read to its end."""
        if self._info is None:
            raise RuntimeError("the stream was not read to its end")
        return self._info

    def read(self, size: int = BLOCK_BYTES) -> bytes:
        """Return the next `size` bytes of samples; fewer only at the end, none after it."""
        if self._info is not None:
            return b""
        parts: list[bytes] = []
        wanted = size
        while wanted > 0:
            part = self._read_part(wanted)
            if not part:
                self._conclude_part()
                if len(self._decodings) < min(len(self._parts), PARTS_AT_MOST):
                    self._stop()
                    self._start_part()
                    continue
                self._info = self._conclude()
                break
            parts.append(part)
            wanted -= len(part)
            self._bytes_read += len(part)
            self._refuse_too_long()
        return b"".join(parts)

    def blocks(self, size: int = BLOCK_BYTES) -> Iterator[bytes]:
        """Yield the samples in blocks of `size` bytes, the last one shorter."""
        while block := self.read(size):
            yield block

    def _read_part(self, size: int) -> bytes:
        """Return the next samples of this part, on the clock of the file: at most `size` bytes, none at its end."""
        while not self._next:
            if (following := next(self._filled, None)) is not None:
                self._next = following
            elif block := self._read_pipe():
                self._filled = self._decodings[-1].report.clock.fill(block)
            else:
                return b""
        part, self._next = self._next[:size], self._next[size:]
        return part

    def _read_pipe(self) -> bytes:
        """Return what ffmpeg wrote next, none at the end; what it said before that is in the report by then."""
        assert self._process is not None, "use the stream in a `with` statement"
        assert self._process.stdout is not None and self._process.stderr is not None
        output, log = self._process.stdout.fileno(), self._process.stderr.fileno()
        pipes = {output, log}
        while pipes:
            block = os.read(output, BLOCK_BYTES) if output in self._wait_for(pipes) else None
            if self._listen():
                pipes.discard(log)
            if block:
                return block
            if block == b"":
                pipes.discard(output)
        return b""

    def _wait_for(self, pipes: Iterable[int]) -> list[int]:
        """Return which pipes can be read."""
        assert self._process is not None
        waiting = select.poll()  # `select.select` knows no descriptor over 1023
        for pipe in pipes:
            waiting.register(pipe, select.POLLIN | select.POLLHUP)
        ready = waiting.poll(_STALL_SECONDS * 1000)
        if not ready:
            self._process.kill()
            raise DecoderError(f"ffmpeg gave no output for {_STALL_SECONDS:.0f} s and was stopped.")
        return [pipe for pipe, _ in ready]

    def _listen(self) -> bool:
        """Put into the report what ffmpeg has said by now; say whether it will say no more."""
        assert self._process is not None and self._process.stderr is not None
        while (said := self._process.stderr.read(_LOG_BYTES)) is not None:
            self._decodings[-1].report.add(said or b"\n")
            if not said:
                return True
        return False

    def _refuse_too_long(self) -> None:
        limit = self._settings.max_audio_seconds
        # Headers of uncompressed formats often lie (a recorder's 4 GB), and their length is bounded by the upload's.
        promised = (self._decodings[-1].promised_seconds or 0.0) if self._format.compressed else 0.0
        owed = self._decodings[-1].report.clock.owed_samples * SAMPLE_BYTES
        longest = max(self._bytes_read + owed, self._part_begin + promised * _BYTES_PER_SECOND) / _BYTES_PER_SECOND
        if longest > limit:
            raise AudioTooLongError(
                f"The recording is longer than the limit of {limit:g} s.",
                mend="Split it, or raise MAX_AUDIO_SECONDS.",
                limit_seconds=limit,
                seconds=round(longest, 3),
            )

    def _conclude_part(self) -> None:
        """Note, once there is no more output of a part, what of it did not come out."""
        code = self._wait()
        if code < 0:
            self._raise_killed(-code)
        decoding = self._decodings[-1]
        seconds = (self._bytes_read - self._part_begin) / _BYTES_PER_SECOND
        if not seconds and not self._failure:
            self._failure = decoding.failure(code)
        for warning in decoding.losses(code, seconds):
            logger.warning("{}: {} ({} problems)", warning.name, warning.message, decoding.report.problem_count)
            self._warnings.append(warning)

    def _conclude(self) -> AudioInfo:
        """Sum the parts up, once there is no more of them."""
        samples = self._bytes_read // SAMPLE_BYTES
        reports = [decoding.report for decoding in self._decodings]
        decoded = [report.decoded_track for report in reports if report.decoded_track]
        channels = max((track.channels for track in decoded), default=1)
        if self._channel is not None and samples and self._channel >= channels:
            raise NoAudioError(
                f"The recording has {channels} channel(s), so there is no channel {self._channel}.",
                mend="Transcribe its channels mixed.",
            )
        if samples == 0 and self._failure:
            raise self._failure
        if unread := self._parts[len(reports) :]:
            text = (
                f"The recording has more than {len(reports)} parts: those from byte {unread[0].start} on were not read."
            )
            self._warnings.append(RecordingWarning(name=WarningName.UNREAD, message=text))
        info = AudioInfo(
            samples=samples,
            channels=channels,
            codec=decoded[0].codec if decoded else "unknown",
            source_sample_rate=decoded[0].sample_rate if decoded else None,
            track=self._choice.track,
            tracks=list(self._choice.tracks),
            channels_used=self._choice.channels_used,
            warnings=self._warnings,
        )
        logger.info(
            "decoded {:.2f} s of {} ({} channels, {} Hz, {} part(s))",
            info.duration_seconds, info.codec, info.channels, info.source_sample_rate, len(reports),
        )  # fmt: skip
        return info

    def _wait(self) -> int:
        """Return ffmpeg's exit status; it has closed its pipes, so it is about to end."""
        assert self._process is not None
        try:
            return self._process.wait(timeout=_STALL_SECONDS)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            raise DecoderError("ffmpeg closed its output, did not end and was stopped.") from error

    def _raise_killed(self, number: int) -> None:
        if number == signal.SIGXCPU:
            raise AudioTooLongError(
                "Decoding took more CPU time than a recording of the permitted length can need.",
                mend="Convert it to FLAC or MP3, or raise MAX_AUDIO_SECONDS.",
            )
        if number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL):
            raise UnreadableAudioError(
                f"The recording crashed the decoder ({signal.Signals(number).name}).",
                mend="Convert it to FLAC or MP3 and send that.",
            )
        raise DecoderError(f"ffmpeg was killed from outside ({signal.Signals(number).name}).")
