"""Where somebody speaks, by loudness.

`find_speech` looks at frames of 10 ms one by one (a window as long as the pause would swallow the quiet first and last
syllable of a sentence) and keeps pauses shorter than `min_silence_ms` inside. No sound over the threshold is left out,
except a click: up to 20 ms by itself, far from anything else.

`estimate_threshold` finds the threshold in the recording itself, see there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stt_core.audio.energies import DIGITAL_SILENCE_DBFS, FrameEnergies
from stt_core.audio.plan import Span
from stt_core.logs import get_logger

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


def find_speech(energies: FrameEnergies, *, threshold_dbfs: float, min_silence_ms: int) -> list[Span]:
    """Return the intervals in which somebody speaks.

    Args:
        energies: Of the recording.
        threshold_dbfs: A frame over this level is sound.
        min_silence_ms: Pauses at least so long separate intervals.

    Returns:
        Disjoint spans in samples, in order.
    """
    sound = energies.levels() > threshold_dbfs
    found = runs(sound, bridge=max(1, -(-min_silence_ms // energies.frame_ms)))
    kept = [
        (first, end)
        for first, end in found
        # at an edge it may be the end of a word
        if first == 0 or end == len(sound) or np.count_nonzero(sound[first:end]) > _CLICK_FRAMES
    ]
    if len(kept) < len(found):
        logger.debug("{} clicks left out", len(found) - len(kept))
    return to_spans(kept, energies.frame_samples, energies.total_samples)


def runs(flags: npt.NDArray[np.bool_], *, bridge: int) -> list[tuple[int, int]]:
    """Return starts and ends (exclusive) of runs of True; a gap shorter than `bridge` is part of its run."""
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    firsts, ends = edges[::2], edges[1::2]
    apart = firsts[1:] - ends[:-1] >= bridge
    firsts, ends = firsts[np.append(True, apart)[: len(firsts)]], ends[np.append(apart, True)[: len(ends)]]
    return list(zip(firsts.tolist(), ends.tolist(), strict=True))


def to_spans(found: Sequence[tuple[int, int]], unit: int, total_samples: int) -> list[Span]:
    """Return the spans of runs whose flags stand for `unit` samples each; the last may be shorter."""
    return [Span(start=first * unit, end=min(end * unit, total_samples)) for first, end in found]


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
