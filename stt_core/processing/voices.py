"""Where a voice is heard in a prepared recording."""

from __future__ import annotations

from collections.abc import Iterator

from stt_core.audio.vad import Voice, measure_voice
from stt_core.processing.handover import Track
from stt_core.stores.object_store import BLOCK_SIZE, ObjectStore


def voice_of(store: ObjectStore, track: Track) -> Voice:
    """Return the voice of a track; one that was prepared by an older version is listened to now."""
    if track.voice_key is not None:
        return Voice.from_bytes(store.get_bytes(track.voice_key))
    return measure_voice(_read_blocks(store, track.pcm_key))


def _read_blocks(store: ObjectStore, key: str) -> Iterator[bytes]:
    with store.open(key) as stream:
        while block := stream.read(BLOCK_SIZE):
            yield block
