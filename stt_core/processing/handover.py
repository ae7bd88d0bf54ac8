"""What the steps hand to each other: ids, positions and object keys, never audio."""

from __future__ import annotations

from pydantic import BaseModel

from stt_core.audio.plan import AudioInfo, Chunk
from stt_core.warnings import RecordingWarnings


class Track(BaseModel):
    """Prepared sound in the object store: one channel of a recording, or the mix of all (`channel` is None)."""

    channel: int | None = None
    pcm_key: str
    energies_key: str
    #: None in what was prepared before recordings were listened to for voices.
    voice_key: str | None = None


class StepOutput(BaseModel):
    """What a step of a job's run leaves for the next ones."""

    job_id: str


class PreparedAudio(StepOutput):
    """A decoded recording: one track, or one for each channel."""

    tracks: list[Track]
    audio: AudioInfo


class RecordingPlan(StepOutput):
    """How a recording is cut, and what it is transcribed with."""

    tracks: list[Track]
    audio: AudioInfo
    chunks: list[Chunk]
    #: As it was asked for.
    model: str
    model_digest: str
    #: None in plans from before, whose `model` is the name.
    model_name: str | None = None
    language: str
    allow_partial: bool
    #: What was lost or is doubtful, up to here.
    warnings: RecordingWarnings = []
    #: What the engine took to detect the language.
    engine_seconds: float = 0.0
    cpu_seconds: float = 0.0


class ChunkBatch(StepOutput):
    """The chunks that one step transcribes, on its share of the cores where `parallel` such steps run at once."""

    tracks: list[Track]
    chunks: list[Chunk]
    model: str
    #: None in batches from before: the model that is there is taken, with a warning.
    model_digest: str | None = None
    language: str
    #: Missing in batches from before, which named threads of the host that planned them.
    parallel: int = 1
    allow_partial: bool


class ChunkOutcome(BaseModel):
    """Where a chunk's text lies, or why there is none; `cached` means that the engine did not run for it."""

    index: int
    result_key: str | None = None
    failure: str | None = None
    cached: bool = False


class BatchResult(StepOutput):
    """The outcomes of one batch, and what the engine took for those it transcribed.

    Engine seconds are of wall time, CPU seconds those of its processes on all cores.
    """

    outcomes: list[ChunkOutcome]
    audio_seconds: float
    engine_seconds: float
    cpu_seconds: float = 0.0
    warnings: RecordingWarnings = []


class MergedTranscript(StepOutput):
    """A merged transcript, written under `prefix` and not yet visible to anybody."""

    prefix: str
    chunks: int
    words: int
    segments: int
    gaps: int
    #: What the engine took for all of it.
    engine_seconds: float = 0.0
    cpu_seconds: float = 0.0
