"""The default executable: whisper-cli's flags and JSON, and honest exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stt_core.engines.process import find_executable
from stt_core.languages import LANGUAGES
from stt_core.whisper.models import WhisperModel
from tests.multilingual_model import LANGUAGE, make_multilingual_model

from .conftest import WavMaker, reference


def run_cli(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(find_executable("stt-whisper-cli")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def test_cli_when_given_several_files_then_writes_each_where_it_is_told(
    tmp_path: Path, sample_wav: WavMaker, demo_model: WhisperModel
) -> None:
    first, second = sample_wav("01"), sample_wav("08")
    run = run_cli(
        "-m", demo_model.path, "-mc", 0, "-t", 2, "-ojf",
        "-f", first, "-of", tmp_path / "a", "--file", second, "--output-file", tmp_path / "b",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    for base, name in (("a", "01"), ("b", "08")):
        document = json.loads((tmp_path / f"{base}.json").read_text())
        assert "".join(segment["text"] for segment in document["transcription"]).strip() == reference(name)
        assert document["transcription"][0]["tokens"][0].keys() >= {"text", "offsets", "id", "p", "t_dtw"}
    assert "coffee" in run.stdout


def test_cli_when_a_sound_is_sampled_then_its_text_does_not_depend_on_what_was_heard_before(
    tmp_path: Path, sample_wav: WavMaker, demo_model: WhisperModel
) -> None:
    names = ["08", "08", "loop", "08"]
    files = [word for at, name in enumerate(names) for word in ("-f", sample_wav(name), "-of", tmp_path / str(at))]
    run = run_cli("-m", demo_model.path, "-mc", 0, "-t", 2, "-tp", 1.0, "-ojf", *files)
    assert run.returncode == 0, run.stderr
    said = [json.loads((tmp_path / f"{at}.json").read_text())["transcription"] for at in (0, 1, 3)]
    assert said[0] == said[1] == said[2]


def test_cli_when_no_output_name_is_given_then_writes_beside_the_file(
    tmp_path: Path, silent_wav: Callable[..., Path], demo_model: WhisperModel
) -> None:
    wav = silent_wav(0.5)
    run = run_cli("-m", demo_model.path, "-oj", "-np", wav)
    assert (run.returncode, run.stderr) == (0, f"saving output to '{wav}.json'\n")
    assert json.loads(Path(f"{wav}.json").read_text())["transcription"] == []


def test_cli_when_an_offset_is_given_then_begins_there(
    tmp_path: Path, sample_wav: WavMaker, demo_model: WhisperModel
) -> None:
    run_cli("-m", demo_model.path, "-oj", "-ot", 6_300, "-of", tmp_path / "tail", sample_wav("01"))
    [segment] = json.loads((tmp_path / "tail.json").read_text())["transcription"]
    assert segment["text"].strip() == reference("01").split(". ")[-1]
    assert segment["offsets"]["from"] == pytest.approx(6_480, abs=100)


def test_cli_when_the_language_alone_is_asked_for_then_tells_the_probability_of_each(
    tmp_path: Path, silent_wav: Callable[..., Path]
) -> None:
    make_multilingual_model(tmp_path / "many.bin")
    run = run_cli("-m", tmp_path / "many.bin", "-dl", "-oj", "-of", tmp_path / "a", silent_wav())
    document = json.loads((tmp_path / "a.json").read_text())
    probabilities = document["result"]["probabilities"]
    assert (document["result"]["language"], document["transcription"], run.stdout) == (LANGUAGE, [], "")
    assert list(probabilities) == sorted(probabilities, key=probabilities.__getitem__, reverse=True)
    assert probabilities.keys() == LANGUAGES.keys()
    assert sum(probabilities.values()) == pytest.approx(1.0, abs=1e-3)
    assert f"auto-detected language: {LANGUAGE} (p = {probabilities[LANGUAGE]:.3f}" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-t", "0"], 2, "0 is below 1"),
        (["-dl"], 2, "there is no language to detect"),
        (["-l", "klingon"], 2, "unknown language 'klingon'"),
        (["--no-such-flag"], 2, "unrecognized arguments"),
        (["-oj", "-of", "/nowhere/at/all"], 5, "failed to write '/nowhere/at/all.json'"),
    ],
)
def test_cli_when_arguments_are_wrong_then_fails_with_a_message(
    arguments: list[str], code: int, message: str, silent_wav: Callable[..., Path], demo_model: WhisperModel
) -> None:
    run = run_cli("-m", demo_model.path, "-f", silent_wav(), *arguments)
    assert run.returncode == code
    assert message in run.stderr


def test_cli_when_there_is_no_input_then_fails(demo_model: WhisperModel) -> None:
    run = run_cli("-m", demo_model.path)
    assert (run.returncode, "no input files" in run.stderr) == (2, True)


def test_cli_when_audio_is_unusable_then_says_which_and_why(
    tmp_path: Path, silent_wav: Callable[..., Path], demo_model: WhisperModel
) -> None:
    empty = tmp_path / "empty.wav"
    empty.touch()
    text = tmp_path / "text.wav"
    text.write_text("not audio at all")
    for wav in (empty, text, tmp_path / "missing.wav", silent_wav(rate=8_000)):
        run = run_cli("-m", demo_model.path, "-np", "-oj", wav)
        assert run.returncode == 4
        assert wav.name in run.stderr
        assert not Path(f"{wav}.json").exists()


def test_cli_when_the_model_is_unusable_then_fails_with_whisper_clis_code(
    tmp_path: Path, silent_wav: Callable[..., Path], demo_model: WhisperModel
) -> None:
    garbage = tmp_path / "garbage.bin"
    garbage.write_bytes(b"\0" * 100)
    header_only = tmp_path / "header.bin"
    header_only.write_bytes(demo_model.path.read_bytes()[:600_000])
    for model in (garbage, header_only, tmp_path / "missing.bin"):
        run = run_cli("-m", model, "-oj", silent_wav())
        assert run.returncode == 3, run.stderr
        assert model.name in run.stderr.splitlines()[-1]


def test_cli_when_imported_then_loads_nothing_heavy() -> None:
    code = "import sys, stt_core.engines.whisper_cpp_program; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "loguru", "pydantic", "_pywhispercpp", "stt_core.settings"} & set(loaded)
