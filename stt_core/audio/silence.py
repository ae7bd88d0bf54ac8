"""Where somebody speaks, by loudness.

`detect_speech` is `pydub.silence.detect_nonsilent` computed from cumulative energies instead of slice by slice: the
same windows, the same integer RMS, the same answer, some hundred times faster.

`find_speech` is what recordings are cut with. It looks at frames of 10 ms one by one (a window as long as the pause
would swallow the quiet first and last syllable of a sentence), keeps pauses shorter than `min_silence_ms` inside, and
pads each side. No sound over the threshold is left out, except a click: up to 20 ms by itself, far from anything else.

`estimate_threshold` finds the threshold in the recording itself, see there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stt_core.audio.energies import DIGITAL_SILENCE_DBFS, FULL_SCALE, FrameEnergies, measure_energies
from stt_core.audio.plan import SAMPLE_RATE, Span
from stt_core.logs import get_logger, logged

logger = get_logger(__name__)

#: Percentiles of the frame levels taken for the noise floor and for speech. The floor's is low, so that it is the floor
#: even where speech leaves few gaps, or where gaps are digital silence and only the soft ends of words are left.
#: Speech's is that of the loudest stretch, since one sentence in an hour is speech as well.
_FLOOR_PERCENTILE, _SPEECH_PERCENTILE = 1, 95
_STRETCH_SECONDS = 10
#: The threshold lies this far above the floor, dB, or a third of the way up to speech where that is less.
_FLOOR_MARGIN_DB = 6.0
#: Speech spans about this range, dB; what is quieter by more is not looked for, however quiet the floor is.
_SPEECH_RANGE_DB = 45.0
#: A recording whose levels differ by less, dB, is one steady sound: no speech is that even over 10 ms frames.
_STEADY_DB = 4.0
#: With fewer frames than this, steadiness says nothing: half a second may be one vowel.
_STEADY_FRAMES = 100
#: Share of digital silence beside which a steady sound stands out.
_SILENT_SHARE = 0.05
#: Sounds of up to this many frames, alone between two pauses, are clicks: the shortest syllables take 80 ms.
_CLICK_FRAMES = 2


@logged
def detect_speech(
    audio: bytes | FrameEnergies, *, threshold_dbfs: float, min_silence_ms: int, step_ms: int = 1
) -> list[Span]:
    """Return the parts of a recording that are not silent, as `pydub.silence.detect_nonsilent` does.

    Silence is every window of `min_silence_ms` whose RMS is at most the threshold; windows begin every `step_ms`.

    Args:
        audio: Samples (16 kHz, mono, signed 16 bit), or energies whose frame length divides both durations; with
            energies the recording counts as padded with zeros to whole frames.
        threshold_dbfs: Level up to which a window is silent.
        min_silence_ms: Length of the window.
        step_ms: Distance of the windows (pydub's `seek_step`).

    Returns:
        Spans in samples, in order, on whole milliseconds (except the end of the recording).

    Raises:
        ValueError: The frames of the energies do not divide `min_silence_ms` and `step_ms`.
    """
    if min_silence_ms < 1 or step_ms < 1:
        raise ValueError("min_silence_ms and step_ms must be at least 1")
    energies = measure_energies(audio, 1) if isinstance(audio, bytes) else audio
    frame_ms = energies.frame_ms
    if min_silence_ms % frame_ms or step_ms % frame_ms:
        raise ValueError(f"frames of {frame_ms} ms do not divide {min_silence_ms} ms and {step_ms} ms")
    total_ms = len(energies.sums) * frame_ms
    if isinstance(audio, bytes):  # pydub's length of a recording is rounded to the nearest ms
        total_ms = round(1000 * (energies.total_samples / SAMPLE_RATE))
    silences = _silent_ranges(energies, total_ms, threshold_dbfs, min_silence_ms, step_ms)
    borders = [0, *(border for silence in silences for border in silence), total_ms]
    per_ms = SAMPLE_RATE // 1000
    return [
        Span(start=start * per_ms, end=energies.total_samples if end == total_ms else end * per_ms)
        for start, end in zip(borders[::2], borders[1::2], strict=True)
        if start < end
    ]


def _silent_ranges(
    energies: FrameEnergies, total_ms: int, threshold_dbfs: float, window_ms: int, step_ms: int
) -> list[tuple[int, int]]:
    """Return pydub's `detect_silence`, ms."""
    if total_ms < window_ms:
        return []
    last = total_ms - window_ms
    starts = np.arange(0, last + 1, step_ms, dtype=np.int64)
    if last % step_ms:
        starts = np.append(starts, last)
    frame_ms = energies.frame_ms
    # The length in ms may be rounded up: what is missing of the last frame counts as zeros, in pydub too.
    cumulative = np.zeros(total_ms // frame_ms + 1, np.int64)
    np.cumsum(energies.sums[: total_ms // frame_ms], out=cumulative[1 : len(energies.sums) + 1])
    cumulative[len(energies.sums) + 1 :] = cumulative[min(len(energies.sums), len(cumulative) - 1)]
    window_sums = cumulative[(starts + window_ms) // frame_ms] - cumulative[starts // frame_ms]
    # audioop's RMS is an integer, and so the comparison is one of integers.
    rms = np.floor(np.sqrt(window_sums / (window_ms * SAMPLE_RATE // 1000)))
    silent = starts[rms <= 10 ** (threshold_dbfs / 20) * FULL_SCALE]
    if not len(silent):
        return []
    distances = np.diff(silent)
    breaks = np.flatnonzero((distances != step_ms) & (distances > window_ms))
    firsts = silent[np.concatenate(([0], breaks + 1))]
    lasts = silent[np.concatenate((breaks, [len(silent) - 1]))]
    return [(int(first), int(final) + window_ms) for first, final in zip(firsts, lasts, strict=True)]


@logged
def estimate_threshold(energies: FrameEnergies) -> float:
    """Return the level, dBFS, over which a recording's frames are speech, judged from the recording itself.

    The floor is the 1st percentile of its frames (digital silence left out: a muted or gated stretch says nothing
    about the noise elsewhere), speech the 95th of the loudest 10 s. The threshold is 6 dB over the floor, less where
    speech is hardly louder than the noise, and never more than 45 dB below speech. So a recording that is quiet as a
    whole is not all silence, and a noisy one is not all speech. A sound that stays within 4 dB for its whole length
    (hiss, hum, a tone) is taken for no speech, unless digital silence lies beside it: then it is what stands out.

    Returns:
        The threshold; 0.0, which no frame exceeds, where nothing is speech.
    """
    levels = energies.levels()
    audible = levels[levels > DIGITAL_SILENCE_DBFS]
    if not len(audible):
        return 0.0
    audible_share = len(audible) / len(levels)
    stretch = _STRETCH_SECONDS * 1000 // energies.frame_ms
    stretches = np.array_split(audible, max(1, len(audible) // stretch))
    speech = max(float(np.percentile(part, _SPEECH_PERCENTILE)) for part in stretches)
    floor = float(np.percentile(audible, _FLOOR_PERCENTILE, overwrite_input=True))
    contrast = speech - floor
    lowest = max(speech - _SPEECH_RANGE_DB, DIGITAL_SILENCE_DBFS)
    if contrast < _STEADY_DB:
        stands_out = audible_share < 1 - _SILENT_SHARE or len(levels) < _STEADY_FRAMES
        threshold = lowest if stands_out else 0.0
    else:
        threshold = max(floor + min(_FLOOR_MARGIN_DB, contrast / 3), lowest)
    logger.info("noise floor {:.1f} dBFS, speech {:.1f} dBFS: threshold {:.1f} dBFS", floor, speech, threshold)
    return threshold


@logged
def find_speech(energies: FrameEnergies, *, threshold_dbfs: float, min_silence_ms: int, padding_ms: int) -> list[Span]:
    """Return the intervals in which somebody speaks.

    Args:
        energies: Of the recording.
        threshold_dbfs: A frame over this level is sound.
        min_silence_ms: Pauses at least so long separate intervals.
        padding_ms: Each interval is widened by so much on both sides; two that then meet are one.

    Returns:
        Disjoint spans in samples, in order.
    """
    sound = energies.levels() > threshold_dbfs
    per_frame = energies.frame_ms
    firsts, ends = runs(sound, bridge=max(1, -(-min_silence_ms // per_frame)))
    if not len(firsts):
        return []
    is_click = np.add.reduceat(sound, firsts, dtype=np.int64) <= _CLICK_FRAMES
    is_click &= (firsts > 0) & (ends < len(sound))  # at an edge it may be the end of a word
    if is_click.any():
        logger.debug("{} clicks left out", int(is_click.sum()))
    samples = energies.frame_samples
    frames = zip(firsts[~is_click].tolist(), ends[~is_click].tolist(), strict=True)
    spans = [Span(start=first * samples, end=min(end * samples, energies.total_samples)) for first, end in frames]
    return pad_spans(spans, padding_ms * SAMPLE_RATE // 1000, energies.total_samples)


@logged
def runs(flags: npt.NDArray[np.bool_], *, bridge: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return starts and ends (exclusive) of runs of True; a gap shorter than `bridge` is part of its run."""
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    firsts, ends = edges[::2], edges[1::2]
    apart = firsts[1:] - ends[:-1] >= bridge
    return firsts[np.append(True, apart)[: len(firsts)]], ends[np.append(apart, True)[: len(ends)]]


@logged
def pad_spans(spans: Sequence[Span], padding: int, total_samples: int) -> list[Span]:
    """Widen spans by `padding` samples on both sides, within the recording; those that then meet become one."""
    padded: list[Span] = []
    for span in spans:
        start, end = max(0, span.start - padding), min(total_samples, span.end + padding)
        if padded and start <= padded[-1].end:
            padded[-1] = Span(start=padded[-1].start, end=max(end, padded[-1].end))
        else:
            padded.append(Span(start=start, end=end))
    return padded
