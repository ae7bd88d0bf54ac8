"""`stt demo`: a human voice where one can be had, the bundled pair where not, and the user's own recording."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stt_cli.local_stack.home import free_port
from stt_cli.samples import human_sample
from stt_core.settings import Settings
from tests.speech.conftest import MODELS, Prompt, fetching

Demo = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        ports = {"STT_API_PORT": str(free_port()), "STT_DAGSTER_PORT": str(free_port())}
        own = {"STT_HOME": str(tmp_path / "home"), "COLUMNS": "200", "WHISPER_MODELS_DIR": str(MODELS)}
        return subprocess.run(
            [sys.executable, "-m", "stt_cli", "demo", *arguments],
            env=os.environ | ports | own | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=170,
        )

    return run


def test_demo_then_a_human_voice_is_heard_by_a_real_model(demo: Demo, real_model: Callable[[str], Path]) -> None:
    real_model("base")
    done = demo()
    assert done.returncode == 0, done.stderr
    if "toy model" in done.stderr:
        with fetching():  # says why
            human_sample(Settings(whisper_models_dir=MODELS))
    assert "ask what you can do for your country" in done.stdout
    assert re.search(r"^model +base$", done.stdout, re.MULTILINE)
    assert re.search(r"^word error rate +0\.00% of 22 words$", done.stdout, re.MULTILINE)
    assert re.search(r"^speed +\d+\.\d s from upload to transcript, for 11\.0 s of audio$", done.stdout, re.MULTILINE)


def test_demo_of_an_own_recording_then_it_is_heard_by_the_real_model_without_a_rate(
    demo: Demo, real_model: Callable[[str], Path], prompts: list[Prompt], tmp_path: Path
) -> None:
    real_model("base")
    own = tmp_path / "my call's recording.wav"
    own.write_bytes(prompts[0].recording.read_bytes())
    done = demo(str(own))
    assert done.returncode == 0, done.stderr
    assert "agent" in done.stdout.lower() and "pound key" in done.stdout
    assert re.search(r"^model +base$", done.stdout, re.MULTILINE)
    assert "word error rate" not in done.stdout


def test_demo_without_a_network_then_says_so_and_takes_the_bundled_pair(demo: Demo, tmp_path: Path) -> None:
    away = "http://127.0.0.1:1"
    done = demo(
        WHISPER_MODELS_DIR=str(tmp_path / "models"),
        WHISPER_MODELS_URL=away,
        PIP_INDEX_URL=away,
        PIP_EXTRA_INDEX_URL=away,
        PIP_CONFIG_FILE=os.devnull,
    )
    assert done.returncode == 0, done.stderr
    assert "pip does not reach its index" in done.stderr and "toy model" in done.stderr
    assert re.search(r"^model +demo$", done.stdout, re.MULTILINE)
    assert re.search(r"^word error rate +\d\.\d\d% of 194 words$", done.stdout, re.MULTILINE)


def test_demo_of_a_recording_that_is_not_there_then_starts_nothing(demo: Demo, tmp_path: Path) -> None:
    done = demo("absent.mp3")
    assert done.returncode == 2
    assert "absent.mp3" in done.stderr
    assert not (tmp_path / "home").exists()
