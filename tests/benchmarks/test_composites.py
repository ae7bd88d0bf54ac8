"""Composites made of clips of our own: spoken text is not needed to know where a sound begins."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from composites import PAUSES, SPEECH_DBFS, Clip, compose, read_clips, read_sound, varied_order
from imageio_ffmpeg import get_ffmpeg_exe
from real import vary
from scoring import Truth

from stt_core.audio.plan import SAMPLE_RATE

#: Of each clip: seconds of near silence, of sound, of near silence.
SHAPES = {"a": (0.5, 1.2, 0.3), "b": (0.05, 2.0, 0.6), "c": (0.4, 0.8, 0.0)}
PROGRAM = Path(__file__).parents[2] / "benchmarks" / "composites.py"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tones at different levels between near silence, with texts, and one without a text."""
    folder = tmp_path_factory.mktemp("clips")
    for number, (name, (before, sound, after)) in enumerate(SHAPES.items()):
        quiet = "anoisesrc=a=0.0003:r=16000:seed={}:d={}"
        tone = f"aevalsrc={0.1 * (number + 1)}*sin(2*PI*300*t):s=16000:d={sound}"
        parts = [quiet.format(1, before), tone, *([quiet.format(2, after)] if after else [])]
        sources = [argument for part in parts for argument in ("-f", "lavfi", "-i", part)]
        joined = ["-filter_complex", f"concat=n={len(parts)}:v=0:a=1"]
        suffix = ("flac", "wav", "ogg")[number]
        command = [get_ffmpeg_exe(), "-v", "error", *sources, *joined, folder / f"{name}.{suffix}"]
        subprocess.run(command, check=True)
        (folder / f"{name}.txt").write_text(f"This is\n {name}.\n")
    subprocess.run([get_ffmpeg_exe(), "-v", "error", "-i", folder / "b.wav", folder / "untold.wav"], check=True)
    return folder


def make(*arguments: object) -> tuple[Path, Truth]:
    done = subprocess.run([sys.executable, PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=True)
    path = Path(done.stdout.strip().splitlines()[-1])
    return path, Truth.read(path.with_suffix(".json"))


def level(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(sound, dtype=np.float64))))


def test_read_clips_when_texts_lie_beside_then_those_are_trimmed_to_what_is_heard(clips: Path) -> None:
    found = {clip.text: clip for clip in read_clips([clips])}
    assert sorted(found) == ["This is a.", "This is b.", "This is c."]
    for name, (_, seconds, _) in SHAPES.items():
        clip = found[f"This is {name}."]
        assert clip.end - clip.start == pytest.approx(seconds, abs=0.05)
        heard = clip.samples[round((clip.start + 0.1) * SAMPLE_RATE) : round((clip.end - 0.1) * SAMPLE_RATE)]
        assert level(heard) == pytest.approx(SPEECH_DBFS, abs=0.5)


def test_read_clips_when_no_text_lies_beside_then_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"NAME\.txt"):
        read_clips([tmp_path])


@pytest.mark.parametrize("pauses", PAUSES)
def test_make_then_the_sound_begins_and_ends_where_the_truth_says(clips: Path, tmp_path: Path, pauses: str) -> None:
    path, truth = make("make", clips, "--out", tmp_path, "--minutes", "0.5", "--pauses", pauses)
    sound = read_sound(path)
    assert truth.duration == pytest.approx(len(sound) / SAMPLE_RATE, abs=0.001)
    least, most = PAUSES[pauses]
    previous = 0.0
    for sentence in truth.segments:
        pause = sentence.start - previous
        assert least - 0.01 <= pause <= most + 0.01
        between = sound[round((previous + 0.03) * SAMPLE_RATE) : round((sentence.start - 0.03) * SAMPLE_RATE)]
        assert level(between) < -50
        inside = sound[round((sentence.start + 0.03) * SAMPLE_RATE) : round((sentence.end - 0.03) * SAMPLE_RATE)]
        assert level(inside) == pytest.approx(SPEECH_DBFS, abs=1)
        previous = sentence.end


def test_make_when_the_seed_is_the_same_then_so_is_the_composite_and_else_not(clips: Path, tmp_path: Path) -> None:
    one, two, other = (
        make("make", clips, "--out", tmp_path / name, "--minutes", "0.2", "--seed", seed)[0]
        for name, seed in (("one", 7), ("two", 7), ("other", 8))
    )
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    assert one.with_suffix(".json").read_text() == two.with_suffix(".json").read_text()


def test_compose_when_noise_is_asked_for_then_it_lies_so_far_below_the_speech() -> None:
    silent = Clip("x", "x", np.zeros(SAMPLE_RATE, np.float32), 0.1, 0.9)
    recorded = np.random.default_rng(3).uniform(-0.01, 0.01, SAMPLE_RATE // 3).astype(np.float32)
    for noise in (None, recorded):
        random = np.random.default_rng(1)
        samples, _ = compose([silent, silent], random, seconds=5, pauses=(1, 2), noise_db=10, noise=noise)
        assert level(samples / 32768) == pytest.approx(SPEECH_DBFS - 10, abs=0.1)


def test_join_then_the_truth_of_each_is_shifted_to_where_its_sound_is(clips: Path, tmp_path: Path) -> None:
    parts = [
        make("make", clips, "--out", tmp_path, "--minutes", "0.1", "--seed", seed, "--name", f"part{seed}")[0]
        for seed in (1, 2, 3)
    ]
    path, truth = make("join", *parts, "--out", tmp_path, "--minutes", "1", "--name", "all")
    sound = read_sound(path)
    told = json.loads(path.with_suffix(".json").read_text())["segments"]
    assert truth.duration == pytest.approx(len(sound) / SAMPLE_RATE, abs=0.001) and truth.duration >= 60
    assert [one["start"] for one in told] == sorted(one["start"] for one in told)
    for one in told:
        assert one["clip_start"] <= one["start"] < one["end"] <= one["clip_end"]
        inside = sound[round((one["start"] + 0.03) * SAMPLE_RATE) : round((one["end"] - 0.03) * SAMPLE_RATE)]
        assert level(inside) == pytest.approx(SPEECH_DBFS, abs=1)


def test_varied_order_when_it_goes_round_then_all_come_and_none_twice_in_a_row() -> None:
    order = varied_order(3, np.random.default_rng(5))
    numbers = [next(order) for _ in range(60)]
    assert all(sorted(numbers[at : at + 3]) == [0, 1, 2] for at in range(0, 60, 3))
    assert all(one != following for one, following in pairwise(numbers))
    assert len({tuple(numbers[at : at + 3]) for at in range(0, 60, 3)}) > 1


def test_vary_when_it_is_done_again_then_only_lowest_bits_differ_in_every_second(clips: Path, tmp_path: Path) -> None:
    original = np.round(read_sound(clips / "b.wav") * 32768).astype(int)
    first, second = (np.round(read_sound(vary(clips / "b.wav", seed, tmp_path)) * 32768).astype(int) for seed in (1, 2))
    for one, another in ((original, first), (first, second)):
        assert set(np.abs(one - another)) == {0, 1}
        changed = (one != another)[: len(one) // 1600 * 1600].reshape(-1, 1600).mean(axis=1)
        assert (changed > 0.4).all() and (changed < 0.6).all()


def test_vary_when_seconds_are_given_then_no_more_are_written(clips: Path, tmp_path: Path) -> None:
    assert len(read_sound(vary(clips / "b.wav", 1, tmp_path, 0.5))) == SAMPLE_RATE // 2
