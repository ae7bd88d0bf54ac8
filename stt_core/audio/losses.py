"""What of a recording did not come out of ffmpeg, told by its report, its exit status and the length of what did."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stt_core.audio.ffmpeg import FfmpegReport
from stt_core.audio.formats import AudioFormat
from stt_core.audio.parts import Part
from stt_core.audio.plan import SAMPLE_RATE
from stt_core.errors import NoAudioError, UnreadableAudioError
from stt_core.warnings import RecordingWarning, WarningName

#: The header's length and what came out may differ by so much (encoder delay, rounding) before a recording is damaged.
_MISSING_SECONDS = 1.0
_MISSING_SHARE = 0.02
#: Shorter gaps, seconds, are the grain of a clock.
_GAP_SECONDS = 0.5


@dataclass
class PartDecoding:
    """One part of a recording and what ffmpeg says of it, while it is decoded and once it is."""

    path: Path
    audio_format: AudioFormat
    part: Part
    #: What a reader is told: the whole, or which one of how many.
    title: str
    report: FfmpegReport

    @property
    def promised_seconds(self) -> float | None:
        """The length that the header states, where there is one and it may be believed."""
        is_believed = not self.audio_format.streamed and not self.part.ignore_length
        return self.report.duration_seconds if is_believed else None

    def losses(self, code: int, seconds: float) -> Iterator[RecordingWarning]:
        """Yield what did not come out beside the `seconds` that did, given ffmpeg's exit status."""
        part, report = self.part, self.report
        if (gaps := report.clock.gap_samples / SAMPLE_RATE) >= _GAP_SECONDS:
            text = f"The time stamps leave out {gaps:.1f} s of the sound, which are silence."
            yield RecordingWarning(name=WarningName.TIMESTAMP_GAPS, message=text)
        if seconds == 0:
            yield from self._nothing(code)
        elif part.unread_bytes and part.end is not None:
            text = f"{part.unread_bytes} bytes from byte {part.end - part.unread_bytes} on were not read:"
            text += " they look like sound, and the header says that there is none."
            yield RecordingWarning(name=WarningName.UNREAD, message=text)
        elif (missing := self._missing_seconds(seconds)) > 0:
            text = f"{self.title} is cut off: {seconds:.1f} s of {seconds + missing:.1f} s could be read."
            yield RecordingWarning(name=WarningName.CUT_OFF, message=text)
        elif code != 0 or report.problem_count:
            text = f"{self.title} is damaged: {seconds:.1f} s of it could be read. {self._reasons(report.problems)}"
            yield RecordingWarning(name=WarningName.DAMAGED, message=text.strip())

    def _missing_seconds(self, seconds: float) -> float:
        """Return how much more there should be, by the header; 0 where that is next to nothing."""
        promised = self.promised_seconds
        if promised is None or self.report.has_video or len(self.report.tracks) > 1:  # it is that of the longest
            promised = seconds
        if self.part.missing_bytes and self.part.end is not None:  # ffmpeg goes by the length of the file
            there = self.part.end - self.part.start
            promised = max(promised, seconds * (there + self.part.missing_bytes) / there)
        missing = promised - seconds
        return missing if missing > max(_MISSING_SECONDS, promised * _MISSING_SHARE) else 0.0

    def _nothing(self, code: int) -> Iterator[RecordingWarning]:
        error = self.failure(code)
        if not isinstance(error, NoAudioError):
            text = f"{self.title}, from byte {self.part.start} on, was not read. {error.message}"
            yield RecordingWarning(name=WarningName.UNREAD, message=text)

    def failure(self, code: int) -> NoAudioError | UnreadableAudioError:
        """Return why nothing came out."""
        reasons = self._reasons([*self.report.problems, *self.report.noises])
        if "matches no streams" in reasons:
            return NoAudioError("The file has no audio track.", mend="Send a recording with sound.")
        if code == 0 and self.report.problem_count == 0:
            return NoAudioError("The file has a header and no samples.", mend="Send a recording that is not empty.")
        if "Cannot allocate memory" in reasons:
            reasons = "its decoder needs more memory than it may have"
        return UnreadableAudioError(
            f"The {self.audio_format.name} file is damaged beyond decoding: {reasons or f'ffmpeg ended with {code}'}.",
            mend="Check that it plays, and send it again.",
        )

    def _reasons(self, problems: list[str]) -> str:
        """Return what ffmpeg complained of, without the name of our file."""
        name = re.compile(r"(?:subfile,[^:]*:file:)?" + re.escape(str(self.path)))
        return "; ".join(list(dict.fromkeys(name.sub("the file", text) for text in problems))[:4])
