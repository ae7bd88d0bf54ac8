"""What `stt transcribe` finds where it is pointed at, and where it writes."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from stt_cli.recordings import Recording, find_recordings
from stt_cli.results import Format, choose_destination
from stt_core.errors import InvalidInputError
from tests.api.conftest import wav


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav())


def test_folder_when_named_then_gives_its_recordings_in_order_without_what_is_hidden(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("b.MP3", "a.wav", "sub/c.flac", ".hidden.wav", ".git/d.wav", "notes.txt")))
    os.mkfifo(tmp_path / "e.wav")
    (tmp_path / "f.wav").symlink_to(tmp_path / "a.wav")
    (tmp_path / "round").symlink_to(tmp_path)
    found = find_recordings(str(tmp_path))
    assert [str(one.within) for one in found] == ["a.wav", "b.MP3", "f.wav", "sub/c.flac"]
    assert [one.path for one in found] == [tmp_path / one.within for one in found]


@pytest.mark.parametrize("name", ["nothing", "empty", "a socket", "no\nsuch"])
def test_argument_when_nothing_can_be_read_then_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("a socket")
        with pytest.raises(InvalidInputError) as refusal:
            find_recordings(name)
    assert name.replace("\n", "\\n") in refusal.value.message
    assert refusal.value.mend


def test_file_when_its_name_is_no_text_then_is_sent_and_shown_as_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/two\nlines\xff\x1b[2J.wav"))
    touch(path)
    [found] = find_recordings(str(path))
    assert found.filename == "two\ufffdlines\ufffd\ufffd[2J.wav"
    assert found.named.endswith("two\\nlines\\udcff\\x1b[2J.wav")
    with found.opened() as file:
        assert file.read() == wav()


def test_pipe_when_opened_then_can_be_read_from_its_start_again(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    content = os.urandom(3_000_000)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    [found] = find_recordings(str(path))
    with found.opened() as file:
        assert file.read() == content
        file.seek(0)
        assert file.read() == content
        assert os.fstat(file.fileno()).st_size == len(content)
    writer.join()


def test_pipe_when_nothing_comes_then_says_so(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"",))
    writer.start()
    [found] = find_recordings(str(path))
    with pytest.raises(InvalidInputError, match="Nothing came through"), found.opened():
        pass
    writer.join()


@pytest.mark.parametrize(
    ("output", "format", "chosen"),
    [
        (None, None, Format.TEXT),
        ("-", Format.TSV, Format.TSV),
        ("srt", None, Format.SRT),
        ("txt", None, Format.TEXT),
        ("talk.vtt", None, Format.VTT),
        ("talk.SRT", None, Format.SRT),
        ("talk.sub", Format.SRT, Format.SRT),
        ("talk/", Format.JSON, Format.JSON),
        (".", None, Format.TEXT),
    ],
)
def test_output_when_a_name_tells_the_format_then_is_taken_for_it(
    output: str | None, format: Format | None, chosen: Format
) -> None:
    assert choose_destination(output, format).format is chosen


@pytest.mark.parametrize(
    ("output", "format", "beside", "problem"),
    [
        ("talk", None, False, "tells no format"),
        ("talk.mp3", None, False, "tells no format"),
        ("talk.srt", Format.JSON, False, "is srt, and --format json"),
        ("talk.srt", None, True, "exclude each other"),
        ("absent/talk.srt", None, False, "no folder absent"),
    ],
)
def test_output_when_it_contradicts_itself_then_says_so(
    output: str, format: Format | None, beside: bool, problem: str
) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        choose_destination(output, format, beside=beside)


def recordings(folder: Path, *names: str) -> list[Recording]:
    touch(*(folder / name for name in names))
    return [Recording(name, folder / name, Path(name)) for name in names]


def test_places_when_two_are_alike_but_for_their_extension_then_keep_it(tmp_path: Path) -> None:
    found = recordings(tmp_path, "talk.mp3", "talk.wav", "other.mp3", "30.11. call", "sub/talk.mp3")
    names = ["talk.mp3.srt", "talk.wav.srt", "other.srt", "30.11. call.srt", "sub/talk.srt"]
    assert choose_destination("srt", None, beside=True).places(found) == [tmp_path / name for name in names]
    assert choose_destination("out/", Format.SRT).places(found) == [Path("out") / name for name in names]


def test_places_when_one_file_would_hold_two_or_replace_a_recording_then_say_so(tmp_path: Path) -> None:
    [first] = recordings(tmp_path / "a", "talk.mp3")
    [second] = recordings(tmp_path / "b", "talk.mp3")
    with pytest.raises(InvalidInputError, match="would all be"):
        choose_destination(f"{tmp_path}/", None).places([first, second])
    with pytest.raises(InvalidInputError, match="would all be"):
        choose_destination(f"{tmp_path}/all.txt", None).places([first, second])
    with pytest.raises(InvalidInputError, match="make no one json"):
        choose_destination("json", None).places([first, second])
    with pytest.raises(InvalidInputError, match="is a recording"):
        choose_destination(str(first.path), Format.SRT).places([first])
    with pytest.raises(InvalidInputError, match="beside standard input"):
        choose_destination(None, None, beside=True).places([Recording("standard input", None, Path("stdin"))])


def test_transcript_when_it_is_there_already_then_is_replaced_only_where_that_was_asked_for(tmp_path: Path) -> None:
    [found] = recordings(tmp_path, "talk.mp3")
    notes = tmp_path / "talk.txt"
    notes.write_text("notes of my own")
    beside = choose_destination(None, None, beside=True)
    assert beside.is_there(beside.places([found])[0])
    replacing = choose_destination(None, None, beside=True, overwrite=True)
    assert not replacing.is_there(replacing.places([found])[0])
    named = choose_destination(str(notes), None)
    assert not named.is_there(named.places([found])[0])
