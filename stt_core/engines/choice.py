"""Which engine runs a model: that of the model's kind."""

from __future__ import annotations

from stt_core.engines.base import Engine
from stt_core.engines.whisper_cpp import WhisperCpp
from stt_core.logs import logged
from stt_core.settings import Settings
from stt_core.whisper.models import WhisperModel


@logged
def engine_for(model: WhisperModel, settings: Settings) -> Engine:
    """Return the engine that runs a model.

    Raises:
        ExecutableNotFoundError: It is not there.
    """
    return WhisperCpp.from_settings(model, settings)
