"""The files: written by us, read back by FFmpeg (an independent parser, and the one inside most players)."""

from __future__ import annotations

import csv
import io
import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_core.errors import InvalidInputError
from stt_core.transcript.document import Gap, Segment, Transcript, TranscriptStatistics
from stt_core.transcript.formats import CONTENT_TYPES, FORMATS, render
from stt_core.transcript.text import one_line

AWKWARD = [
    "Plain words.",
    "Fish & chips, a < b, c > d",
    "1\n00:00:01,000 --> 00:00:02,000",
    "&amp; and &lt; said aloud",
    "two\n\nparagraphs\tand a tab\r\nand a line",
    "NOTE not a comment",
    "{braces} and \\N backslashes",
    "Grüße, 今日は, مرحبا 🎧",
]


def transcript(*texts: str, speaker: str | None = None, length: float = 0.9) -> Transcript:
    segments = [
        Segment(index=i, start=i * 4000.5, end=i * 4000.5 + length, text=text, speaker=speaker)
        for i, text in enumerate(texts)
    ]
    return Transcript(
        job_id="j1",
        text=" ".join(texts),
        language="en",
        model="tiny",
        duration_seconds=99.0,
        segments=segments,
        statistics=TranscriptStatistics(words=1, speech_seconds=1.0, chunks=1),
    )


def test_render_when_a_part_has_no_text_then_says_so_in_its_place_and_names_the_speaker() -> None:
    gap = Gap(chunk=1, start=62.4, end=91.0, reason="engine <died>", channel=1, speaker="Channel 2")
    whole = transcript("before", "after", speaker="Channel 1").model_copy(update={"gaps": [gap]})
    marker = "[no transcript from 00:01:02 to 00:01:31: engine <died>]"
    assert render(whole, "txt").splitlines() == ["Channel 1: before", f"Channel 2: {marker}", "Channel 1: after"]
    assert f"2\n00:01:02,400 --> 00:01:31,000\nChannel 2: {marker}\n" in render(whole, "srt")
    escaped = marker.replace("<", "&lt;").replace(">", "&gt;")
    assert f"\n00:01:02.400 --> 00:01:31.000\n<v Channel 2>{escaped}\n" in render(whole, "vtt")
    assert f"\n62400\t91000\tChannel 2: {marker}\n" in render(whole, "tsv")


def read_back(tmp_path: Path, transcript: Transcript, format: str) -> list[tuple[str, str]]:
    """FFmpeg's reading of a subtitle file, as (start, text) of each event."""
    source = tmp_path / f"subtitles.{format}"
    source.write_text(render(transcript, format), encoding="utf-8")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", FFMPEG_NAMES[format], "-i", str(source)]
    done = subprocess.run([*command, "-f", "ass", "-"], capture_output=True, text=True, encoding="utf-8", timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    events = [line.split(",", 9) for line in done.stdout.splitlines() if line.startswith("Dialogue:")]
    return [(event[1], event[9].replace("\\{{}", "{").replace("\\\\", "\\")) for event in events]


FFMPEG_NAMES = {"srt": "srt", "vtt": "webvtt"}


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_subtitles_when_a_player_reads_them_then_texts_and_times_are_ours(tmp_path: Path, format: str) -> None:
    read = read_back(tmp_path, transcript("One.", "Two, three.", "Four."), format)
    assert read == [("0:00:00.00", "One."), ("1:06:40.50", "Two, three."), ("2:13:21.00", "Four.")]


def test_vtt_when_the_text_is_awkward_then_a_player_shows_it_as_it_is(tmp_path: Path) -> None:
    shown = [text for _, text in read_back(tmp_path, transcript(*AWKWARD), "vtt")]
    assert [text.replace("\u2060", "") for text in shown] == [one_line(text) for text in AWKWARD]


def test_srt_when_the_text_is_awkward_then_every_cue_survives(tmp_path: Path) -> None:
    shown = read_back(tmp_path, transcript(*AWKWARD), "srt")
    assert len(shown) == len(AWKWARD)
    assert shown[0][1] == "Plain words."
    assert shown[-1][1] == AWKWARD[-1]


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_subtitles_when_a_segment_has_no_text_then_there_is_no_cue(format: str) -> None:
    rendered = render(transcript("one", " \n ", "two"), format)
    assert rendered.count("-->") == 2


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_subtitles_when_a_segment_has_no_length_then_the_cue_has_some(tmp_path: Path, format: str) -> None:
    rendered = render(transcript("flash", length=0.0), format)
    assert re.search(r"00:00:00.000 --> 00:00:00.001", rendered)
    assert [text for _, text in read_back(tmp_path, transcript("flash", length=0.0), format)] == ["flash"]


@pytest.mark.parametrize("format", ["srt", "vtt", "txt", "tsv"])
def test_render_when_nothing_was_said_then_only_the_header_is_there(format: str) -> None:
    assert render(transcript(), format) == {"vtt": "WEBVTT\n", "tsv": "start\tend\ttext\n"}.get(format, "")


def test_vtt_when_channels_are_split_then_the_speaker_is_a_voice() -> None:
    assert "\n<v Channel 1>Hello.\n" in render(transcript("Hello.", speaker="Channel 1"), "vtt")


@pytest.mark.parametrize("format", ["srt", "txt", "tsv"])
def test_render_when_channels_are_split_then_the_speaker_leads_the_line(format: str) -> None:
    assert "Channel 1: Hello.\n" in render(transcript("Hello.", speaker="Channel 1"), format)


def test_txt_when_rendered_then_each_segment_is_a_line() -> None:
    assert render(transcript("One.", "Two\nthree."), "txt") == "One.\nTwo three.\n"


def test_tsv_when_rendered_then_it_reads_as_whispers_table() -> None:
    rows = list(csv.reader(io.StringIO(render(transcript(*AWKWARD), "tsv")), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert rows[0] == ["start", "end", "text"]
    assert rows[1:] == [
        [str(i * 4_000_500), str(i * 4_000_500 + 900), one_line(text)] for i, text in enumerate(AWKWARD)
    ]


def test_json_when_rendered_then_it_reads_back_as_the_same_transcript() -> None:
    original = transcript(*AWKWARD)
    assert Transcript.model_validate_json(render(original, "json")) == original


def test_render_when_the_format_is_unknown_then_the_error_names_those_there_are() -> None:
    with pytest.raises(InvalidInputError, match=r"'docx'.*json, txt, srt, vtt, tsv"):
        render(transcript("x"), "docx")


def test_formats_when_served_then_each_has_a_content_type() -> None:
    assert FORMATS == ("json", "txt", "srt", "vtt", "tsv") == tuple(CONTENT_TYPES)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(), max_size=6))
def test_subtitles_when_the_text_is_anything_then_cues_stay_apart(texts: list[str]) -> None:
    spoken = [text for text in texts if one_line(text)]
    for format in ("srt", "vtt"):
        rendered = render(transcript(*texts), format)
        blocks = rendered.removeprefix("WEBVTT\n\n").removesuffix("\n").split("\n\n") if spoken else []
        assert len(blocks) == len(spoken)
        assert rendered.count("-->") == len(spoken)
