"""Which channels of a track are mixed, and at which shares.

Those that carry a voice, or, where none does, all that are not silent. One that is the negative of the loudest is
turned back; one that turns back and forth has half a share, so that neither sign cancels it; one with a voice of its
own that is far softer is raised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stt_core.audio.plan import SAMPLE_RATE
from stt_core.audio.silero import WINDOW_SAMPLES
from stt_core.audio.vad import VoiceMeter

#: The shortest syllable, seconds: with so much voice a channel carries speech.
_LEAST_VOICE_SECONDS = 0.08
#: Silero's thresholds: a voice is heard, and none is.
_VOICE, _NO_VOICE = 0.5, 0.35
#: Up to so many bits of a 16-bit sample are what a codec makes of silence.
SILENT_PEAK = 2
#: Two channels that agree so little, from -1 to 1, are one sound and its negative.
_TURNED = -0.3
#: Two channels of which so much agrees at one time and is turned at another are cancelled now or then by either sign.
_TURNING = 0.1
#: Signs are compared within so many samples: 0.5 s.
_SIGN_SAMPLES = SAMPLE_RATE // 2
#: A channel with so much voice while the loudest has none is raised to a quarter of its level (-12 dB), at most 40 dB.
_OWN_VOICE_SECONDS = 1.0
_OWN_LEVEL, _GREATEST_GAIN = 0.25, 100.0
#: The peak of a mix is kept below this, as far as its parts can tell.
_FULL_PEAK = 32_000


@dataclass(frozen=True)
class ChannelSound:
    """What was measured of one channel; lists have an item for each channel of the track."""

    voice_seconds: float
    #: The largest sample, an offset aside.
    peak: int
    #: Of the second differences of the samples, in which offset and hum are next to nothing: their energy, how they
    #: agree with each channel's (-1 to 1), and which part of that is outweighed where the sign is another (0 to 0.5).
    energy: float
    correlations: tuple[float, ...]
    turning: tuple[float, ...]
    #: Voice while the other channel has none.
    own_seconds: tuple[float, ...]

    @property
    def has_voice(self) -> bool:
        """Whether somebody speaks in it."""
        return self.voice_seconds >= _LEAST_VOICE_SECONDS


class ChannelMeter:
    """Listens to every channel of a track by itself, block by block."""

    def __init__(self, count: int) -> None:
        self._voices = [VoiceMeter() for _ in range(count)]
        self._peaks = np.zeros(count, np.int64)
        #: Sums of products: where a pair of channels agrees, and where it does not.
        self._agreeing = np.zeros((count, count))
        self._turned = np.zeros((count, count))

    def add(self, samples: npt.NDArray[np.int16]) -> None:
        """Take the next block: a row for each sample at 16 kHz, a column for each channel."""
        if not len(samples):
            return
        swing = np.abs(samples - samples.mean(axis=0).round()).max(axis=0)
        self._peaks = np.maximum(self._peaks, swing.astype(np.int64))
        for start in range(0, len(samples), _SIGN_SAMPLES):
            changes = np.diff(samples[start : start + _SIGN_SAMPLES].astype(np.float64), n=2, axis=0)
            products = changes.T @ changes
            self._agreeing += np.maximum(products, 0)
            self._turned += np.maximum(-products, 0)
        for number, voice in enumerate(self._voices):
            voice.add(samples[:, number].tobytes())

    def finish(self) -> list[ChannelSound]:
        """Return what was measured of each channel, once."""
        voices = [voice.finish() for voice in self._voices]
        chances = np.array([voice.probabilities for voice in voices])
        silences = chances < _NO_VOICE
        own = [((one > _VOICE) & silences).sum(axis=1) * (WINDOW_SAMPLES / SAMPLE_RATE) for one in chances]
        energies = self._agreeing.diagonal()
        norms = np.sqrt(np.outer(energies, energies))
        norms[norms == 0] = np.inf
        correlations = (self._agreeing - self._turned) / norms
        turning = np.minimum(self._agreeing, self._turned) / norms
        return [
            ChannelSound(
                voice_seconds=sum(span.length for span in voice.spans(min_silence_ms=500)) / SAMPLE_RATE,
                peak=int(self._peaks[number]),
                energy=float(energies[number]),
                correlations=tuple(correlations[number].tolist()),
                turning=tuple(turning[number].tolist()),
                own_seconds=tuple(own[number].tolist()),
            )
            for number, voice in enumerate(voices)
        ]


def mix_of(sounds: Sequence[ChannelSound]) -> tuple[float, ...]:
    """Return the share of each channel in the mix: negative where it is turned, 0 where it is left out.

    The mix has the level of the loudest channel, unless it might clip then.
    """
    audible = [number for number, sound in enumerate(sounds) if sound.peak > SILENT_PEAK] or list(range(len(sounds)))
    used = [number for number in audible if sounds[number].has_voice] or audible
    loudest = max(used, key=lambda number: sounds[number].energy)
    shares = np.array(
        [_share(sound, sounds[loudest], loudest) if number in used else 0.0 for number, sound in enumerate(sounds)]
    )
    total = float(np.abs(shares).sum())
    parts = shares * np.sqrt([sound.energy for sound in sounds])
    energy = float(parts @ np.array([sound.correlations for sound in sounds]) @ parts)
    same_level = math.sqrt(sounds[loudest].energy / energy) if energy > 0 else 1 / total
    peak = float(np.abs(shares) @ [sound.peak for sound in sounds])
    scale = max(1 / total, min(same_level, _FULL_PEAK / max(peak, 1.0)))
    return tuple((shares * scale).tolist())


def _share(sound: ChannelSound, loudest: ChannelSound, number: int) -> float:
    """Return the share of a channel where that of the loudest, which has this number, is 1."""
    if sound is loudest:
        return 1.0
    sign = -1.0 if sound.correlations[number] < _TURNED else 1.0
    if sound.turning[number] > _TURNING:
        return sign / 2
    if sound.own_seconds[number] >= _OWN_VOICE_SECONDS:
        return sign * min(_GREATEST_GAIN, max(1.0, _OWN_LEVEL * loudest.peak / sound.peak))
    return sign
