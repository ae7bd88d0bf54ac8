"""From the bytes of any recording to the pieces that whisper hears.

`detect_format` decides what a file is, `RecordingStream` decodes it as a stream, `plan_recording` cuts it into chunks,
`render_chunk` makes a chunk's sound. Times are exact: `Chunk` maps its positions to samples of the source.
"""

from stt_core.audio.clips import Clip, render_chunk
from stt_core.audio.detection import HEAD_BYTES, detect_file_format, detect_format
from stt_core.audio.energies import FrameEnergies
from stt_core.audio.formats import AudioFormat
from stt_core.audio.plan import AudioInfo, Chunk, ChunkPlan, ChunkStatistics, Span
from stt_core.audio.prepare import RecordingStream, plan_recording

__all__ = [
    "HEAD_BYTES",
    "AudioFormat",
    "AudioInfo",
    "Chunk",
    "ChunkPlan",
    "ChunkStatistics",
    "Clip",
    "FrameEnergies",
    "RecordingStream",
    "Span",
    "detect_file_format",
    "detect_format",
    "plan_recording",
    "render_chunk",
]
