from __future__ import annotations

import pytest

from stt_core.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The demo model, which knows English alone, and URLs for recordings that last two hours."""
    changes = {"whisper_model": "demo", "whisper_language": "en", "presign_seconds": 7200}
    return settings.model_copy(update=changes)
