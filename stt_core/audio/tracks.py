"""Which sound of a file is transcribed: one of its audio tracks, and of that the channels that carry a voice.

A file may have several tracks (languages, microphones), of which a player plays the one that is flagged as default; a
track may have channels that hold nothing, or the same sound with its sign turned, which a mix of all would cancel. So,
unless a track is asked for, the default one is taken where a voice is heard in it, else the first with a voice. Of its
channels those that carry a voice are mixed (see `channels`).
A recording of one track with one channel is not listened to beforehand.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stt_core.audio.channels import SILENT_PEAK, ChannelMeter, ChannelSound, mix_of
from stt_core.audio.ffmpeg import FfmpegReport, probe_arguments, running_ffmpeg, track_arguments
from stt_core.audio.formats import AudioFormat
from stt_core.audio.parts import Part
from stt_core.audio.plan import SAMPLE_BYTES, SAMPLE_RATE, AudioTrack
from stt_core.errors import DecoderError, TrackNotFoundError
from stt_core.logs import get_logger
from stt_core.settings import Settings
from stt_core.warnings import RecordingWarning, WarningName

logger = get_logger(__name__)

#: Samples of each channel that are measured at once: 8 s.
_BLOCK_SAMPLES = 8 * SAMPLE_RATE
#: More channels than these are mixed as ffmpeg does it: the largest arrangement of microphones in use has 32.
_MOST_CHANNELS = 32
_PROBE_SECONDS = 60.0


@dataclass(frozen=True)
class SoundChoice:
    """What of a file is transcribed.

    `track` counts from 1; `weights` has the share of each channel in the mix, None for ffmpeg's own mix.
    """

    track: int = 1
    tracks: tuple[AudioTrack, ...] = ()
    weights: tuple[float, ...] | None = None
    warnings: tuple[RecordingWarning, ...] = ()

    @property
    def starts_at(self) -> float:
        """Where the sound of the track begins, seconds."""
        return self.tracks[self.track - 1].start_seconds if self.track <= len(self.tracks) else 0.0

    @property
    def channels_used(self) -> list[int]:
        """The channels in the mix, counted from 1; none where ffmpeg mixes."""
        return [number for number, weight in enumerate(self.weights or (), start=1) if weight]


def choose_sound(
    path: Path, audio_format: AudioFormat, part: Part, settings: Settings, *, track: int | None, mix: bool
) -> SoundChoice:
    """Return which sound of a file, or of a part of it, is transcribed.

    Args:
        path: The file.
        audio_format: Its format.
        part: The part.
        settings: `max_audio_seconds` and `ffmpeg_executable` are used.
        track: The track that was asked for, counted from 1.
        mix: Whether its channels are to be mixed.

    Raises:
        TrackNotFoundError: There is no such track.
    """
    tracks = _list_tracks(path, audio_format, part, settings)
    _refuse_unknown(track, tracks)
    heard: dict[int, list[ChannelSound]] = {}

    def listen(number: int) -> list[ChannelSound]:
        if number not in heard:
            heard[number] = _measure(path, audio_format, part, settings, tracks[number - 1])
        return heard[number]

    warnings: list[RecordingWarning] = []
    chosen = track or 1
    if track is None and len(tracks) > 1:
        by_default = sorted(tracks, key=lambda one: not one.is_default)
        with_voice = (one.number for one in by_default if any(sound.has_voice for sound in listen(one.number)))
        chosen = next(with_voice, by_default[0].number)
        others = [one for one in tracks if one.number != chosen]
        text = f"Of {len(tracks)} audio tracks number {chosen} was transcribed, not {_names(others)}."
        warnings.append(RecordingWarning(name=WarningName.TRACKS_LEFT_OUT, message=text))
    weights = None
    if mix and tracks and 1 < tracks[chosen - 1].channels <= _MOST_CHANNELS:
        sounds = listen(chosen)
        weights = mix_of(sounds)
        left_out = [
            number
            for number, (sound, weight) in enumerate(zip(sounds, weights, strict=True), start=1)
            if not weight and sound.peak > SILENT_PEAK
        ]
        if left_out:
            text = f"Of {len(weights)} channels {_numbers(left_out)} had sound without a voice and is not in the mix."
            warnings.append(RecordingWarning(name=WarningName.CHANNELS_LEFT_OUT, message=text))
    return SoundChoice(chosen, tuple(tracks), weights, tuple(warnings))


def ensure_track(file: BinaryIO, audio_format: AudioFormat, settings: Settings, track: int) -> None:
    """Refuse a track that an open file, which need have no name, does not have; it is left at its beginning.

    Raises:
        TrackNotFoundError: There is no such track.
    """
    descriptor = file.fileno()
    path = Path(f"/dev/fd/{descriptor}")
    _refuse_unknown(track, _list_tracks(path, audio_format, Part(), settings, descriptors=[descriptor]))
    file.seek(0)


def _refuse_unknown(track: int | None, tracks: Sequence[AudioTrack]) -> None:
    if track is not None and track > len(tracks) > 0:
        raise TrackNotFoundError(
            f"The recording has no audio track {track}; it has {len(tracks)}: {_names(tracks)}.",
            mend="Ask for one of these, or leave `track` out.",
        )


def _names(tracks: Sequence[AudioTrack]) -> str:
    return ", ".join(f"{one.number} ({one.language or 'no language'}, {one.codec})" for one in tracks)


def _numbers(numbers: Sequence[int]) -> str:
    return "number " + ", ".join(map(str, numbers))


def _list_tracks(
    path: Path, audio_format: AudioFormat, part: Part, settings: Settings, *, descriptors: Sequence[int] = ()
) -> list[AudioTrack]:
    """Return the audio tracks that ffmpeg sees; none of what it cannot open, which decoding will say."""
    report = FfmpegReport(audio_format)
    with running_ffmpeg(settings, probe_arguments(path, audio_format, part), descriptors=descriptors) as process:
        try:
            _, said = process.communicate(timeout=_PROBE_SECONDS)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise DecoderError(f"ffmpeg took over {_PROBE_SECONDS:.0f} s to open the recording.") from error
    report.add(said)
    return report.tracks


def _measure(
    path: Path, audio_format: AudioFormat, part: Part, settings: Settings, track: AudioTrack
) -> list[ChannelSound]:
    """Listen to every channel of a track by itself, as a stream."""
    count = track.channels
    meter = ChannelMeter(count)
    arguments = track_arguments(path, audio_format, part, track, max_seconds=settings.max_audio_seconds)
    rest = b""
    with running_ffmpeg(settings, arguments, listen=False) as process:
        assert process.stdout is not None
        while block := process.stdout.read(_BLOCK_SAMPLES * count * SAMPLE_BYTES):
            data = rest + block
            usable = len(data) - len(data) % (count * SAMPLE_BYTES)
            meter.add(np.frombuffer(data, "<i2", usable // SAMPLE_BYTES).reshape(-1, count))
            rest = data[usable:]
    sounds = meter.finish()
    logger.info(
        "track {}: {}", track.number, [f"{one.voice_seconds:.1f} s of voice, peak {one.peak}" for one in sounds]
    )
    return sounds
