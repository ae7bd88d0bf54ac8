"""Recordings in every format, made by the bundled ffmpeg from one sample, and helpers to read them."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from stt_core.audio import RecordingStream, detect_file_format
from stt_core.settings import Settings

DATA = Path(__file__).parents[2] / "data" / "audio"
MakeRecording = Callable[..., Path]
PICTURE = ("-f", "lavfi", "-i", "testsrc=s=128x96:d=10.12:r=25", "-map", "0:a", "-map", "1:v")
PAL_PICTURE = ("-f", "lavfi", "-i", "testsrc=s=720x576:d=10.12:r=25", "-map", "1:v", "-map", "0:a")
RAW_FRAMES = ("-id3v2_version", "0", "-write_xing", "0", "-b:a", "32k", "-ar", "16000")

#: name of the file, ffmpeg's output arguments, name of the format.
FORMATS: list[tuple[str, tuple[str, ...], str]] = [
    ("u8.wav", ("-c:a", "pcm_u8"), "wav"),
    ("s16.wav", ("-c:a", "pcm_s16le"), "wav"),
    ("s24-8k.wav", ("-c:a", "pcm_s24le", "-ar", "8000"), "wav"),
    ("s32-96k.wav", ("-c:a", "pcm_s32le", "-ar", "96000"), "wav"),
    ("f32-stereo.wav", ("-c:a", "pcm_f32le", "-ac", "2"), "wav"),
    ("f64-5.1.wav", ("-c:a", "pcm_f64le", "-ac", "6"), "wav"),
    ("mulaw.wav", ("-c:a", "pcm_mulaw", "-ar", "8000"), "wav"),
    ("rf64.wav", ("-rf64", "always"), "wav"),
    ("sony.w64", (), "wave64"),
    ("plain.mp3", ("-ar", "44100"), "mp3"),
    ("raw-frames.mp3", RAW_FRAMES, "mp3"),
    ("layer2.mp3", ("-c:a", "mp2", "-f", "mp2"), "mp3"),
    ("plain.flac", (), "flac"),
    ("vorbis.ogg", ("-c:a", "libvorbis"), "ogg"),
    ("voice.opus", ("-c:a", "libopus"), "opus"),
    ("apple.m4a", ("-c:a", "aac"), "m4a"),
    ("lossless.m4a", ("-c:a", "alac"), "m4a"),
    ("sound.mp4", ("-c:a", "aac"), "mp4"),
    ("phone.3gp", ("-c:a", "aac"), "mp4"),
    ("old.mov", ("-c:a", "pcm_s16be"), "mov"),
    ("adts.aac", (), "aac"),
    ("browser.webm", ("-c:a", "libopus"), "webm"),
    ("sound.mkv", ("-c:a", "flac"), "matroska"),
    ("apple.aiff", (), "aiff"),
    ("sun.au", (), "au"),
    ("core.caf", ("-c:a", "pcm_s16le"), "caf"),
    ("windows.wma", ("-c:a", "wmav2"), "asf"),
    ("phone.amr", ("-c:a", "libopencore_amrnb", "-ar", "8000", "-ac", "1"), "amr"),
    ("fragments.mp4", ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov+default_base_moof"), "mp4"),
    ("radio.loas", ("-c:a", "aac", "-f", "latm"), "loas"),
    ("dolby.ac3", ("-ar", "44100"), "ac3"),
    ("dolby.eac3", ("-ar", "48000"), "eac3"),
    ("disc.dts", ("-ar", "48000", "-ac", "2", "-strict", "-2"), "dts"),
    ("lossless.wv", (), "wavpack"),
    ("lossless.tta", (), "tta"),
    ("blaster.voc", (), "voc"),
    ("tool.sox", (), "sox"),
    ("stream.rm", ("-c:a", "ac3", "-ar", "44100"), "realmedia"),
    ("mpeg-1.mpg", (*PICTURE, "-c:v", "mpeg1video", "-c:a", "mp2", "-ar", "44100"), "mpeg-ps"),
    ("mpeg-2.vob", (*PICTURE, "-c:v", "mpeg2video", "-c:a", "ac3", "-ar", "48000"), "mpeg-ps"),
    ("sound.mpg", ("-c:a", "mp2", "-ar", "44100"), "mpeg-ps"),
    ("broadcast.ts", (*PICTURE, "-c:v", "libx264", "-c:a", "aac"), "mpeg-ts"),
    ("camera.m2ts", ("-c:a", "ac3", "-ar", "48000"), "mpeg-ts"),
    ("old.avi", (*PICTURE, "-c:v", "mpeg4", "-c:a", "mp3"), "avi"),
    ("flash.flv", (*PICTURE, "-c:v", "flv", "-c:a", "mp3", "-ar", "44100"), "flv"),
    ("theora.ogv", (*PICTURE, "-c:v", "libtheora", "-c:a", "libvorbis"), "ogg"),
    ("studio.mxf", (*PAL_PICTURE, "-ar", "48000", "-c:v", "mpeg2video"), "mxf"),
    ("camera.dv", (*PAL_PICTURE, "-pix_fmt", "yuv420p", "-ar", "48000", "-ac", "2"), "dv"),
]


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(_env_file=None)  # type: ignore[call-arg]


@pytest.fixture(scope="session")
def run_ffmpeg() -> Callable[..., None]:
    def run(*arguments: str | Path) -> None:
        command = [get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *map(str, arguments)]
        subprocess.run(command, check=True, timeout=60)

    return run


@pytest.fixture(scope="session")
def make_recording(tmp_path_factory: pytest.TempPathFactory, run_ffmpeg: Callable[..., None]) -> MakeRecording:
    """Make `name` from the 10 s sample with these arguments of ffmpeg, or those in `FORMATS`; one name is made once."""
    folder = tmp_path_factory.mktemp("recordings")

    known = {name: arguments for name, arguments, _ in FORMATS}

    def make(name: str, *arguments: str | Path, source: Path = DATA / "sample-08.ogg") -> Path:
        path = folder / name
        arguments = arguments or known.get(name, ())
        if not path.exists():
            run_ffmpeg("-i", source, *arguments, path)
        return path

    return make


def decode(path: Path, settings: Settings, *, channel: int | None = None) -> tuple[RecordingStream, bytes]:
    """Read a recording to its end; return the closed stream (with `info` and `energies`) and its samples."""
    with path.open("rb") as file:
        audio_format = detect_file_format(file)
    with RecordingStream(path, audio_format, settings, channel=channel) as stream:
        pcm = b"".join(stream.blocks())
    return stream, pcm


def id3_tag(size: int) -> bytes:
    """Return an ID3v2.4 tag with so many bytes of a cover in it, of the kind that looks like anything."""
    lengths = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + lengths + np.random.default_rng(size).bytes(size)


def ape_tag(size: int) -> bytes:
    """Return an APEv2 tag with a header and a footer."""
    fields = [value.to_bytes(4, "little") for value in (2000, size + 32, 1)]
    head, foot = ((flags << 24).to_bytes(4, "little") + bytes(8) for flags in (0xA0, 0x80))
    start = b"APETAGEX" + b"".join(fields)
    return start + head + b"A" * size + start + foot


def read_truth(name: str) -> list[tuple[int, int]]:
    """Return start and end of every sentence of a sample, in samples."""
    segments = json.loads((DATA / f"{name}.json").read_text())["segments"]
    return [(round(item["start"] * 16_000), round(item["end"] * 16_000)) for item in segments]


def pcm_of(samples: npt.NDArray[np.floating] | npt.NDArray[np.integer]) -> bytes:
    return np.clip(np.round(samples), -32768, 32767).astype("<i2").tobytes()


def tone(seconds: float, amplitude: float = 8000) -> npt.NDArray[np.float64]:
    return amplitude * np.sin(2 * np.pi * 440 * np.arange(round(seconds * 16_000)) / 16_000)


def noise(seconds: float, rms: float, seed: int = 1) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, rms, round(seconds * 16_000))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A loopback server that answers nobody, to see whether anybody comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


def was_called(listener: socket.socket) -> bool:
    """Say whether somebody connected; a connection waits in the backlog until it is accepted."""
    try:
        listener.accept()[0].close()
    except TimeoutError:
        return False
    return True
