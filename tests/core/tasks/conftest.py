from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from stt_core.jobs.job import JobModel
from stt_core.settings import Settings
from stt_core.tasks.submission import Submissions

RECORDING = Path(__file__).parents[2] / "data" / "audio" / "sample-01.mp3"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The demo model, which knows English alone, and URLs for recordings that last two hours."""
    changes = {"whisper_model": "demo", "whisper_language": "en", "presign_seconds": 7200}
    return settings.model_copy(update=changes)


def upload(submissions: Submissions, data: bytes | None = None, **options: Any) -> JobModel:
    """Hand a recording in; it is English speech if no other is given."""
    data = RECORDING.read_bytes() if data is None else data
    return submissions.create_task(io.BytesIO(data), **{"filename": "talk.mp3", "size_bytes": len(data), **options}).job
