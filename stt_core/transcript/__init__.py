"""From what the engine heard in each chunk to the transcript of a recording.

`merge_chunks` puts the texts of all chunks together, `render` writes the transcript in one of `FORMATS`,
`find_repetitions` finds text that runs in a loop.
"""

from stt_core.transcript.document import ChunkSegment, ChunkTranscript, Gap, Segment, Transcript, Word
from stt_core.transcript.formats import CONTENT_TYPES, FORMATS, render
from stt_core.transcript.merging import merge_chunks
from stt_core.transcript.repetition import find_repetitions

__all__ = [
    "CONTENT_TYPES",
    "FORMATS",
    "ChunkSegment",
    "ChunkTranscript",
    "Gap",
    "Segment",
    "Transcript",
    "Word",
    "find_repetitions",
    "merge_chunks",
    "render",
]
