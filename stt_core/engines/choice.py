"""Which engine runs a model: the one whose kind of model it is."""

from __future__ import annotations

from stt_core.engines.base import Engine
from stt_core.engines.ctranslate2 import CTranslate2
from stt_core.engines.whisper_cpp import WhisperCpp
from stt_core.settings import Settings
from stt_core.whisper.models import WhisperModel


def engine_for(model: WhisperModel, settings: Settings) -> Engine:
    """Return the engine that runs a model.

    Raises:
        ExecutableNotFoundError: It is not there.
    """
    kind = CTranslate2 if model.is_folder else WhisperCpp
    return kind.from_settings(model, settings)
