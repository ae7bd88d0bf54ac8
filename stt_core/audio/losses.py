"""What of a recording did not come out of ffmpeg, told by its report, its exit status and the length of what did."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stt_core.audio.ffmpeg import FfmpegReport
from stt_core.audio.formats import AudioFormat
from stt_core.audio.parts import Part
from stt_core.errors import NoAudioError, UnreadableAudioError
from stt_core.logs import logged
from stt_core.warnings import RecordingWarning, WarningName

#: The header's length and what came out may differ by so much (encoder delay, rounding) before a recording is damaged.
_MISSING_SECONDS = 1.0
_MISSING_SHARE = 0.02


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

    @logged
    def losses(self, code: int, seconds: float) -> Iterator[RecordingWarning]:
        """Yield what did not come out beside the `seconds` that did, given ffmpeg's exit status."""
        if self.part.unread_bytes and self.part.end is not None:
            text = (
                f"{self.part.unread_bytes} bytes from byte {self.part.end - self.part.unread_bytes} on were not read: "
                "they look like sound, and the header says that there is none."
            )
            yield RecordingWarning(name=WarningName.UNREAD, message=text)
        if seconds == 0:
            yield from self._nothing(code)
            return
        promised = self.promised_seconds
        if promised is not None and not self.report.has_video:  # otherwise it is the picture's length
            missing = promised - seconds
            if missing > max(_MISSING_SECONDS, promised * _MISSING_SHARE):
                text = f"{self.title} is cut off: {seconds:.1f} s of {promised:.1f} s could be read."
                yield RecordingWarning(name=WarningName.CUT_OFF, message=text)
                return
        if code != 0 or self.report.problem_count:
            reasons = self._reasons(self.report.problems)
            text = f"{self.title} is damaged: {seconds:.1f} s of it could be read. {reasons}".strip()
            yield RecordingWarning(name=WarningName.DAMAGED, message=text)

    def _nothing(self, code: int) -> Iterator[RecordingWarning]:
        error = self.failure(code)
        if not isinstance(error, NoAudioError):
            text = f"{self.title}, from byte {self.part.start} on, was not read. {error.message}"
            yield RecordingWarning(name=WarningName.UNREAD, message=text)

    @logged
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
