"""The demo model."""

from __future__ import annotations

import pytest

from stt_core.settings import Settings
from stt_core.whisper.models import WhisperModel, resolve_model


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings()


@pytest.fixture(scope="session")
def demo_model(settings: Settings) -> WhisperModel:
    return resolve_model("demo", settings)
