"""The models by the names that OpenAI's API knows, and by ours."""

from __future__ import annotations

from api.openai.schemas import Model
from stt_core.errors import ModelInvalidError, ModelNotFoundError
from stt_core.logs import get_logger
from stt_core.settings import Settings
from stt_core.whisper.catalog import HOSTED
from stt_core.whisper.models import list_models, resolve_model

logger = get_logger(__name__)


def own_name(model: str) -> str | None:
    """Return the name that the core knows a model by; None for `WHISPER_MODEL`."""
    return None if model in HOSTED else model


def available_models(settings: Settings) -> list[Model]:
    """Return the models that can be asked for; one that is not there, or damaged, is left out."""
    installed = [model.name for model in list_models(settings) if model.installed]
    models = []
    for name in (*HOSTED, *installed):
        try:
            models.append(find_model(name, settings))
        except (ModelNotFoundError, ModelInvalidError) as error:
            logger.warning("the model {} is left out: {}", name, error)
    return models


def find_model(name: str, settings: Settings) -> Model:
    """Return a model.

    Raises:
        ModelNotFoundError: It is not there.
        ModelInvalidError: It is damaged.
    """
    found = resolve_model(own_name(name) or settings.whisper_model, settings)
    return Model(id=name, created=int(found.path.stat().st_mtime))
