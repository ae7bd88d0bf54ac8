"""The stretches of speech in a chunk, and the pauses between them: what the times of words are held against.

Speech is what stands out between 200 and 4000 Hz, where voices are and hum and hiss are not. Where it hardly stands out
(noise, music), the voice detector says where it is. It does not always: of a hoarse voice between others it hears
nothing, so that level is asked first.

A joint of the chunk, where a pause of the source was left out, is a pause whatever is heard there, and its edges are
exact: no stretch goes across it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stt_core.audio.plan import SAMPLE_RATE, Chunk
from stt_core.audio.silence import runs
from stt_core.audio.vad import measure_voice

#: Levels are those of frames of 10 ms, each heard in a window of 20 ms: frequencies are told apart by 100 Hz, so that
#: hum stays out of them.
_FRAME, _WINDOW = SAMPLE_RATE // 100, SAMPLE_RATE // 50
_LOWEST_HZ, _HIGHEST_HZ = 200, 4000
#: Percentiles of the frames' levels taken for the background and for speech; speech spans at most so many dB. The lower
#: one is in the background where that is even, and above the calm between two noises.
_FLOOR_PERCENTILE, _SPEECH_PERCENTILE = 15, 95
_SPEECH_RANGE_DB = 45.0
#: Speech begins this share of the way from the background up to it, at least so many dB above the background.
_SHARE, _LEAST_DB = 0.3, 6.0
#: With less between background and speech, dB, the level does not tell a quiet consonant from the background: 17 to 27
#: at a signal-to-noise ratio of 10 to 15 dB, 32 to 43 in quiet rooms.
_NOISY_DB = 30.0
#: The voice detector falls silent late, and goes on over a joint: what is not so much louder, dB, is background still.
_LEAST_NOISY_DB = 2.0
_VOICE_PAUSE_MS = 64
#: A stop consonant closes the mouth for less, in frames; sounds shorter than the second, alone, are clicks.
_PAUSE_FRAMES, _CLICK_FRAMES = 20, 5
#: A joint at which less was left out, seconds, is none.
JOINT_SECONDS = 0.2

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Speech without a pause: `start` and `end` in samples of the chunk.

    `pause` is how long the source is silent before it, in samples; 0 before the first. `after_joint` says that a part
    of that pause is not in the chunk, `is_heard` that the stretch stands out: else it is what lies between two joints.
    """

    start: int
    end: int
    pause: int
    after_joint: bool
    is_heard: bool

    @property
    def length(self) -> int:
        """Number of samples."""
        return self.end - self.start


def find_stretches(chunk: Chunk, samples: Samples) -> list[Stretch]:
    """Return the stretches of speech of a chunk, in order; a part between two joints in which none is found is one.

    Args:
        chunk: What the samples are made of.
        samples: The chunk as whisper hears it: 16 kHz, mono.
    """
    samples = samples[: chunk.length]
    joints = [
        (begin + span.length, following, after.start - span.end)
        for (begin, span), (following, after) in pairwise(chunk.pieces())
        if after.start - span.end >= JOINT_SECONDS * SAMPLE_RATE
    ]
    begins = [0, *(following for _, following, _ in joints)]
    ends = [*(at for at, _, _ in joints), chunk.length]
    left_out = [0, *(gap - (following - at) for at, following, gap in joints)]
    over = _find_speech(samples)
    stretches: list[Stretch] = []
    for begin, end, gap in zip(begins, ends, left_out, strict=True):
        heard = _heard_between(begin, end, over)
        for number, (start, stop) in enumerate(heard or [(begin, end)]):
            pause = start - stretches[-1].end + (0 if number else gap) if stretches else 0
            after_joint = begin > 0 and number == 0
            stretches.append(Stretch(start, stop, pause, after_joint=after_joint, is_heard=bool(heard)))
    return stretches


def _heard_between(begin: int, end: int, over: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return where speech is heard between two joints, samples."""
    first = begin // _FRAME
    return [
        (max((first + start) * _FRAME, begin), min((first + stop) * _FRAME, end))
        for start, stop in runs(over[first : -(-end // _FRAME)], bridge=_PAUSE_FRAMES)
        if stop - start >= _CLICK_FRAMES
    ]


def _find_speech(samples: Samples) -> npt.NDArray[np.bool_]:
    """Return the frames in which speech is heard."""
    levels = _levels(samples)
    over: npt.NDArray[np.bool_] = levels > 0
    if not over.any():
        return over
    audible = levels[over]
    floor, loud = np.percentile(audible, (_FLOOR_PERCENTILE, _SPEECH_PERCENTILE))
    floor = max(floor, loud - _SPEECH_RANGE_DB)
    if loud - floor < _NOISY_DB:
        over = np.zeros(len(levels), np.bool_)
        for span in measure_voice([samples.tobytes()]).spans(min_silence_ms=_VOICE_PAUSE_MS):
            over[span.start // _FRAME : span.end // _FRAME] = True
        if over.any():
            return over & (levels > float(floor + _LEAST_NOISY_DB))
    return levels > float(floor + max(_LEAST_DB, _SHARE * (loud - floor)))


def _levels(samples: Samples) -> npt.NDArray[np.float32]:
    """Return how loud each frame is where voices are, dB above one bit; 0 for digital silence."""
    count = -(-len(samples) // _FRAME)
    around = (_WINDOW - _FRAME) // 2
    padded = np.pad(samples.astype(np.float32), (around, _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[: count * _FRAME : _FRAME]
    # A product with the waves that are wanted takes a quarter of the time of a transform to all of them.
    power = np.square(frames @ _waves()).mean(axis=1)
    levels: npt.NDArray[np.float32] = 10 * np.log10(power + 1)
    return levels


@cache
def _waves() -> npt.NDArray[np.float32]:
    """Return cosines and sines of the frequencies of speech, faded at both ends, one a column."""
    spacing = SAMPLE_RATE / _WINDOW
    turns = np.arange(np.ceil(_LOWEST_HZ / spacing), _HIGHEST_HZ // spacing + 1) / _WINDOW
    angles = 2 * np.pi * np.arange(_WINDOW)[:, None] * turns
    waves = np.hstack([np.cos(angles), np.sin(angles)]) * np.hanning(_WINDOW)[:, None]
    return waves.astype(np.float32)
