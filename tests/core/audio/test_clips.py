from __future__ import annotations

import hashlib
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_core.audio.clips import render_chunk
from stt_core.audio.plan import Chunk, Span
from stt_core.errors import DiskFullError, ObjectNotFoundError
from tests.core.audio.conftest import noise, pcm_of, tone

SECOND = 16_000


class Prepared:
    """Samples in memory, read like an object; counts its requests."""

    def __init__(self, pcm: bytes) -> None:
        self.pcm = pcm
        self.requests = 0

    def read(self, offset: int, length: int) -> bytes:
        self.requests += 1
        return self.pcm[offset : offset + length]


def _chunk(*spans: tuple[float, float], joint: int = 3_200) -> Chunk:
    spans_in_samples = tuple(Span(start=int(start * SECOND), end=int(end * SECOND)) for start, end in spans)
    return Chunk(index=0, spans=spans_in_samples, joint=joint)


def test_clip_is_its_spans_joined_by_silence(tmp_path: Path) -> None:
    pcm = pcm_of(noise(10, 1000))
    clip = render_chunk(_chunk((1, 2), (5, 7.5)), Prepared(pcm).read)
    clip.write_wav(tmp_path / "chunk.wav")
    with wave.open(str(tmp_path / "chunk.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        written = file.readframes(file.getnframes())
    assert written == pcm[32_000:64_000] + bytes(6_400) + pcm[160_000:240_000]
    assert clip.digest == hashlib.sha256(written).hexdigest()
    assert clip.seconds == pytest.approx(3.7)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 300)), min_size=1, max_size=6), st.integers(0, 50))
def test_every_sample_of_a_clip_is_where_the_time_map_says(layout: list[tuple[int, int]], joint: int) -> None:
    position = 0
    spans = []
    for gap, length in layout:
        spans.append(Span(start=position + gap, end=position + gap + length))
        position = spans[-1].end
    chunk = Chunk(index=0, spans=tuple(spans), joint=joint)
    source = np.arange(1, position + 1, dtype="<i2")
    heard = np.frombuffer(render_chunk(chunk, Prepared(source.tobytes()).read).segment.raw_data, "<i2")
    for begin, span in chunk.pieces():
        assert heard[begin : begin + span.length].tolist() == source[span.start : span.end].tolist()
    assert np.count_nonzero(heard) == chunk.speech_samples


def test_clip_of_near_spans_is_read_in_one_request_and_of_far_ones_in_two() -> None:
    prepared = Prepared(bytes(60 * SECOND * 2))
    render_chunk(_chunk((0, 1), (4, 5), (20, 21)), prepared.read)
    assert prepared.requests == 1
    render_chunk(_chunk((0, 1), (40, 41)), prepared.read)
    assert prepared.requests == 3


def test_clip_of_a_blip_is_filled_up_with_silence() -> None:
    clip = render_chunk(_chunk((0, 0.05)), Prepared(pcm_of(tone(0.05))).read)
    assert clip.seconds == 0.5
    assert clip.dbfs is not None


def test_clip_tells_its_level() -> None:
    assert render_chunk(_chunk((0, 1)), Prepared(pcm_of(tone(1, 3276.7))).read).dbfs == pytest.approx(-23, abs=0.1)
    assert render_chunk(_chunk((0, 1)), Prepared(bytes(32_000)).read).dbfs is None


def test_clip_of_audio_that_ends_early_says_so() -> None:
    with pytest.raises(ObjectNotFoundError, match="ends early"):
        render_chunk(_chunk((0, 2)), Prepared(bytes(1000)).read)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_clip_without_room_says_the_disk_is_full() -> None:
    clip = render_chunk(_chunk((0, 20)), Prepared(bytes(640_000)).read)
    with pytest.raises(DiskFullError, match="No room"):
        clip.write_wav(Path("/dev/full"))
