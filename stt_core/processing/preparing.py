"""Step 1: download the recording, decode it (or each channel), stream the PCM to the store, and measure its frames."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, cast

from stt_core import object_keys
from stt_core.audio.detection import detect_file_format
from stt_core.audio.formats import AudioFormat
from stt_core.audio.plan import AudioInfo
from stt_core.audio.prepare import RecordingStream
from stt_core.errors import AudioTooLongError, FileTooLargeError, ObjectNotFoundError
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs.claims import Claim
from stt_core.jobs.job import JobUpdate, Source
from stt_core.jobs.recovery import dequeue_job
from stt_core.logs import get_logger
from stt_core.options import Channels
from stt_core.processing.handover import PreparedAudio, Track
from stt_core.processing.loading import engines_loading
from stt_core.services import Services
from stt_core.temp_dirs import temporary_folder

logger = get_logger(__name__)


def prepare_recording(services: Services, claim: Claim) -> PreparedAudio:
    """Decode the job's recording into the object store: its PCM, and the frame energies it is cut by.

    The source goes through a local file, since containers such as MP4 are read back and forth; the PCM never does.
    Each channel of a split recording is decoded by itself.

    Raises:
        UnreadableAudioError, NoAudioError, TrackNotFoundError, AudioTooLongError: The recording cannot be transcribed.
        FileTooLargeError: What lies in a bucket is larger than an upload may be.
        ObjectNotFoundError: The recording is gone from the object store.
        ObjectChangedError: It is another one by now.
    """
    job = claim.job()
    if job.source is None:
        raise ObjectNotFoundError(f"Job {job.job_id} has no recording.", mend="Upload it again.")
    _refuse_too_large(job.source, services.settings.max_upload_bytes)
    dequeue_job(services.queue, job)
    failpoint(Failpoint.ENTRY_ACKNOWLEDGED)
    split = job.options.channels is Channels.SPLIT
    with engines_loading(services, claim), temporary_folder("source") as folder:
        path = folder / "source"
        services.store.in_bucket(job.source.bucket).download(job.source.key, path, etag=job.source.etag)
        with path.open("rb") as file:
            audio_format = detect_file_format(file)
        number = job.options.track
        track, audio = _decode(services, claim, path, audio_format, channel=0 if split else None, number=number)
        tracks = [track]
        if split and audio.channels == 1:
            logger.info("the recording has one channel: it is not split")
            tracks = [track.model_copy(update={"channel": None})]
        elif split:
            _refuse_too_much(audio, services.settings.max_audio_seconds)
            others = range(1, audio.channels)
            tracks += [
                _decode(services, claim, path, audio_format, channel=channel, number=audio.track)[0]
                for channel in others
            ]
    claim.update(JobUpdate(duration_seconds=audio.duration_seconds))
    failpoint(Failpoint.AUDIO_PREPARED)
    logger.info("prepared: {:.1f} s of audio, codec {}, {} tracks", audio.duration_seconds, audio.codec, len(tracks))
    return PreparedAudio(job_id=job.job_id, tracks=tracks, audio=audio)


def _refuse_too_large(source: Source, limit: int) -> None:
    """Refuse what was in a bucket before anybody asked for its size: it would fill the disk, again in each attempt."""
    if source.bucket and source.size_bytes > limit:
        raise FileTooLargeError(
            f"The recording has {source.size_bytes} bytes; at most {limit} are taken.",
            mend="Raise MAX_UPLOAD_BYTES, if the disk for temporary files has room for several of them.",
        )


def _decode(
    services: Services, claim: Claim, path: Path, audio_format: AudioFormat, *, channel: int | None, number: int | None
) -> tuple[Track, AudioInfo]:
    track = Track(
        channel=channel,
        pcm_key=object_keys.prepared_pcm(claim.job_id, claim.attempt, channel),
        energies_key=object_keys.frame_energies(claim.job_id, claim.attempt, channel),
        voice_key=(voice_key := object_keys.voice_probabilities(claim.job_id, claim.attempt, channel)),
    )
    with RecordingStream(path, audio_format, services.settings, channel=channel, track=number) as recording:
        services.store.put_stream(track.pcm_key, cast("BinaryIO", recording))
        failpoint(Failpoint.PCM_STORED)
        services.store.put_bytes(track.energies_key, recording.energies.to_bytes())
        failpoint(Failpoint.ENERGIES_STORED)
        services.store.put_bytes(voice_key, recording.voice.to_bytes())
        return track, recording.info


def _refuse_too_much(audio: AudioInfo, limit: float) -> None:
    """Every channel is work of its own, and a small file can claim to have very many."""
    if audio.channels * audio.duration_seconds > limit:
        raise AudioTooLongError(
            f"{audio.channels} channels of {audio.duration_seconds:.0f} s together exceed the limit of {limit:g} s.",
            mend="Transcribe the channels mixed, or raise MAX_AUDIO_SECONDS.",
            limit_seconds=limit,
        )
