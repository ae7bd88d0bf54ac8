"""Every object key, in one place. Ids, attempts, hashes and fixed names: no user text enters a key of ours.

Transcripts of a bucket's objects are exported under the names of these, so that people find them.
"""

from __future__ import annotations

import re
from hashlib import sha256

#: Prefix of the texts of chunks, which belong to no job.
CHUNK_RESULTS = "chunks/"
#: Prefixes of what belongs to a job: each is followed by the job's id.
OF_JOBS = (UPLOADS := "uploads/", "audio/", "runs/", "results/")

#: What S3 takes as a key, and MinIO (as a file system does) between two of its slashes, bytes, less a dot and `json`.
_LONGEST_NAME, _LONGEST_PART = 1024 - 5, 255 - 5
_OF_JOB = re.compile(rf"(?:{'|'.join(OF_JOBS)})([0-9a-f]{{32}})/.+")
_CHUNK_RESULT = re.compile(rf"{CHUNK_RESULTS}[0-9a-f]{{2}}/[0-9a-f]+\.json")


def job_of(key: str) -> str | None:
    """Return the id of the job that an object belongs to; None where the key is no such key of ours."""
    match = _OF_JOB.fullmatch(key)
    return match[1] if match else None


def prefixes_of(job_id: str) -> list[str]:
    """Return the prefixes of everything that belongs to a job."""
    return [f"{prefix}{job_id}/" for prefix in OF_JOBS]


def is_chunk_result(key: str) -> bool:
    """Tell whether a key is one of `chunk_result`."""
    return _CHUNK_RESULT.fullmatch(key) is not None


def source(job_id: str, extension: str) -> str:
    """Return the key of an uploaded recording; `extension` comes from the detected format, never from the user."""
    return f"uploads/{job_id}/source.{extension}"


def taken_over(job_id: str, copy: str, extension: str) -> str:
    """Return the key of one copy of what a client put itself: requests that make one at the same time do not meet."""
    return f"uploads/{job_id}/source-{copy}.{extension}"


def incoming(job_id: str) -> str:
    """Return the key under which a client itself may put the recording of a job; nothing else is read from there."""
    return f"uploads/{job_id}/incoming"


def source_prefix(job_id: str) -> str:
    """Return the prefix of everything uploaded for a job."""
    return f"uploads/{job_id}/"


def audio_prefix(job_id: str) -> str:
    """Return the prefix of the prepared audio of every attempt of a job."""
    return f"audio/{job_id}/"


def prepared_pcm(job_id: str, attempt: int, channel: int | None = None) -> str:
    """Return the key of the decoded recording, or one channel: 16 kHz, mono, signed 16 bit little endian, no header."""
    return f"{_prepared(job_id, attempt, channel)}pcm-s16le-16000-mono.raw"


def frame_energies(job_id: str, attempt: int, channel: int | None = None) -> str:
    """Return the key of the frame energies of that PCM, from which speech is found without reading it again."""
    return f"{_prepared(job_id, attempt, channel)}energies.npy"


def voice_probabilities(job_id: str, attempt: int, channel: int | None = None) -> str:
    """Where a voice is heard in the prepared audio."""
    return f"{_prepared(job_id, attempt, channel)}voice.npz"


def chunk_result(digest: str) -> str:
    """Return the key of a chunk's transcript; `digest` is the hash of its PCM, model and parameters."""
    return f"{CHUNK_RESULTS}{digest[:2]}/{digest}.json"


def result_prefix(job_id: str, attempt: int) -> str:
    """Return the prefix under which one attempt writes its results."""
    return f"results/{job_id}/{attempt}/"


def results_of_job(job_id: str) -> str:
    """Return the prefix of the results of every attempt of a job."""
    return f"results/{job_id}/"


def transcript(prefix: str, extension: str) -> str:
    """Return the key of a transcript in one format (json, txt, srt, vtt, tsv) under a job's result prefix."""
    return f"{prefix}transcript.{extension}"


def exported(prefix: str, bucket: str, key: str, extension: str) -> str:
    """Return the key of an object's transcript in one format, under the prefix of its source's output.

    Where the object's own key leaves no room for that, its hash takes its place, for every format.
    """
    name = f"{prefix}{bucket}/{key}".encode()
    if len(name) > _LONGEST_NAME or max(map(len, name.split(b"/"))) > _LONGEST_PART:
        key = f"long-names/{sha256(key.encode()).hexdigest()}"
    return f"{prefix}{bucket}/{key}.{extension}"


def step_output(job_id: str, run_id: str, step: str, output: str) -> str:
    """Return the key of a Dagster step's output. Step keys of mapped steps (`transcribe[b0]`) are made key-safe."""
    return f"runs/{job_id}/{run_id}/{step.replace('[', '.').replace(']', '')}/{output}.json"


def _prepared(job_id: str, attempt: int, channel: int | None) -> str:
    return f"{audio_prefix(job_id)}{attempt}/{'mix' if channel is None else f'channel-{channel}'}."
