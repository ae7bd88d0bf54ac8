"""Step 1: download the recording, decode it once, stream the PCM to the object store, and measure its frames."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, cast

from stt_core.audio.formats import HEAD_BYTES, detect_format
from stt_core.audio.prepare import RecordingStream
from stt_core.errors import ObjectNotFoundError
from stt_core.jobs.claims import Claim
from stt_core.jobs.models import JobUpdate
from stt_core.logs import get_logger, logged
from stt_core.processing.models import PreparedAudio
from stt_core.services import Services
from stt_core.storage import keys

logger = get_logger(__name__)


@logged
def prepare_recording(services: Services, claim: Claim) -> PreparedAudio:
    """Decode the job's recording into the object store: its PCM, and the frame energies it is cut by.

    The source goes through a local file, since containers such as MP4 are read back and forth; the PCM never does.

    Raises:
        UnreadableAudioError, NoAudioError, AudioTooLongError: The recording cannot be transcribed.
        ObjectNotFoundError: The recording is gone from the object store.
    """
    job = claim.job()
    if job.source is None:
        raise ObjectNotFoundError(f"Job {job.job_id} has no recording.", mend="Upload it again.")
    services.queue.acknowledge(job.member)
    pcm_key = keys.prepared_pcm(job.job_id, claim.attempt)
    energies_key = keys.frame_energies(job.job_id, claim.attempt)
    with TemporaryDirectory(prefix="stt-source-") as folder:
        path = Path(folder) / "source"
        services.store.download(job.source.key, path)
        with path.open("rb") as file:
            audio_format = detect_format(file.read(HEAD_BYTES))
        with RecordingStream(path, audio_format, services.settings) as recording:
            services.store.put_stream(pcm_key, cast("BinaryIO", recording))
            audio = recording.info
            energies = recording.energies
    services.store.put_bytes(energies_key, energies.to_bytes())
    claim.update(JobUpdate(duration_seconds=audio.duration_seconds))
    logger.info("prepared: {:.1f} s of audio, codec {}", audio.duration_seconds, audio.codec)
    return PreparedAudio(job_id=job.job_id, pcm_key=pcm_key, energies_key=energies_key, audio=audio)
